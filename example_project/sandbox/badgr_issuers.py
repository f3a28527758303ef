"""Badgr's API for those who award: issuers, badge classes and awards.

Statuses and envelopes of badgr-server 3.14.1, observed 2026. Everybody works for the one issuer
that there is, so that an award can be tried without making one first. Left out, since a site needs
no sandbox for it: to make and change issuers and badge classes (405), to take an award back, and
`/v2/auth/tokens`, in whose place `/sandbox/users/…/revoke/…` withdraws a grant.
"""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt

from .badgr_api import (
    BADGES,
    ISSUER,
    BadgrResource,
    answered,
    assertion_document,
    public_id,
    refused,
)
from .models import Award

MADE_AT = "2026-01-15T09:00:00.000000Z"
NOT_FOUND = "entity not found or insufficient privileges"
CLASSES = {public_id("badge class", name): (name, text) for name, text in BADGES}


class Issuing(BadgrResource):
    # badgr-server 3.14.1 has no r:issuer; the hosted service documents it (Canvas guide).
    any_scope: tuple[str, ...] = ("r:issuer", "rw:issuer")

    def place(self, kind: str, number: str) -> str:
        return self.request.build_absolute_uri(f"/badgr/public/{kind}/{number}")

    def issuer(self) -> dict[str, Any]:
        number = public_id("issuer", ISSUER)
        return {
            "entityType": "Issuer",
            "entityId": number,
            "openBadgeId": self.place("issuers", number),
            "createdAt": MADE_AT,
            "name": ISSUER,
            "description": "Awards the badges of the sandbox.",
            "email": self.person.email,
            "url": self.place("issuers", number),
            "image": None,
            "staff": [],
        }

    def badge_class(self, number: str) -> dict[str, Any]:
        name, text = CLASSES[number]
        issuer = public_id("issuer", ISSUER)
        address = self.place("badges", number)
        return {
            "entityType": "BadgeClass",
            "entityId": number,
            "openBadgeId": address,
            "createdAt": MADE_AT,
            "createdBy": public_id("user", ISSUER),
            "issuer": issuer,
            "issuerOpenBadgeId": self.place("issuers", issuer),
            "name": name,
            "image": f"{address}/image",
            "description": text,
            "criteriaUrl": None,
            "criteriaNarrative": text,
            "alignments": [],
            "tags": [],
            "expires": {"amount": None, "duration": None},
            "extensions": {},
        }


class IssuersView(Issuing):
    def get(self, request: HttpRequest, number: str = "") -> HttpResponse:
        issuer = self.issuer()
        return answered([issuer]) if number in ("", issuer["entityId"]) else refused(NOT_FOUND, 404)


class BadgeClassesView(Issuing):
    """All that the person may award, or those of one issuer, or one."""

    def get(self, request: HttpRequest, number: str = "", issuer: str = "") -> HttpResponse:
        if number and number not in CLASSES:
            return refused(NOT_FOUND, 404)
        if issuer and issuer != public_id("issuer", ISSUER):
            return refused(NOT_FOUND, 404)
        return answered([self.badge_class(each) for each in ([number] if number else CLASSES)])


@method_decorator(csrf_exempt, name="dispatch")
class AwardsView(Issuing):
    """What was awarded of one badge class; by `POST` one more, which lands in the backpack."""

    any_scope = ("rw:issuer",)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if kwargs["number"] not in CLASSES:
            return refused(NOT_FOUND, 404)
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, number: str) -> HttpResponse:
        return answered([self.awarded(award) for award in Award.objects.filter(badge=number)])

    def post(self, request: HttpRequest, number: str) -> HttpResponse:
        try:
            sent = json.loads(request.body)
            recipient, narrative = sent["recipient"]["identity"], sent.get("narrative") or ""
        except (ValueError, LookupError, TypeError, AttributeError):
            recipient = None
        if not isinstance(recipient, str) or "@" not in recipient or not isinstance(narrative, str):
            return refused("bad request", 400)
        award = Award.objects.create(badge=number, recipient=recipient, narrative=narrative)
        return answered([self.awarded(award)], status=201)

    def awarded(self, award: Award) -> dict[str, Any]:
        badge = CLASSES[award.badge][0]
        extra = {"createdAt": MADE_AT, "createdBy": public_id("user", ISSUER), "extensions": {}}
        said = (badge, award.entity_id, award.recipient, award.narrative)
        return assertion_document(self.request, *said) | extra


class CollectionsView(BadgrResource):
    """Nobody has put any together."""

    any_scope = ("r:backpack", "rw:backpack")

    def get(self, request: HttpRequest) -> HttpResponse:
        return answered([])
