#!/usr/bin/env bash
# Two clients name, at each refresh, the scopes that were once asked for, not those that were given.
#
# RFC 6749, section 6: the scope of a refresh MUST NOT include one that was not granted, and leaving
# it out means "as before". Where the server grants less than was asked, which section 3.3 allows and
# oidc-provider does in silence, connecting goes well and the first refresh, an hour later, is refused.
set -euo pipefail
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
    requests-oauthlib==2.0.0 oauthlib==4.0.1 Authlib==1.9.10 requests==2.34.2
npm install --silent --no-audit --no-fund node@24.21.0 oidc-provider@9.13.3

cat > server.mjs <<'CODE'
import http from 'node:http';
import { Provider } from 'oidc-provider';

let provider;
const server = http.createServer((request, response) => provider.callback()(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  console.warn = console.info = () => {}; // its notices about settings of a development server
  provider = new Provider(issuer, {
    clients: [{
      client_id: 'site', client_secret: 'secret', redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
    }],
  });
  console.log(issuer);
});
CODE

cat > probe.py <<'CODE'
import base64
import hashlib
import os
import re
import secrets
import sys
from urllib.parse import parse_qs, urljoin, urlsplit

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"  # without it requests-oauthlib refuses the first answer

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import OAuth2Error
from requests_oauthlib import OAuth2Session

ISSUER = sys.argv[1]
BACK = "http://127.0.0.1/callback"
ASKED = ["openid", "offline_access", "calendar"]  # the server knows no "calendar"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def agreed(url):
    """The person signs in and agrees, on the pages that the server ships for development."""
    browser = requests.Session()
    answer = browser.get(url, allow_redirects=False)
    while True:
        if "Location" in answer.headers:
            url = urljoin(url, answer.headers["Location"])
            if url.startswith(BACK):
                return parse_qs(urlsplit(url).query)["code"][0]
            answer = browser.get(url, allow_redirects=False)
        else:
            prompt = re.search('name="prompt" value="([^"]+)"', answer.text)[1]
            url = urljoin(url, re.search('action="([^"]+)"', answer.text)[1])
            form = {"prompt": prompt, "login": "person", "password": "any"}
            answer = browser.post(url, form, allow_redirects=False)


def connect_and_refresh(session, error, **credentials):
    sent = []
    session.hooks["response"].append(lambda answer, **_: sent.append(parse_qs(answer.request.body)))
    make_url = getattr(session, "authorization_url", None) or session.create_authorization_url
    url, _ = make_url(f"{ISSUER}/auth", prompt="consent", code_challenge=CHALLENGE, code_challenge_method="S256")
    token = session.fetch_token(f"{ISSUER}/token", code=agreed(url), code_verifier=VERIFIER, **credentials)
    try:
        session.refresh_token(f"{ISSUER}/token", refresh_token=token["refresh_token"], auth=("site", "secret"))
        outcome = "new tokens"
    except error as refused:
        outcome = refused.error
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    unnamed = requests.post(f"{ISSUER}/token", form, auth=("site", "secret")).status_code
    return token["scope"], sent[-1].get("scope"), outcome, unnamed


print("Software: requests-oauthlib 2.0.0 with oauthlib 4.0.1, Authlib 1.9.10; oidc-provider 9.13.3 as the server")
print("Expected: a refresh names no scope, or those that were given; it brings new tokens")
seen = [
    connect_and_refresh(
        OAuth2Session("site", scope=ASKED, redirect_uri=BACK), OAuth2Error, client_secret="secret"
    ),
    connect_and_refresh(
        AuthlibSession("site", "secret", scope=" ".join(ASKED), redirect_uri=BACK), OAuthError
    ),
]
for name, (given, named, outcome, unnamed) in zip(("requests-oauthlib", "Authlib"), seen, strict=True):
    print(f"Seen: {name}: given {given!r}; the refresh names {named}; {outcome}; naming none: {unnamed}")

as_recorded = all(
    "calendar" not in given and named == [" ".join(ASKED)] and outcome == "invalid_scope" and unnamed == 200
    for given, named, outcome, unnamed in seen
)
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE

node_modules/node/bin/node server.mjs > address &
server=$!
for _ in $(seq 100); do test -s address && break; sleep 0.1; done
env/bin/python probe.py "$(cat address)"
