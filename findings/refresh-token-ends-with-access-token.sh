#!/usr/bin/env bash
# canaille ends a refresh token together with its access token, an hour after each refresh.
#
# A token row has one life for both, and no answer tells of it. A client that refreshes when its access
# token has run out, as most do, is refused each time; one that refreshes ahead of the end goes on.
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
    # As the rows stand after a refresh, made so long ago.
    for name, ago in {"ahead": 59, "over": 61}.items():
        Backend.instance.save(
            models.Token(
                token_id=name,
                access_token=f"an access token, {name}",
                refresh_token=name,
                client=site,
                subject=ada,
                type="Bearer",
                scope=["openid"],
                issue_date=now - datetime.timedelta(minutes=ago),
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


ahead, renewed = refresh("ahead")
over, refused = refresh("over")
print("Software: canaille 0.3.6 on SQLite, its own lives (an access token has 3600 s)")
print("Expected: a refresh token outlives its access token, which is what it is for (RFC 6749, section 1.5)")
print(f"Seen: a refresh a minute before the access token's end: {ahead}, expires_in {renewed.get('expires_in')}")
print(f"Seen: a refresh a minute after it: {over} {refused.get('error')}")
as_recorded = (ahead, over, refused.get("error")) == (200, 400, "invalid_grant")
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
