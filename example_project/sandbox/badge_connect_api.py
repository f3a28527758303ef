"""Badge Connect's API: the person's profile, in each host's shape."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .people import digest

OB2_CONTEXT = "https://w3id.org/openbadges/v2"
WORDS = {200: "OK", 401: "UNAUTHENTICATED", 403: "FORBIDDEN"}


class ProfileView(OAuthLibMixin, View):  # type: ignore[misc]
    """Open to a live token with the scope to read the profile."""

    scope = ""

    def get(self, request: HttpRequest) -> HttpResponse:
        valid, oauth_request = self.verify_request(request)
        if not valid:
            return self.failure(401)
        if self.scope not in oauth_request.scopes:
            return self.failure(403)
        return JsonResponse(self.success(oauth_request.user))

    def success(self, user: AbstractUser) -> dict[str, Any]:
        profile = {"id": self.address_of(user), "type": "Profile"} | name_and_email(user)
        return {"status": status(200), "profile": profile}

    def failure(self, code: int) -> HttpResponse:
        return JsonResponse({"status": status(code)}, status=code)

    def address_of(self, user: AbstractUser) -> str:
        number = digest("profile", user).hex()[:22]
        return self.request.build_absolute_uri(f"/badgeconnect/public/profiles/{number}")


class BadgrProfileView(ProfileView):
    """badgr-server 3.14.1, observed 2026: a list under another name, and no id."""

    def success(self, user: AbstractUser) -> dict[str, Any]:
        return {
            "status": status(200),
            "results": [name_and_email(user) | {"@context": OB2_CONTEXT}],
        }


class BareProfileView(ProfileView):
    """Open Badges 3.0: nothing around the profile, and the errors of 1EdTech."""

    def success(self, user: AbstractUser) -> dict[str, Any]:
        return {"id": self.address_of(user), "type": ["Profile"]} | name_and_email(user)

    def failure(self, code: int) -> HttpResponse:
        body = {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": WORDS[code].capitalize(),
        }
        return JsonResponse(body, status=code)


def name_and_email(user: AbstractUser) -> dict[str, str]:
    return {"name": user.get_full_name(), "email": user.email}


def status(code: int) -> dict[str, Any]:
    return {"error": None, "statusCode": code, "statusText": WORDS[code]}
