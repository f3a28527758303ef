"""Badgr's API: the person and the backpack. Shapes of badgr-server 3.14.1, observed 2026."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .badgr import BadgrValidator
from .models import Award
from .people import badgr_entity_id, digest, digest_of_name
from .translate import query_token_into_header

BADGES = [
    ("Wheelwright", "Keeps a wheel true."),
    ("First Aider", "Completed the two-day course in first aid."),
]


ISSUER = "Sandbox Academy"
OB2_CONTEXT = "https://w3id.org/openbadges/v2"


def public_id(purpose: str, name: str) -> str:
    return digest_of_name(purpose, name).hex()[:22]


def badge_class(request: HttpRequest, number: str) -> HttpResponse:
    """A badge as anybody may read it (Open Badges 2.0)."""
    for name, text in BADGES:
        if public_id("badge class", name) == number:
            address = request.build_absolute_uri()
            issuer = f"/badgr/public/issuers/{public_id('issuer', ISSUER)}"
            return public(
                {
                    "type": "BadgeClass",
                    "id": address,
                    "name": name,
                    "description": text,
                    "image": f"{address}/image",
                    "issuer": request.build_absolute_uri(issuer),
                }
            )
    return HttpResponse(status=404)


def issuer(request: HttpRequest, number: str) -> HttpResponse:
    """Who awards it."""
    if number != public_id("issuer", ISSUER):
        return HttpResponse(status=404)
    address = request.build_absolute_uri()
    return public({"type": "Issuer", "id": address, "name": ISSUER, "url": address})


def public(document: dict[str, Any]) -> HttpResponse:
    return JsonResponse({"@context": OB2_CONTEXT} | document, content_type="application/ld+json")


def envelope(success: bool, description: str, result: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"status": {"success": success, "description": description}, "result": result}
    return body if success else body | {"fieldErrors": {}, "validationErrors": []}


def answered(result: list[dict[str, Any]], status: int = 200) -> HttpResponse:
    return JsonResponse(
        envelope(True, "ok", result), status=status, content_type="application/ld+json"
    )


def refused(description: str, status: int) -> HttpResponse:
    return JsonResponse(
        envelope(False, description, []), status=status, content_type="application/ld+json"
    )


class BadgrResource(OAuthLibMixin, View):  # type: ignore[misc]
    """Open to a live token that has one of `any_scope`."""

    validator_class = BadgrValidator
    any_scope: tuple[str, ...] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        query_token_into_header(request)  # taken too (seen)
        valid, oauth_request = self.verify_request(request)
        if not valid:
            return refused("no valid auth token found", 401)
        if not set(self.any_scope) & set(oauth_request.scopes):
            return self.without_scope()
        self.person = oauth_request.user
        return super().dispatch(request, *args, **kwargs)

    def without_scope(self) -> HttpResponse:
        return refused("entity not found or insufficient privileges", 404)

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
            "badgrDomain": None,
            "recipient": {"type": "email", "identity": self.person.email},
            "agreedTermsVersion": 1,
            "hasAgreedToLatestTermsVersion": True,
            "marketingOptIn": False,
            "hasPasswordSet": True,
        }
        return answered([person])


class ProfileView(BadgrResource):
    """Version 1: no envelope, and the entity id under the name `slug`."""

    any_scope = ("r:profile", "rw:profile")

    def without_scope(self) -> HttpResponse:
        detail = "You do not have permission to perform this action."
        return JsonResponse({"detail": detail}, status=403)

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


def assertion_document(
    request: HttpRequest, badge: str, entity_id: str, recipient: str, narrative: str = ""
) -> dict[str, Any]:
    number, issuer = public_id("badge class", badge), public_id("issuer", ISSUER)
    place = request.build_absolute_uri("/badgr/public")
    address = f"{place}/assertions/{entity_id}"
    return {
        "entityType": "Assertion",
        "entityId": entity_id,
        "openBadgeId": address,
        "badgeclass": number,
        "badgeclassOpenBadgeId": f"{place}/badges/{number}",
        "issuer": issuer,
        "issuerOpenBadgeId": f"{place}/issuers/{issuer}",
        "image": f"{address}/image",
        "pending": False,
        "expires": None,
        "recipient": {"type": "email", "identity": recipient},
        "issuedOn": "2026-01-15T09:00:00Z",
        "narrative": narrative,
        "acceptance": "Unaccepted",
        "revoked": False,
    }


class AssertionsView(BadgrResource):
    """Two badges that everybody has, and those that were awarded."""

    any_scope = ("r:backpack", "rw:backpack")

    def get(self, request: HttpRequest) -> HttpResponse:
        email = self.person.email
        found = [
            (name, digest(f"assertion {name}", self.person).hex()[:22], text)
            for name, text in BADGES
        ]
        badges = {public_id("badge class", name): name for name, _ in BADGES}
        for award in Award.objects.filter(recipient__iexact=email):
            found.append((badges[award.badge], award.entity_id, award.narrative))
        return answered(
            [assertion_document(request, name, number, email, text) for name, number, text in found]
        )
