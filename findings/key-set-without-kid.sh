#!/usr/bin/env bash
# PyJWT's key set client finds no key in a set of one key, where the key has no `kid`.
#
# RFC 7517, section 4.5: `kid` is OPTIONAL; RFC 7515, section 4.1.4: so it is in the token. A server
# with one key needs none. The message says that there are no signing keys, though there is one, and
# with a `kid` in the set and none in the token the only key is not taken either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check PyJWT==2.15.1 joserfc==1.8.0 cryptography==50.0.2

cat > probe.py <<'CODE'
import http.server
import json
import sys
import threading

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

private_key = rsa.generate_private_key(65537, 2048)
bare = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key()))
published = {}


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(published).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/keys"


def by_pyjwt(token):
    try:
        key = jwt.PyJWKClient(address).get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["RS256"])["sub"]
    except jwt.PyJWKClientError as error:
        return f"PyJWKClientError: {error}"


def by_joserfc(token):
    return joserfc_jwt.decode(token, KeySet.import_key_set(published), algorithms=["RS256"]).claims["sub"]


print("Software: PyJWT 2.15.1; beside it joserfc 1.8.0")
print("Expected: a set of one key is used, named or not; RFC 7517 and RFC 7515 make kid optional")
seen = []
for key_id, token_id in ((None, None), ("one", None), ("one", "one")):
    published["keys"] = [{**bare, "kid": key_id} if key_id else bare]
    token = jwt.encode({"sub": "person"}, private_key, "RS256", headers={"kid": token_id} if token_id else None)
    seen.append((by_pyjwt(token), by_joserfc(token)))
    print(f"Seen: kid in the set {key_id}, in the token {token_id}: PyJWT: {seen[-1][0]}; joserfc: {seen[-1][1]}")

as_recorded = (
    "did not contain any signing keys" in seen[0][0]
    and "Unable to find a signing key" in seen[1][0]
    and seen[2][0] == "person"
    and all(joserfc == "person" for _, joserfc in seen)
)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
