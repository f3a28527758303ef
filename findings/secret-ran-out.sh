#!/usr/bin/env bash
# The MCP client for Python never registers anew when its registered secret has run out.
#
# RFC 7591, section 3.2.1: `client_secret_expires_at` tells when. The TypeScript server gives thirty
# days as shipped (five seconds here). Afterwards the client asks the person, who agrees, exchanges the
# code with the dead secret, is refused, and does the same at the next call, for ever.
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
const app = express();
let challenge;
let signedOut = false;
const listener = app.listen(0, '127.0.0.1', () => {
  const address = `http://127.0.0.1:${listener.address().port}`;
  app.use(mcpAuthRouter({
    issuerUrl: new URL(address),
    clientRegistrationOptions: { clientSecretExpirySeconds: 5 },
    provider: {
      clientsStore: {
        getClient: (id) => clients.get(id),
        registerClient: (client) => { clients.set(client.client_id, client); return client; },
      },
      async authorize(client, { codeChallenge, redirectUri, state }, response) {
        challenge = codeChallenge; // the person agrees at once
        response.redirect(`${redirectUri}?${new URLSearchParams({ code: 'code', state })}`);
      },
      challengeForAuthorizationCode: async () => challenge,
      async exchangeAuthorizationCode() {
        signedOut = false;
        return { access_token: 'access', token_type: 'Bearer', expires_in: 3600, refresh_token: 'refresh' };
      },
    },
  }));
  app.get('/mcp', ({ headers }, response) => {
    if (headers.authorization === 'Bearer access' && !signedOut) response.json({});
    else response.status(401).set('WWW-Authenticate', 'Bearer').end();
  });
  app.post('/sign-out', (request, response) => { signedOut = true; response.end(); });
  app.get('/registered', (request, response) => { response.json(clients.size); });
  console.log(address);
});
CODE

cat > probe.py <<'CODE'
import asyncio
import logging
import sys
import time
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


memory = Memory()


async def call():
    answer = {}

    async def open_page(url):
        async with httpx2.AsyncClient() as browser:
            location = (await browser.get(url)).headers["Location"]
        answer.update({name: values[0] for name, values in parse_qs(urlsplit(location).query).items()})

    async def wait_for_answer():
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"])

    metadata = OAuthClientMetadata(
        redirect_uris=["http://127.0.0.1/callback"],
        client_name="client",
        token_endpoint_auth_method="client_secret_post",
    )
    provider = OAuthClientProvider(f"{ADDRESS}/mcp", metadata, memory, open_page, wait_for_answer)
    async with httpx2.AsyncClient(auth=provider) as client:
        try:
            outcome = (await client.get(f"{ADDRESS}/mcp")).status_code
        except OAuthTokenError as error:
            outcome = str(error)
    return ["the person agreed"] * bool(answer) + [outcome]


async def run():
    first = await call()
    async with httpx2.AsyncClient() as other:
        await other.post(f"{ADDRESS}/sign-out")
        await asyncio.sleep(max(0, memory.client.client_secret_expires_at - time.time()) + 1.5)
        later = [await call(), await call()]
        return first, later, (await other.get(f"{ADDRESS}/registered")).json()


print("Software: mcp 2.3.0 (PyPI) as the client, @modelcontextprotocol/sdk 1.32.2 (npm) as the server")
print("Expected: a client whose secret has run out, as it was told, registers anew, and the person connects again")
first, later, registered = asyncio.run(run())
print(f"Seen: at first: {first}; told that the secret ends: {memory.client.client_secret_expires_at is not None}")
for outcome in later:
    print(f"Seen: after that end: {outcome}")
print(f"Seen: registrations in all: {registered}")

refused = ["the person agreed", later[0][-1]]
as_recorded = (
    first == ["the person agreed", 200] and later == [refused] * 2 and "expired" in str(refused[1]) and registered == 1
)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE

node server.mjs > address &
server=$!
for _ in $(seq 100); do test -s address && break; sleep 0.1; done
env/bin/python probe.py "$(cat address)"
