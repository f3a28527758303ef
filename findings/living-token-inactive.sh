#!/usr/bin/env bash
# django-oauth-toolkit says of a living refresh token that it is not active.
#
# RFC 7662, section 2.1: the token introspected may be a refresh token, and the hint says so. Here
# the endpoint knows access tokens only. Whoever asks it whether a connection still lives is told
# that it is dead, and the same token brings new ones a moment later.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check Django==5.2.19 django-oauth-toolkit==3.4.1 oauthlib==4.0.1

cat > probe.py <<'CODE'
import secrets
import sys
from datetime import timedelta

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(),
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import include, path
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]
call_command("migrate", verbosity=0)
application = get_application_model().objects.create(
    name="site",
    client_id="site",
    client_secret="secret",
    client_type="confidential",
    authorization_grant_type="authorization-code",
    redirect_uris="https://site.example/callback",
)
person = User.objects.create_user("person")
access = get_access_token_model().objects.create(
    user=person, application=application, token="access", scope="read", expires=timezone.now() + timedelta(hours=1)
)
get_refresh_token_model().objects.create(user=person, application=application, token="refresh", access_token=access)
SITE = {"client_id": "site", "client_secret": "secret"}


def active(token, **more):
    return Client().post("/o/introspect/", {"token": token, **SITE, **more}).json()["active"]


print("Software: django-oauth-toolkit 3.4.1 (oauthlib 4.0.1, Django 5.2.19)")
print("Expected: active is true for an access token and for a refresh token, while both live")
seen = [active("access"), active("refresh"), active("refresh", token_type_hint="refresh_token")]
print(f"Seen: the access token: {seen[0]}")
print(f"Seen: the refresh token: {seen[1]}; with token_type_hint=refresh_token: {seen[2]}")
answer = Client().post("/o/token/", {"grant_type": "refresh_token", "refresh_token": "refresh", **SITE})
print(f"Seen: a refresh with it: {answer.status_code}, with {sorted(answer.json())}")

as_recorded = seen == [True, False, False] and answer.status_code == 200
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
