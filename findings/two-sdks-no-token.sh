#!/usr/bin/env bash
# The two official MCP SDKs, one as client, one as server, end without a token after consent.
#
# The Python client registers without naming an authentication method; RFC 7591, section 2, says that
# this means client_secret_basic. The TypeScript server answers 201 with a secret and without a
# method. The client then sends the secret in no way at all, and the server wants it in the body.
set -euo pipefail
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
npm install --silent --no-audit --no-fund @modelcontextprotocol/sdk@1.32.2 express@5.3.0

cat > server.mjs <<'CODE'
import express from 'express';
import { mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';

const clients = new Map();
const challenges = new Map();
const app = express();
const listener = app.listen(0, '127.0.0.1', () => {
  const address = `http://127.0.0.1:${listener.address().port}`;
  app.use(mcpAuthRouter({
    issuerUrl: new URL(address),
    provider: {
      clientsStore: {
        getClient: (id) => clients.get(id),
        registerClient: (client) => { clients.set(client.client_id, client); return client; },
      },
      async authorize(client, { codeChallenge, redirectUri, state }, response) {
        challenges.set('code', codeChallenge); // the person agrees at once
        response.redirect(`${redirectUri}?${new URLSearchParams({ code: 'code', state })}`);
      },
      challengeForAuthorizationCode: async (client, code) => challenges.get(code),
      exchangeAuthorizationCode: async () => ({ access_token: 'access', token_type: 'Bearer', expires_in: 3600 }),
    },
  }));
  app.get('/mcp', ({ headers }, response) => {
    if (headers.authorization === 'Bearer access') response.json({});
    else response.status(401).set('WWW-Authenticate', 'Bearer').end();
  });
  console.log(address);
});
CODE

cat > probe.py <<'CODE'
import asyncio
import logging
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.exceptions import OAuthTokenError
from mcp.client.auth.oauth2 import AuthorizationCodeResult
from mcp.shared.auth import OAuthClientMetadata

logging.disable(logging.CRITICAL)
ADDRESS = sys.argv[1]


class Memory:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def connect(**metadata):
    memory, answer = Memory(), {}

    async def open_page(url):
        async with httpx2.AsyncClient() as browser:
            location = (await browser.get(url)).headers["Location"]
        answer.update({name: values[0] for name, values in parse_qs(urlsplit(location).query).items()})

    async def wait_for_answer():
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"])

    asked = OAuthClientMetadata(redirect_uris=["http://127.0.0.1/callback"], client_name="client", **metadata)
    provider = OAuthClientProvider(f"{ADDRESS}/mcp", asked, memory, open_page, wait_for_answer)
    async with httpx2.AsyncClient(auth=provider) as client:
        try:
            outcome = f"connected, {(await client.get(f'{ADDRESS}/mcp')).status_code}"
        except OAuthTokenError as error:
            outcome = str(error)
    return memory.client, outcome


print("Software: mcp 2.3.0 (PyPI) as the client, @modelcontextprotocol/sdk 1.32.2 (npm) as the server")
print("Expected: both as shipped, a client registers, the person agrees, the client gets its token")
client, by_default = asyncio.run(connect())
print(f"Seen: registered with a secret: {client.client_secret is not None}, method: {client.token_endpoint_auth_method}")
print(f"Seen: after consent: {by_default}")
_, named = asyncio.run(connect(token_endpoint_auth_method="client_secret_post"))
print(f"Seen: where the client names client_secret_post: {named}")

as_recorded = (
    client.client_secret is not None
    and client.token_endpoint_auth_method is None
    and "invalid_client" in by_default
    and named == "connected, 200"
)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE

node server.mjs > address &
server=$!
for _ in $(seq 100); do test -s address && break; sleep 0.1; done
env/bin/python probe.py "$(cat address)"
