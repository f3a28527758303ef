"""``python tests/docs/calendar_program.py Authlib < program``: one of the programs of the page on
Google Calendar, as it is printed, in a site of its own; Google is played, and nothing is sent.

Prints as JSON the status of the page that shows the events, how many refreshes it cost, and the
error that a dead grant brings.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import requests

PAGE = "https://www.googleapis.com/calendar/v3/calendars/primary/events"
MIDDLEWARE = ["sessions.middleware.Session", "auth.middleware.Authentication"]
METADATA = {
    "issuer": "https://accounts.google.com",
    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
    "token_endpoint": "https://oauth2.googleapis.com/token",
}


class Google:
    """Answers in place of the network."""

    def __init__(self) -> None:
        self.refreshes, self.is_dead = 0, False

    def send(self, adapter: Any, request: Any, **_: Any) -> requests.Response:
        status, said = self.answer(request)
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url
        response._content = json.dumps(said).encode()
        response.headers["Content-Type"] = "application/json"
        return response

    def answer(self, request: Any) -> tuple[int, Any]:
        if "openid-configuration" in request.url:
            return 200, METADATA
        if "/token" in request.url:
            assert "refresh_token=spare" in str(request.body)
            self.refreshes += 1
            if self.is_dead:
                return 400, {"error": "invalid_grant"}
            return 200, {"access_token": "new", "token_type": "Bearer", "expires_in": 3600}
        assert request.url.startswith(PAGE), request.url
        is_new = request.headers["Authorization"] == "Bearer new"
        return (200, {"items": []}) if is_new else (401, {})


def site_of(program: str) -> dict[str, Any]:
    """Run the program, its settings first, in a site that is made of it; return its names."""
    told, _, code = program.partition("\nimport requests\n")
    if not code:
        told, code = "", program
    apps = [f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions", "messages")]
    names: dict[str, Any] = {
        "INSTALLED_APPS": [*apps, "calendar_site"],
        "AUTHENTICATION_BACKENDS": ["django.contrib.auth.backends.ModelBackend"],
        "MIDDLEWARE": [f"django.contrib.{name}Middleware" for name in MIDDLEWARE],
        "os": os,
    }
    exec(told, names)
    package = ModuleType("calendar_site")
    package.__path__ = []
    package.__file__ = __file__
    sys.modules["calendar_site"] = package

    import django
    from django.conf import settings

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    settings.configure(
        DATABASES={"default": database},
        SECRET_KEY="of-a-test",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        **{name: value for name, value in names.items() if name.isupper()},
    )
    django.setup()
    from django.contrib.auth.decorators import login_required
    from django.db import models
    from django.http import JsonResponse
    from django.shortcuts import redirect
    from django.utils import timezone

    names |= {"__name__": "calendar_site.models", "settings": settings, "models": models}
    names |= {"login_required": login_required, "JsonResponse": JsonResponse}
    names |= {"redirect": redirect, "timezone": timezone, "timedelta": timedelta}
    exec("import requests\n" + code, names)
    return names


def connect(way: str, names: dict[str, Any], user: Any) -> None:
    """Store what a person's consent an hour ago and more left behind."""
    ended = datetime.now(UTC) - timedelta(minutes=5)
    if way == "django-allauth":
        from allauth.socialaccount.models import SocialAccount, SocialToken

        account = SocialAccount.objects.create(user=user, provider="google", uid=user.username)
        SocialToken.objects.create(
            account=account, token="old", token_secret="spare", expires_at=ended
        )
    elif way == "social-auth":
        data = {"access_token": "old", "refresh_token": "spare", "expires": 3600}
        data["auth_time"] = int(time.time()) - 4000
        user.social_auth.create(provider="google-oauth2", uid=user.username, extra_data=data)
    else:
        names["Token"].objects.create(
            user=user, access_token="old", refresh_token="spare", expires_at=ended.timestamp()
        )


def main(way: str, program: str) -> None:
    os.environ |= {"GOOGLE_CLIENT_ID": "client", "GOOGLE_CLIENT_SECRET": "secret"}
    google = Google()
    requests.adapters.HTTPAdapter.send = lambda *args, **more: google.send(*args, **more)  # type: ignore[method-assign]
    names = site_of(program)
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from django.test import RequestFactory

    call_command("migrate", run_syncdb=True, verbosity=0)
    if "Token" in names:
        with connection.schema_editor() as editor:
            editor.create_model(names["Token"])
    request = RequestFactory().get("/events/")
    request.session = {}  # type: ignore[assignment]
    found = SimpleNamespace(status=0, refreshes=0, dead="")
    for is_dead in (False, True):
        user = get_user_model().objects.create(username=f"ada-{is_dead}")
        connect(way, names, user)
        request.user, google.is_dead = user, is_dead
        try:
            found.status = names["events"](request).status_code
            found.refreshes = google.refreshes
        except Exception as error:
            found.dead = type(error).__name__
    print(json.dumps(vars(found)))


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.read())
