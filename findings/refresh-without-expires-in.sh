#!/usr/bin/env bash
# requests-oauthlib holds a fresh token for an expired one when a refresh tells no `expires_in`.
#
# RFC 6749, section 5.1: `expires_in` is RECOMMENDED, not demanded. The session takes the new
# access token and keeps the moment at which the OLD one ended, so every call is refused before
# it is sent, straight after a refresh that went well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check requests-oauthlib==2.0.0 oauthlib==4.0.1 requests==2.34.2

cat > probe.py <<'CODE'
import http.server
import json
import os
import sys
import threading
import time

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

from oauthlib.oauth2 import TokenExpiredError
from requests_oauthlib import OAuth2Session

seen_by_server = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        seen_by_server.append("refresh")
        answer = {"access_token": "second", "token_type": "Bearer", "refresh_token": "next"}
        self.reply(answer)

    def do_GET(self):
        seen_by_server.append(self.headers["Authorization"])
        self.reply({})

    def reply(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

held = {"access_token": "first", "token_type": "Bearer", "refresh_token": "old", "expires_at": time.time() - 5}
session = OAuth2Session("site", token=held)
renewed = session.refresh_token(f"{address}/token")

print("Software: requests-oauthlib 2.0.0 with oauthlib 4.0.1")
print("Expected: a refreshed token without a told life is used until the API refuses it")
print(f"Seen: the refresh brought {renewed['access_token']!r}, which has no end: {'expires_at' not in renewed}")
try:
    session.get(f"{address}/api")
    refused = False
except TokenExpiredError:
    refused = True
print(f"Seen: the next call raises TokenExpiredError: {refused}; the server saw {seen_by_server}")

automatic = OAuth2Session("site", token=held, auto_refresh_url=f"{address}/token", token_updater=lambda token: None)
seen_by_server.clear()
outcomes = []
for _ in range(2):
    try:
        automatic.get(f"{address}/api")
        outcomes.append("answered")
    except TokenExpiredError:
        outcomes.append("TokenExpiredError")
print(f"Seen: with auto_refresh_url two calls end in {outcomes}; the server saw {seen_by_server}")

as_recorded = (
    refused and "expires_at" not in renewed and outcomes == ["TokenExpiredError"] * 2 and seen_by_server == ["refresh"] * 2
)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
