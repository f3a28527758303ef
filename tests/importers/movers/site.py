"""People of the site that moves, and connections that the other packages made for them."""

from io import StringIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

from allauth.socialaccount.models import SocialApp, SocialToken
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from oauth2_capture.models import OAuthToken
from social_django.models import UserSocialAuth

from tests.importers.movers import capture

SOURCES = ("allauth", "social-auth", "oauth2-capture")


def person(name: str = "ada") -> Any:
    return get_user_model().objects.get_or_create(username=name)[0]


def run(source: str, *arguments: str) -> str:
    out = StringIO()
    call_command("import_connections", "--from", source, *arguments, stdout=out)
    return out.getvalue()


def _flow(user: Any, begin: str, number: int) -> None:
    """Go through the package's own flow, at the stub's account with this number."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    started = client.post(begin, {"next": "/done/"})
    assert started.status_code == 302, started.content
    asked = parse_qs(urlsplit(started["Location"]).query)
    back = urlsplit(asked["redirect_uri"][0]).path
    answer = {"state": asked["state"][0], "code": f"c.{number}.{'x' * 30}"}
    finished = client.get(back, answer)
    assert finished["Location"].endswith("/done/"), finished.content


def by_allauth(user: Any, number: int) -> SocialToken:
    app = {"client_id": settings.CLIENT_ID, "secret": settings.CLIENT_SECRET, "name": "Gitea"}
    SocialApp.objects.get_or_create(provider="gitea", defaults=app)
    _flow(user, "/allauth/gitea/login/?process=connect&next=/done/", number)
    return SocialToken.objects.select_related("account", "app").get(account__uid=str(number))


def by_social_auth(user: Any, number: int) -> UserSocialAuth:
    _flow(user, "/social/login/gitea/", number)
    return UserSocialAuth.objects.get(uid=str(number))


def by_oauth2_capture(user: Any, number: int) -> OAuthToken:
    capture.connect(user, number)
    return OAuthToken.objects.get(user_id=str(number), owner=user)


MAKE = {
    "allauth": by_allauth,
    "social-auth": by_social_auth,
    "oauth2-capture": by_oauth2_capture,
}


def plaintext(source: str) -> list[str]:
    """Every token that still stands in the package's table."""
    if source == "allauth":
        found = [(row.token, row.token_secret) for row in SocialToken.objects.order_by("pk")]
    elif source == "social-auth":
        kept = [row.extra_data for row in UserSocialAuth.objects.order_by("pk")]
        found = [(one.get("access_token"), one.get("refresh_token")) for one in kept]
    else:
        rows = OAuthToken.objects.order_by("pk")
        found = [(row.access_token, row.refresh_token) for row in rows]
    return [text for pair in found for text in pair if text]
