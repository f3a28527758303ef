"""Badge Connect's API: the person's profile and badges, in each host's shape."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .people import digest

OB2_CONTEXT = "https://w3id.org/openbadges/v2"
WORDS = {200: "OK", 401: "UNAUTHENTICATED", 403: "FORBIDDEN"}
BADGE = "Wheelwright"


class Resource(OAuthLibMixin, View):  # type: ignore[misc]
    """Open to a live token with the scope to read it."""

    scope = ""

    def get(self, request: HttpRequest) -> HttpResponse:
        valid, oauth_request = self.verify_request(request)
        if not valid:
            return self.failure(401)
        if self.scope not in oauth_request.scopes:
            return self.without_scope()
        return JsonResponse(self.success(oauth_request.user))

    def success(self, user: AbstractUser) -> dict[str, Any]:
        raise NotImplementedError

    def failure(self, code: int) -> HttpResponse:
        return JsonResponse({"status": status(code)}, status=code)

    def without_scope(self) -> HttpResponse:
        return self.failure(403)

    def address_of(self, kind: str, user: AbstractUser) -> str:
        number = digest(kind, user).hex()[:22]
        return self.request.build_absolute_uri(f"/badgeconnect/public/{kind}s/{number}")

    def assertion(self, user: AbstractUser) -> dict[str, Any]:
        recipient = {"type": "email", "hashed": False, "identity": user.email}
        address = self.address_of("assertion", user)
        badge = self.request.build_absolute_uri("/badgeconnect/public/badges/wheelwright")
        return {"@context": OB2_CONTEXT, "type": "Assertion", "id": address} | {
            "badge": badge,
            "recipient": recipient,
            "verification": {"type": "HostedBadge"},
            "issuedOn": "2026-01-15T09:00:00Z",
        }


class ProfileView(Resource):
    def success(self, user: AbstractUser) -> dict[str, Any]:
        address = self.address_of("profile", user)
        profile = {"id": address, "type": "Profile"} | name_and_email(user)
        return {"status": status(200), "profile": profile}


class AssertionsView(Resource):
    """Open Badges 2.1: a list under `results`."""

    def success(self, user: AbstractUser) -> dict[str, Any]:
        return {"status": status(200), "results": [self.assertion(user)]}


class PermissionDenied(Resource):
    """badgr-server 3.14.1, observed 2026: a scope that is missing is a 401 there."""

    def without_scope(self) -> HttpResponse:
        denied = {
            "error": "PERMISSION_DENIED",
            "statusCode": 401,
            "statusText": "PERMISSION_DENIED",
        }
        return JsonResponse({"status": denied}, status=401)


class BadgrProfileView(PermissionDenied):
    """badgr-server 3.14.1, observed 2026: a list under another name, and no id."""

    def success(self, user: AbstractUser) -> dict[str, Any]:
        return {
            "status": status(200),
            "results": [name_and_email(user) | {"@context": OB2_CONTEXT}],
        }


class BadgrAssertionsView(PermissionDenied, AssertionsView):
    pass


class BareResource(Resource):
    """Open Badges 3.0: the errors of 1EdTech."""

    def failure(self, code: int) -> HttpResponse:
        body = {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": WORDS[code].capitalize(),
        }
        return JsonResponse(body, status=code)


class BareProfileView(BareResource):
    """Nothing around the profile."""

    def success(self, user: AbstractUser) -> dict[str, Any]:
        address = self.address_of("profile", user)
        return {"id": address, "type": ["Profile"]} | name_and_email(user)


class CredentialsView(BareResource):
    """Credentials as objects and as compact JWS; the sandbox signs none."""

    def success(self, user: AbstractUser) -> dict[str, Any]:
        subject = {
            "type": ["AchievementSubject"],
            "achievement": {"type": ["Achievement"], "name": BADGE},
        }
        credential = {
            "type": ["VerifiableCredential", "OpenBadgeCredential"],
            "id": self.address_of("credential", user),
            "name": BADGE,
            "credentialSubject": subject,
        }
        return {"credential": [credential], "compactJwsString": []}


def name_and_email(user: AbstractUser) -> dict[str, str]:
    return {"name": user.get_full_name(), "email": user.email}


def status(code: int) -> dict[str, Any]:
    return {"error": None, "statusCode": code, "statusText": WORDS[code]}
