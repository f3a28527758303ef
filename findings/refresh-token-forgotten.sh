#!/usr/bin/env bash
# Two clients forget the refresh token when the answer to a refresh does not repeat it.
#
# RFC 6749, section 6: the server MAY issue a new refresh token; if it issues none, the old one
# goes on. Many servers answer so. The client has to keep what it has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check requests_oauth2client==1.8.0
npm install --silent --no-audit --no-fund simple-oauth2@5.1.0

cat > endpoint.py <<'CODE'
"""A token endpoint that gives a new access token and leaves the refresh token as it is."""
import http.server
import threading
import urllib.parse


class Endpoint(http.server.BaseHTTPRequestHandler):
    presented = []

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.presented.append(dict(urllib.parse.parse_qsl(form)).get("refresh_token"))
        body = b'{"access_token": "second", "token_type": "Bearer", "expires_in": 3600}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def start():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
CODE

cat > client.cjs <<'CODE'
const { AuthorizationCode } = require('simple-oauth2');

(async () => {
  const client = new AuthorizationCode({
    client: { id: 'site', secret: 'secret' },
    auth: { tokenHost: process.argv[2], tokenPath: '/token' },
  });
  const held = client.createToken({ access_token: 'first', refresh_token: 'lasting', expires_in: 3600 });
  const renewed = await held.refresh();
  console.log(String(renewed.token.refresh_token));
})();
CODE

cat > probe.py <<'CODE'
import subprocess
import sys

from requests_oauth2client import BearerToken, OAuth2AccessTokenAuth, OAuth2Client

from endpoint import Endpoint, start

address = start()
print("Software: simple-oauth2 5.1.0 (npm), requests_oauth2client 1.8.0 (PyPI)")
print("Expected: after a refresh whose answer names no refresh token, the old one is still held")

node = subprocess.run(["node", "client.cjs", address], capture_output=True, text=True, check=True)
simple_oauth2 = node.stdout.strip()
print(f"Seen: simple-oauth2 holds {simple_oauth2!r}")

client = OAuth2Client(f"{address}/token", client_id="site", client_secret="secret", testing=True)
auth = OAuth2AccessTokenAuth(client, BearerToken("first", refresh_token="lasting", expires_in=-5))
auth.renew_token()
print(f"Seen: requests_oauth2client holds {auth.token.refresh_token!r}")

as_recorded = (
    simple_oauth2 == "undefined"
    and auth.token.refresh_token is None
    and Endpoint.presented == ["lasting", "lasting"]
)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
