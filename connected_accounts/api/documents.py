"""The documents of the JSON API: plain values, from the cards and lines that the pages show."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone

from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import Owner
from connected_accounts.providers.inputs import ConnectField
from connected_accounts.web.cards import Card, Offer, ScopeLine, cards_of, scope_lines
from connected_accounts.web.revocations import RevocationLine
from connected_accounts.web.timeline import Line
from connected_accounts.web.way import Way

Document = dict[str, Any]


def accounts(
    accounts: Iterable[ConnectedAccount], owners: Mapping[str, Owner], now: datetime
) -> list[Document]:
    """One document for each account; ``owners`` are those of the user who asks."""
    accounts = list(accounts)
    pairs = zip(accounts, cards_of(accounts, now), strict=True)
    return [_account(account, card, owners[account.owner_key]) for account, card in pairs]


def _account(account: ConnectedAccount, card: Card, owner: Owner) -> Document:
    return {
        "id": account.pk,
        "provider": account.provider,
        "service": card.service,
        "label": card.label,
        "owner": _named(owner),
        "state": card.state,
        "state_text": card.state_words,
        "note": card.note,
        "scopes": _scopes(card.scopes),
        "scopes_missing": [line.scope for line in card.missing],
        "connected_at": moment(account.connected_at),
        "refreshed_at": moment(account.refreshed_at),
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
    provider = offer.provider
    return {
        "alias": provider.alias,
        "name": provider.name,
        "grant_type": provider.grant_type,
        "connected": offer.connected,
        "scopes": _scopes(scope_lines(provider, provider.scopes)),
        "optional_scopes": _scopes(scope_lines(provider, provider.config.optional_scopes)),
        "fields": [_field(field) for field in provider.asked_fields()],
        "docs_url": provider.docs_url,
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


def way(found: Way) -> Document:
    """Where a server leads that a person named."""
    return {
        "server": found.server,
        "guard": found.guard,
        "issuer": found.issuer,
        "scopes": _scopes(found.scopes),
        "needs_client": found.needs_client,
    }


def revocation(line: RevocationLine, *, by_hand: bool = False) -> Document:
    """The fate of a grant. ``by_hand``: the person is to withdraw it at ``manage_url``."""
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
    """One event of an account."""
    return {
        "at": moment(line.at),
        "kind": line.kind,
        "mood": line.mood,
        "text": line.words,
        "scopes": line.scopes,
    }


def moment(value: datetime | None) -> str | None:
    """RFC 3339, also where the site keeps local time (``USE_TZ = False``)."""
    if value is None:
        return None
    return (timezone.make_aware(value) if timezone.is_naive(value) else value).isoformat()
