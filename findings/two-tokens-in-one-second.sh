#!/usr/bin/env bash
# canaille answers 500 to the second token of one second: its access tokens are the same text.
#
# Its access tokens are signed JWTs of what the client and the person are and of the second, and nothing
# in them is random. A second one within that second is the same token, which its table refuses. The
# refresh token is not spent by the 500, and works a second later.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check "canaille[sqlite,oidc]==0.3.6"

cat > probe.py <<'CODE'
import datetime
import logging
import sys
import time

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import RSAKey

BACK = "https://site.example/callback"
key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
app = create_app(
    {
        "SECRET_KEY": "a secret of the server",
        "TESTING": False,
        "PROPAGATE_EXCEPTIONS": False,
        "CANAILLE_SQL": {"DATABASE_URI": "sqlite:///canaille.sqlite3"},
        "CANAILLE": {"DATABASE": "sql"},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
    },
    init_backend=True,
)
logging.disable(logging.CRITICAL)
now = datetime.datetime.now(datetime.timezone.utc)
with app.app_context():
    Backend.instance.install(app)
with app.app_context(), Backend.instance.session():
    ada = models.User(user_name="ada", formatted_name="Ada", family_name="L", emails=["ada@example.org"])
    Backend.instance.save(ada)
    site = models.Client(
        client_id="site",
        client_secret="secret",
        client_name="A site",
        client_id_issued_at=now,
        redirect_uris=[BACK],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid"],
        token_endpoint_auth_method="client_secret_basic",
    )
    Backend.instance.save(site)
    site.audience = [site]
    Backend.instance.save(site)
    # A grant of ten minutes ago, as a connection has it that is refreshed now.
    Backend.instance.save(
        models.Token(
            token_id="t",
            access_token="an-older-access-token",
            refresh_token="R1",
            client=site,
            subject=ada,
            type="Bearer",
            scope=["openid"],
            issue_date=now - datetime.timedelta(minutes=10),
            lifetime=3600,
            audience=[site],
        )
    )


def refresh(token):
    answer = app.test_client().post(
        "/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": token},
        auth=("site", "secret"),
    )
    return answer.status_code, answer.get_json(silent=True) or {}


def at_the_beginning_of_a_second():
    time.sleep(1.02 - time.time() % 1)


at_the_beginning_of_a_second()
status, first = refresh("R1")
assert status == 200, (status, first)
status, answer = refresh(first["refresh_token"])
at_the_beginning_of_a_second()
later, _ = refresh(first["refresh_token"])
print("Software: canaille 0.3.6 on SQLite")
print("Expected: each refresh brings an access token of its own, however soon it comes")
print(f"Seen: a refresh in the same second as the one before: {status} {str(answer.get('error_description'))[:72]}")
print(f"Seen: the same refresh token a second later: {later}")
as_recorded = status == 500 and later == 200
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
