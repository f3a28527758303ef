"""The command line ``python -m example_project.sandbox.mcp_server``: an MCP server with one tool,
in a process of its own. The sandbox beside it says which tokens are good (see mcp_guard.py)."""

import argparse
import socket
import sys

import uvicorn
from asgiref.sync import sync_to_async
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from example_project.sandbox.__main__ import export_settings, parse_arguments

HOST = "127.0.0.1"
BADGES = {"ada": ["Wheelwright", "First programmer"], "grace": ["Compiler builder"]}


class Verifier:
    """Looks a token up in the sandbox's own table."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return await sync_to_async(_known)(token)


def _known(token: str) -> AccessToken | None:
    from example_project.sandbox.dialects import MCP
    from example_project.sandbox.grants import find_access_token

    found = find_access_token(MCP, token)
    if found is None or found.is_expired():
        return None
    return AccessToken(
        token=token,
        client_id=found.application.client_id,
        scopes=found.scope.split(),
        expires_at=int(found.expires.timestamp()),
        subject=found.user.get_username(),
    )


def badges() -> list[str]:
    """The badges of the person whose token it is."""
    token = get_access_token()
    return BADGES.get(token.subject or "", []) if token else []


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m example_project.sandbox.mcp_server", description=__doc__
    )
    parser.add_argument("--port", type=int, default=9001, help="0 picks a free one")
    parser.add_argument("--guard", required=True, help="the issuer, such as the sandbox's /mcp")
    parser.add_argument("--database", required=True, help="the sandbox's SQLite file")
    options = parser.parse_args(arguments)
    export_settings(parse_arguments([f"--database={options.database}"]))

    import django

    django.setup()
    listening = socket.create_server((HOST, options.port))
    url = f"http://{HOST}:{listening.getsockname()[1]}/mcp"
    settings = AuthSettings(
        issuer_url=options.guard,
        resource_server_url=AnyHttpUrl(url),
        required_scopes=["badges:read"],
        validate_token_resource=False,  # the guard gives tokens for this server alone
    )
    server = MCPServer("Sandbox badges", auth=settings, token_verifier=Verifier())
    server.add_tool(badges)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    sys.stdout.write(f"mcp ready on {url}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1:])
