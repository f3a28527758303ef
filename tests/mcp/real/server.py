"""A server of ``fastmcp`` or ``mcp`` with its own authorization server, in a process of its own.

python -m tests.mcp.real.server fastmcp 8123
"""

import sys
from typing import Any

from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions


def serve(kind: str, port: int) -> None:
    """Serve a tool ``add`` to those who have the scope ``read``."""
    url = f"http://127.0.0.1:{port}"
    scopes = ["read", "write"]
    authority = InMemoryOAuthProvider(
        base_url=url,
        client_registration_options=ClientRegistrationOptions(
            enabled=True, valid_scopes=scopes, default_scopes=scopes
        ),
        revocation_options=RevocationOptions(enabled=True),
        required_scopes=["read"],
    )
    if kind == "fastmcp":
        _fastmcp(authority, port)
    else:
        _mcp(authority, url, port)


def _fastmcp(authority: Any, port: int) -> None:
    from fastmcp import FastMCP

    server = FastMCP("Numbers", auth=authority)
    server.tool(add)
    server.run(transport="http", host="127.0.0.1", port=port, show_banner=False)


def _mcp(authority: Any, url: str, port: int) -> None:
    from mcp.server import MCPServer
    from mcp.server.auth.settings import AuthSettings

    settings = AuthSettings(
        issuer_url=url,
        resource_server_url=f"{url}/mcp",
        required_scopes=["read"],
        client_registration_options=authority.client_registration_options,
        revocation_options=authority.revocation_options,
    )
    server = MCPServer("Numbers", auth=settings, auth_server_provider=authority)
    server.add_tool(add)
    server.run(transport="streamable-http", host="127.0.0.1", port=port)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
