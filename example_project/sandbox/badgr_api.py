"""Badgr's API: the person and the backpack. Shapes of badgr-server 3.14.1, observed 2026."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .badgr import BadgrValidator
from .people import badgr_entity_id, digest

BADGES = [
    ("Wheelwright", "Keeps a wheel true."),
    ("First Aider", "Completed the two-day course in first aid."),
]


def envelope(success: bool, description: str, result: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"status": {"success": success, "description": description}, "result": result}
    return body if success else body | {"fieldErrors": {}, "validationErrors": []}


def refused(description: str, status: int) -> HttpResponse:
    return JsonResponse(
        envelope(False, description, []), status=status, content_type="application/ld+json"
    )


class BadgrResource(OAuthLibMixin, View):  # type: ignore[misc]
    """Open to a live token that has one of `any_scope`."""

    validator_class = BadgrValidator
    any_scope: tuple[str, ...] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        valid, oauth_request = self.verify_request(request)
        if not valid:
            return refused("no valid auth token found", 401)
        if not set(self.any_scope) & set(oauth_request.scopes):
            return refused("insufficient scope", 403)
        self.person = oauth_request.user
        return super().dispatch(request, *args, **kwargs)

    def email(self) -> dict[str, Any]:
        return {"email": self.person.email, "verified": True, "primary": True, "caseVariants": []}


class SelfView(BadgrResource):
    any_scope = ("r:profile", "rw:profile")

    def get(self, request: HttpRequest) -> HttpResponse:
        person = {
            "entityType": "BadgeUser",
            "entityId": badgr_entity_id(self.person),
            "firstName": self.person.first_name,
            "lastName": self.person.last_name,
            "emails": [self.email()],
            "url": [],
            "telephone": [],
            "badgrDomain": request.get_host(),
            "recipient": {"type": "email", "identity": self.person.email},
        }
        return JsonResponse(envelope(True, "ok", [person]))


class ProfileView(BadgrResource):
    """Version 1: no envelope, and the entity id under the name `slug`."""

    any_scope = ("r:profile", "rw:profile")

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse(
            {
                "slug": badgr_entity_id(self.person),
                "email": self.person.email,
                "first_name": self.person.first_name,
                "last_name": self.person.last_name,
                "url": [],
                "telephone": [],
            }
        )


class AssertionsView(BadgrResource):
    any_scope = ("r:backpack", "rw:backpack")

    def get(self, request: HttpRequest) -> HttpResponse:
        assertions = [self.assertion(name, text) for name, text in BADGES]
        return JsonResponse(envelope(True, "ok", assertions))

    def assertion(self, name: str, narrative: str) -> dict[str, Any]:
        entity_id = digest(f"assertion {name}", self.person).hex()[:22]
        address = self.request.build_absolute_uri(f"/badgr/public/assertions/{entity_id}")
        return {
            "entityType": "Assertion",
            "entityId": entity_id,
            "openBadgeId": address,
            "badgeclassName": name,
            "issuerName": "Sandbox Academy",
            "recipient": {"type": "email", "identity": self.person.email},
            "issuedOn": "2026-01-15T09:00:00Z",
            "narrative": narrative,
            "acceptance": "Accepted",
            "revoked": False,
        }
