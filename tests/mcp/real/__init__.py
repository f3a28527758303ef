"""Servers and clients of others, which need packages of their own: see ``make mcp``."""
