"""fastmcp with the authorization server that it has in memory; it asks no person."""

import asyncio
import json
import sys

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull

told = json.loads(sys.argv[1])
scopes = told["scope"].split()
provider = InMemoryOAuthProvider(
    base_url=told["url"],
    client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=scopes),
    revocation_options=RevocationOptions(enabled=True),
)


async def register() -> None:
    for known in told["clients"]:
        client = OAuthClientInformationFull(
            client_id=known["id"],
            client_secret=known["secret"],
            redirect_uris=[told["redirect_uri"]],
            grant_types=["authorization_code", "refresh_token"],
            token_endpoint_auth_method=known["method"],
            scope=told["scope"],
        )
        await provider.register_client(client)


asyncio.run(register())
app = FastMCP("a server", auth=provider).http_app()
print("ready", flush=True)
uvicorn.run(app, host="127.0.0.1", port=told["port"], log_level="warning")
