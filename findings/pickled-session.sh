#!/usr/bin/env bash
# Authlib's session is pickled without a word, and comes back without its token.
#
# A session travels by pickle to a process pool, a cache or a task queue that serializes so.
# requests says which attributes a Session takes along, and the subclass adds none of its own.
# requests-oauthlib's refuses the pickle, which is what one would wish, but copy.copy gives an
# empty shell there too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
    Authlib==1.9.10 requests-oauthlib==2.0.0 oauthlib==4.0.1 requests==2.34.2

cat > probe.py <<'CODE'
import copy
import pickle
import sys

from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from requests_oauthlib import OAuth2Session

sys.unraisablehook = lambda unraisable: None  # Authlib's __del__ fails on the shells below
TOKEN = {"access_token": "access", "token_type": "Bearer", "refresh_token": "refresh", "expires_in": 3600}
theirs = AuthlibSession("site", "secret", token=dict(TOKEN))
requests_oauthlib = OAuth2Session("site", token=dict(TOKEN))


def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


print("Software: Authlib 1.9.10, requests-oauthlib 2.0.0, requests 2.34.2")
print("Expected: a pickled or copied session has its token, or pickling it is refused")

text = pickle.dumps(theirs)
back = pickle.loads(text)
seen = {
    "Authlib, pickled: kept in the pickle": b"refresh" in text,
    "Authlib, unpickled: reading .token": error_of(lambda: back.token),
    "Authlib, unpickled: a request": error_of(lambda: back.get("http://127.0.0.1:9/")),
    "Authlib, copy.copy: reading .token": error_of(lambda: copy.copy(theirs).token),
    "requests-oauthlib: pickling": error_of(lambda: pickle.dumps(requests_oauthlib)),
    "requests-oauthlib, copy.copy: reading .token": error_of(lambda: copy.copy(requests_oauthlib).token),
}
for what, value in seen.items():
    print(f"Seen: {what}: {value}")

as_recorded = list(seen.values()) == [False] + ["AttributeError"] * 5
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
