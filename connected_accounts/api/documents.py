"""What the JSON API tells: plain values, from the same cards and lines that the pages show."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.utils import timezone

from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import Owner
from connected_accounts.providers.inputs import ConnectField
from connected_accounts.web.cards import Card, Offer, ScopeLine, cards_of, scope_lines
from connected_accounts.web.revocations import RevocationLine
from connected_accounts.web.timeline import Line

Document = dict[str, Any]


def accounts(
    rows: Iterable[ConnectedAccount], owners: Mapping[str, Owner], now: datetime
) -> list[Document]:
    """One document for each account; ``owners`` are those of the user who asks."""
    rows = list(rows)
    pairs = zip(rows, cards_of(rows, now), strict=True)
    return [_account(row, card, owners[row.owner_key]) for row, card in pairs]


def _account(row: ConnectedAccount, card: Card, owner: Owner) -> Document:
    return {
        "id": row.pk,
        "provider": row.provider,
        "service": card.service,
        "label": card.label,
        "owner": _named(owner),
        "state": card.state,
        "state_text": card.state_words,
        "note": card.note,
        "scopes": _scopes(card.scopes),
        "scopes_missing": [line.scope for line in card.missing],
        "connected_at": moment(row.connected_at),
        "refreshed_at": moment(row.refreshed_at),
        "manage_url": card.manage_url,
        "may_use": owner.may_use,
        "may_reconnect": owner.may_connect and card.can_reconnect,
        "may_disconnect": owner.may_disconnect,
    }


def _named(owner: Owner) -> Document | None:
    """A team; None for the user who asks."""
    return {"key": owner.key, "name": owner.name} if owner.name else None


def owners(known: Mapping[str, Owner]) -> list[Document]:
    """The teams for which the user may connect."""
    found = [_named(owner) for owner in known.values() if owner.may_connect]
    return [owner for owner in found if owner is not None]


def provider(offer: Offer) -> Document:
    """A service that can be connected, and what it asks for first."""
    service = offer.provider
    return {
        "alias": service.alias,
        "name": service.name,
        "grant_type": service.grant_type,
        "connected": offer.connected,
        "scopes": _scopes(scope_lines(service, service.scopes)),
        "optional_scopes": _scopes(scope_lines(service, service.config.optional_scopes)),
        "fields": [_field(field) for field in service.asked_fields()],
        "docs_url": service.docs_url,
    }


def _field(field: ConnectField) -> Document:
    return {
        "name": field.name,
        "label": str(field.label),
        "help_text": str(field.help_text),
        "secret": field.kind == "secret",
        "choices": list(field.choices),
    }


def _scopes(lines: Iterable[ScopeLine]) -> list[Document]:
    return [{"scope": line.scope, "text": line.words} for line in lines]


def revocation(line: RevocationLine, *, by_hand: bool = False) -> Document:
    """What became of a grant. ``by_hand``: the person is to withdraw it at ``manage_url``."""
    return {
        "id": line.pk,
        "service": line.service,
        "label": line.label,
        "outcome": line.outcome,
        "text": line.words,
        "by_hand": by_hand or line.by_hand,
        "manage_url": line.manage_url,
    }


def event(line: Line) -> Document:
    """What happened to an account."""
    told = asdict(line)
    del told["code"]  # for staff
    told["text"] = told.pop("words")
    return told | {"at": moment(line.at)}


def moment(value: datetime | None) -> str | None:
    """RFC 3339, also where the site keeps local time (``USE_TZ = False``)."""
    if value is None:
        return None
    return (timezone.make_aware(value) if timezone.is_naive(value) else value).isoformat()
