#!/usr/bin/env bash
# Three clients heed a member that OAuth 2.0 does not define: `expires_at` in a server's answer.
#
# RFC 6749, section 5.1: the client MUST ignore value names that it does not know. Each of these
# keeps its own clock under the name `expires_at`, and takes the server's word for it. Where a
# server means milliseconds, as JavaScript counts, the token is good until the year 58881, is
# never refreshed ahead of time, and the connection ends with the hour.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
    requests-oauthlib==2.0.0 oauthlib==4.0.1 requests==2.34.2 Authlib==1.9.10 httpx-oauth==0.17.0 httpx==0.28.1

cat > probe.py <<'CODE'
import asyncio
import http.server
import json
import os
import sys
import threading
import time

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from httpx_oauth.oauth2 import OAuth2
from requests_oauthlib import OAuth2Session

ANSWER = {"access_token": "second", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "next"}


class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
TOKEN = f"http://127.0.0.1:{server.server_port}/token"
HELD = {"access_token": "first", "token_type": "Bearer", "refresh_token": "spent", "expires_at": time.time() - 5}


def requests_oauthlib():
    session = OAuth2Session("site", token=dict(HELD))
    return session.refresh_token(TOKEN)["expires_at"]


def authlib():
    session = AuthlibSession("site", "secret", token=dict(HELD))
    return session.refresh_token(TOKEN)["expires_at"]


def httpx_oauth():
    client = OAuth2("site", "secret", TOKEN, TOKEN, refresh_token_endpoint=TOKEN)
    return asyncio.run(client.refresh_token("spent"))["expires_at"]


print("Software: requests-oauthlib 2.0.0 with oauthlib 4.0.1, Authlib 1.9.10, httpx-oauth 0.17.0")
print("Expected: the end of the token is an hour from now (expires_in 3600), whatever else the answer says")
ANSWER["expires_at"] = int(time.time() * 1000) + 3_600_000
heeded = []
for client in (requests_oauthlib, authlib, httpx_oauth):
    hours = (client() - time.time()) / 3600
    print(f"Seen: {client.__name__} believes the token for {hours:,.0f} hours")
    heeded.append(hours > 1_000_000)

ANSWER["expires_at"] = "2030-01-01T00:00:00Z"
for client in (requests_oauthlib, authlib):
    hours = (client() - time.time()) / 3600
    print(f"Seen: with a date as text, {client.__name__} goes by expires_in ({hours:.0f} hour)")
    heeded.append(0.9 < hours < 1.1)
try:
    httpx_oauth()
    heeded.append(False)
except ValueError:
    print("Seen: with a date as text, httpx_oauth raises ValueError, and what the answer brought is lost")
    heeded.append(True)

print("As recorded." if all(heeded) else "CHANGED: no longer as recorded.")
sys.exit(not all(heeded))
CODE
env/bin/python probe.py
