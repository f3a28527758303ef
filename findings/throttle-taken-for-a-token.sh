#!/usr/bin/env bash
# Authlib takes a gateway's "Too Many Requests" for a token, and has it stored in the token's place.
#
# Whatever JSON below 500 has no member `error` counts as a token answer, whatever its status. A 429
# or 403 of an API gateway in front of the server has a form of its own. The access token, good for
# half a minute yet, is gone, and since what is held now has no end, no later call refreshes it: one
# throttled moment ends the connection, and the server was asked once. A 503 is raised.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
    Authlib==1.9.10 requests-oauthlib==2.0.0 oauthlib==4.0.1 requests==2.34.2

cat > probe.py <<'CODE'
import http.server
import json
import os
import sys
import threading
import time

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from requests_oauthlib import OAuth2Session

GATEWAY = {"message": "Too Many Requests"}
GOOD = {"access_token": "second", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "next"}
asked = []


class Server(http.server.BaseHTTPRequestHandler):
    answer = 200, GOOD

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        asked.append("refresh")
        self.reply(*self.answer)

    def do_GET(self):
        self.reply(200, {})

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_address[1]}"


def held(seconds):
    return {"access_token": "first", "token_type": "Bearer", "refresh_token": "refresh", "expires_at": int(time.time()) + seconds}


def outcome(session):
    try:
        return session.get(f"{address}/api").status_code
    except Exception as error:
        return type(error).__name__


def after(status, make):
    """What two calls come to, the first throttled, and which members were stored by then."""
    stored = []
    session = make(stored.append)
    asked.clear()
    Server.answer = status, GATEWAY
    first = outcome(session)
    Server.answer = 200, GOOD
    second = outcome(session)
    return first, second, [sorted(token) for token in stored], len(asked)


def authlib(store):
    return AuthlibSession(
        "site", "secret", token=held(30), token_endpoint=f"{address}/token", update_token=lambda token, **old: store(dict(token))
    )


def requests_oauthlib(store):
    return OAuth2Session(
        "site", token=held(-1), auto_refresh_url=f"{address}/token", token_updater=lambda token: store(dict(token))
    )


print("Software: Authlib 1.9.10, requests-oauthlib 2.0.0, oauthlib 4.0.1, requests 2.34.2")
print("Expected: a throttled refresh raises, nothing is stored, and the next call refreshes")
seen = {
    "Authlib, 429": after(429, authlib),
    "Authlib, 403": after(403, authlib),
    "Authlib, 503": after(503, authlib),
    "requests-oauthlib, 429": after(429, requests_oauthlib),
}
for what, (first, second, stored, count) in seen.items():
    print(f"Seen: {what}: {first}, then {second}; stored: {stored}; refreshes: {count}")

fresh = ["access_token", "expires_at", "expires_in", "refresh_token", "token_type"]
lost = "UnsupportedTokenTypeError", "UnsupportedTokenTypeError", [["message", "refresh_token"]], 1
as_recorded = list(seen.values()) == [
    lost,
    lost,
    ("HTTPError", 200, [fresh], 2),
    ("MissingTokenError", 200, [fresh], 2),
]
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
