"""What the pages show of an account: plain values, never the row itself."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.history import Outcome, Revocation
from connected_accounts.marks import Mark, mark_of
from connected_accounts.models import ConnectedAccount, Reason, owner_key
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import pauses

RECENT: Final = timedelta(days=7)
_NOT_ANSWERING: Final = gettext_lazy(
    "The service is not answering at the moment. There is nothing for you to do; it is tried again."
)


@dataclass(frozen=True)
class ScopeLine:
    """One permission: the provider's own name for it, and what it lets the site do."""

    scope: str
    words: str


@dataclass(frozen=True)
class Card:
    """One connected account, as its owner sees it. ``state`` is ``connected``, ``needs_you`` or
    ``not_answering``; ``state_words`` says the same to a person. ``note``: that the service
    answers nobody at the moment, which is no fault of the connection."""

    pk: int
    provider: str
    service: str
    mark: Mark
    label: str
    state: str
    state_words: str
    scopes: list[ScopeLine]
    connected_at: datetime
    refreshed_at: datetime | None
    can_reconnect: bool
    manage_url: str
    note: str = ""


@dataclass(frozen=True)
class Offer:
    """A service that can be connected; ``connected``: the person has an account there already."""

    provider: Provider
    mark: Mark
    connected: bool


@dataclass(frozen=True)
class RevocationLine:
    """What became of a grant after disconnecting."""

    pk: int
    service: str
    label: str
    outcome: str
    words: str
    by_hand: bool
    manage_url: str


def account_cards(user: Any, now: datetime) -> list[Card]:
    """The cards of a user's accounts: those that need the person first, then by provider, oldest
    first. Two queries."""
    rows = ConnectedAccount.objects.for_user(user).order_by("provider", "connected_at")
    return sorted(cards_of(rows, now), key=lambda card: card.state != "needs_you")


def cards_of(rows: Iterable[ConnectedAccount], now: datetime) -> list[Card]:
    """The card of each row, in their order. One query besides."""
    services, away = _services(), pauses.away()
    return [_card(row, services(row.provider), now, away) for row in rows]


def offers(providers: Iterable[Provider], known: Collection[str]) -> list[Offer]:
    """The services that can be connected; ``known`` are the aliases that the person has. No
    query."""
    return [Offer(p, mark_of(p.alias, p.name), p.alias in known) for p in providers]


def account_card(row: ConnectedAccount, now: datetime) -> Card:
    """The card of one account. No query."""
    return _card(row, _services()(row.provider), now)


def _services() -> Any:
    """A look-up of providers by alias that asks settings once for each."""
    known: dict[str, Provider | None] = {}

    def look_up(alias: str) -> Provider | None:
        if alias not in known:
            try:
                known[alias] = get_provider(alias)
            except ConfigurationError:
                known[alias] = None  # taken out of settings: shown, and can be disconnected
        return known[alias]

    return look_up


def _card(
    row: ConnectedAccount, service: Provider | None, now: datetime, away: Collection[str] = ()
) -> Card:
    state, words = _state(row, now)
    note = ""
    if row.provider in away and state != "needs_you":
        state, words, note = "connected", _("Connected"), str(_NOT_ANSWERING)
    return Card(
        pk=row.pk,
        provider=row.provider,
        service=service.name if service else row.provider,
        mark=mark_of(row.provider, service.name if service else row.provider),
        label=row.label or row.subject,
        state=state,
        state_words=words,
        scopes=scope_lines(service, row.scopes_granted),
        connected_at=row.connected_at,
        refreshed_at=row.refreshed_at,
        can_reconnect=service is not None,
        manage_url=service.manage_url_for(row.inputs) if service else "",
        note=note,
    )


def is_revocable(row: ConnectedAccount) -> bool:
    """Whether the grant can be withdrawn from here, as far as settings tell: what a server says of
    itself is not asked for."""
    try:
        service = get_provider(row.provider)
        described = bool(service.issuer) or "host" in service.connect_fields
        return described or bool(service.known_endpoints().revocation_endpoint)
    except ConfigurationError:
        return False


def _state(row: ConnectedAccount, now: datetime) -> tuple[str, str]:
    if row.needs_reconnect:
        why = Reason(row.reason).label if row.reason in Reason else _("the permission has ended")
        return "needs_you", _("Needs you: %(why)s. Please connect it again.") % {"why": why}
    expired = row.expires_at is not None and row.expires_at <= now
    if expired and row.refresh_at is None:
        return "needs_you", _("Needs you: the permission has run out. Please connect it again.")
    if row.failure_count:
        return "not_answering", str(_NOT_ANSWERING)
    return "connected", _("Connected")


def scope_lines(service: Provider | None, scopes: Any) -> list[ScopeLine]:
    """Permissions in plain words; one that the provider's class does not know stands as it is."""
    described = service.scope_descriptions if service else {}
    return [ScopeLine(scope, str(described.get(scope, ""))) for scope in scopes]


def open_revocations(user: Any, now: datetime) -> list[RevocationLine]:
    """The user's disconnections that are not over or could not be carried out, and those that ended
    less than a week ago. One query."""
    return revocations_of([owner_key(user)], now)


def revocations_of(owners: Iterable[str], now: datetime) -> list[RevocationLine]:
    """The same for owners that are named by their keys."""
    stands = Q(outcome__in=(Outcome.PENDING, Outcome.GIVEN_UP))
    rows = Revocation.objects.filter(
        stands | Q(finished_at__gt=now - RECENT), owner_key__in=list(owners)
    )
    services = _services()
    return [_line(row, services) for row in rows.defer("token").order_by("-created_at")[:20]]


def revocation_line(row: Revocation) -> RevocationLine:
    """What became of one grant. No query."""
    return _line(row, _services())


def _line(row: Revocation, services: Any) -> RevocationLine:
    service = services(row.provider)
    return RevocationLine(
        pk=row.pk,
        service=service.name if service else row.provider,
        label=row.label or row.subject,
        outcome=row.outcome,
        words=_outcome_words(row),
        by_hand=row.outcome in (Outcome.UNSUPPORTED, Outcome.GIVEN_UP),
        manage_url=service.manage_url_for(row.inputs) if service else "",
    )


def _outcome_words(row: Revocation) -> str:
    if row.outcome == Outcome.PENDING and row.attempts:
        return _(
            "The permission is being withdrawn at the service. That did not go through yet, and is "
            "tried again; there is nothing for you to do."
        )
    return {
        Outcome.PENDING.value: _("The permission is being withdrawn at the service."),
        Outcome.REVOKED.value: _("The permission was withdrawn at the service."),
        Outcome.ALREADY_GONE.value: _("The service had ended the permission already."),
        Outcome.UNSUPPORTED.value: _(
            "The service offers no way to withdraw the permission from here. Please remove it in "
            "your settings at the service."
        ),
        Outcome.GIVEN_UP.value: _given_up_words(row),
    }.get(row.outcome, row.outcome)


def _given_up_words(row: Revocation) -> str:
    words = _(
        "The permission could not be withdrawn (%(reason)s). Please remove it in your settings at "
        "the service."
    ) % {"reason": row.last_error}
    if row.next_attempt_at is None:
        return words
    return words + " " + _("It is still tried once a day.")
