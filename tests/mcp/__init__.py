"""MCP servers: discovery, becoming a client, and the suites and servers of others."""
