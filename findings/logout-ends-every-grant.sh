#!/usr/bin/env bash
# django-oauth-toolkit: signing out by ONE application deletes the person's tokens of ALL applications.
#
# RP-initiated logout is for the session at the server. With it switched on, and the rest as shipped,
# the server also deletes access and refresh tokens: of every confidential and public application,
# of other browsers, and those that run in the background with nobody signed in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check Django==5.2.19 django-oauth-toolkit==3.4.1 oauthlib==4.0.1

cat > probe.py <<'CODE'
import base64
import hashlib
import secrets
import sys
from urllib.parse import parse_qs, urlsplit

import django
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings

KEY = rsa.generate_private_key(65537, 2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": KEY.decode(),
        "SCOPES": {"openid": "who you are", "read": "read"},
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(),
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import include, path
from oauth2_provider.models import get_application_model

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]
call_command("migrate", verbosity=0)
BACK, OUT = "https://site.example/callback", "https://site.example/out"


def application(name):
    get_application_model().objects.create(
        name=name,
        client_id=name,
        client_secret="secret",
        client_type="confidential",
        authorization_grant_type="authorization-code",
        redirect_uris=BACK,
        post_logout_redirect_uris=OUT,
        skip_authorization=True,
        algorithm="RS256",
    )


def token_request(name, **form):
    answer = Client().post("/o/token/", {**form, "client_id": name, "client_secret": "secret"})
    return answer.status_code, answer.json()


def connect(browser, name):
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": name,
        "response_type": "code",
        "redirect_uri": BACK,
        "scope": "openid read",
        "state": "state",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    code = parse_qs(urlsplit(browser.get("/o/authorize/", query)["Location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": verifier}
    return token_request(name, **form)[1]


application("calendar")
application("backup")
person = User.objects.create_user("person")
somebody_else = User.objects.create_user("somebody-else")


def browser_of(user):
    browser = Client()
    browser.force_login(user)
    return browser


here, elsewhere = browser_of(person), browser_of(person)
calendar = connect(here, "calendar")
grants = {
    "calendar, the application signed out of": ("calendar", calendar),
    "backup, another application, same browser": ("backup", connect(here, "backup")),
    "backup, another application, another browser": ("backup", connect(elsewhere, "backup")),
    "backup, somebody else": ("backup", connect(browser_of(somebody_else), "backup")),
}
form = {"allow": "True", "client_id": "calendar", "id_token_hint": calendar["id_token"], "post_logout_redirect_uri": OUT}
signed_out = here.post("/o/logout/", form)

print("Software: django-oauth-toolkit 3.4.1 (oauthlib 4.0.1, Django 5.2.19), OIDC and RP-initiated logout switched on")
print("Expected: the session at the server ends, and at most the tokens of the application that asked")
print(f"Seen: the person signs out by the application calendar: {signed_out.status_code}, to {signed_out['Location']}")
alive = []
for whose, (name, held) in grants.items():
    status, answer = token_request(name, grant_type="refresh_token", refresh_token=held["refresh_token"])
    print(f"Seen: refresh for {whose}: {status} {answer.get('error', 'new tokens')}")
    alive.append(status == 200)

as_recorded = alive == [False, False, False, True]
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
