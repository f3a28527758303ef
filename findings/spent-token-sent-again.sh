#!/usr/bin/env bash
# google-auth sends the same refresh token again by itself when the answer is a 503.
#
# Its Credentials take any `token_uri`. A server in front of which a proxy gives up (503) may have
# spent the token already; one that rotates refuses the second request, or ends the grant. The caller
# sees only the last answer, `invalid_grant`, and takes the grant for dead; the 503 is told nowhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check google-auth==2.63.0 requests==2.34.2

cat > probe.py <<'CODE'
import http.server
import json
import sys
import threading
from urllib.parse import parse_qs

from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

presented = []


class RotatingServer(http.server.BaseHTTPRequestHandler):
    """Spends a refresh token at its first use; the proxy in front loses that first answer."""

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        presented.append(form["refresh_token"][0])
        if len(presented) == 1:
            self.reply(503, "text/html", "<h1>Service Unavailable</h1>")
        else:
            self.reply(400, "application/json", json.dumps({"error": "invalid_grant"}))

    def reply(self, status, content_type, text):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RotatingServer)
threading.Thread(target=server.serve_forever, daemon=True).start()
credentials = Credentials(
    "access",
    refresh_token="once",
    token_uri=f"http://127.0.0.1:{server.server_port}/token",
    client_id="site",
    client_secret="secret",
)

print("Software: google-auth 2.63.0")
print("Expected: one call of refresh() presents the token once; a 503 is raised, marked as worth another try")
try:
    credentials.refresh(Request())
    error = None
except RefreshError as refused:
    error = refused
print(f"Seen: presented {presented}")
print(f"Seen: {type(error).__name__}: {error and error.args[0]}; retryable: {error and error.retryable}")

as_recorded = presented == ["once", "once"] and "invalid_grant" in str(error) and not error.retryable
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
