#!/usr/bin/env bash
# The MCP client for Python never refreshes a token that it reads from its storage.
#
# What is stored has `expires_in` and no moment to count from, so after a restart every token counts
# as good. When it is refused, the client goes to the person, though the refresh token lives.
# In the process that got the token, it is refreshed in time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0

cat > probe.py <<'CODE'
import asyncio
import http.server
import json
import logging
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.shared.auth import OAuthClientMetadata

logging.disable(logging.CRITICAL)
happened = []
LIFE = 2  # seconds


class Server(http.server.BaseHTTPRequestHandler):
    issued_at = {}

    def do_GET(self):
        if self.path.startswith("/.well-known/oauth-protected-resource"):
            self.reply(200, {"resource": f"{ADDRESS}/mcp", "authorization_servers": [ADDRESS]})
        elif self.path == "/.well-known/oauth-authorization-server":
            self.reply(
                200,
                {
                    "issuer": ADDRESS,
                    "authorization_endpoint": f"{ADDRESS}/authorize",
                    "token_endpoint": f"{ADDRESS}/token",
                    "registration_endpoint": f"{ADDRESS}/register",
                    "response_types_supported": ["code"],
                    "code_challenge_methods_supported": ["S256"],
                },
            )
        elif self.path == "/mcp":
            token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
            good = time.monotonic() - self.issued_at.get(token, -LIFE) < LIFE
            self.reply(200 if good else 401, {})
        else:
            self.reply(404, {})

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/register":
            client = json.loads(text) | {"client_id": "client", "token_endpoint_auth_method": "none"}
            self.reply(201, client)
            return
        grant_type = parse_qs(text)["grant_type"][0]
        happened.append(grant_type)
        access = f"access-{len(happened)}"
        self.issued_at[access] = time.monotonic()
        self.reply(
            200,
            {"access_token": access, "token_type": "Bearer", "expires_in": LIFE, "refresh_token": "refresh"},
        )

    def reply(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
ADDRESS = f"http://127.0.0.1:{server.server_port}"


class Storage:
    """What a file would hold: the same JSON comes back after a restart."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens and self.tokens.model_copy()

    async def set_tokens(self, tokens):
        self.tokens = tokens.model_copy()

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def started(storage):
    asked = {}

    async def open_page(url):
        happened.append("the person is asked")
        asked["state"] = parse_qs(urlsplit(url).query)["state"][0]

    async def wait_for_answer():
        return AuthorizationCodeResult(code="code", state=asked["state"])

    metadata = OAuthClientMetadata(redirect_uris=["http://127.0.0.1/callback"], client_name="client")
    return OAuthClientProvider(f"{ADDRESS}/mcp", metadata, storage, open_page, wait_for_answer)


async def call(provider):
    happened.clear()
    async with httpx2.AsyncClient(auth=provider) as client:
        status = (await client.get(f"{ADDRESS}/mcp")).status_code
    return [*happened, status]


async def run():
    storage = Storage()
    provider = started(storage)
    first = await call(provider)
    await asyncio.sleep(LIFE + 0.5)
    same = await call(provider)
    await asyncio.sleep(LIFE + 0.5)
    return first, same, await call(started(storage))


print("Software: mcp 2.3.0 (PyPI), its OAuthClientProvider")
print("Expected: once the access token is over, a refresh, before and after a restart; the person is left alone")
first, same, restarted = asyncio.run(run())
print(f"Seen: connecting: {first}")
print(f"Seen: token over, same process: {same}")
print(f"Seen: token over, after a restart: {restarted}")

connecting = ["the person is asked", "authorization_code", 200]
as_recorded = (first, same, restarted) == (connecting, ["refresh_token", 200], connecting)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
