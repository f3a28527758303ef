"""The revocations of a person's disconnected accounts, as the pages say it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import attrgetter, or_
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _

from connected_accounts.database.selects import read_all
from connected_accounts.models import Outcome, Revocation
from connected_accounts.models.history import Cause
from connected_accounts.owners import owner_key
from connected_accounts.providers.base import Provider
from connected_accounts.web.cards import Service, Services

RECENT: Final = timedelta(days=7)
MANY: Final = 20  # lines; a page of more says nothing to a person
_STANDING: Final = (Outcome.PENDING, Outcome.GIVEN_UP)
_READ: Final = (
    *("provider", "subject", "label", "inputs", "created_at", "attempts", "next_attempt_at"),
    *("cause", "outcome", "finished_at"),
)


@dataclass(frozen=True)
class RevocationLine:
    """The fate of a grant after disconnecting."""

    pk: int
    service: str
    label: str
    outcome: str
    words: str
    by_hand: bool
    manage_url: str


def open_revocations(user: Any, now: datetime) -> list[RevocationLine]:
    """The user's disconnections that are not over or could not be carried out, and those that ended
    less than a week ago. One query; two for who has disconnected many."""
    key = owner_key(user)
    rows = read_all(Revocation, {"owner_key": key}, _READ, limit=MANY + 1)
    if len(rows) > MANY:
        return revocations_of([key], now)
    ways = _shown(now)
    shown = [row for row in rows if any(_meets(row, conditions) for conditions in ways)]
    return _lines(sorted(shown, key=attrgetter("created_at"), reverse=True))


def revocations_of(owners: Iterable[str], now: datetime) -> list[RevocationLine]:
    """The same for owners that are named by their keys. One query."""
    shown = reduce(or_, (Q(**conditions) for conditions in _shown(now)))
    rows = Revocation.objects.filter(shown, owner_key__in=list(owners))
    return _lines(rows.defer("token").order_by("-created_at")[:MANY])


def _shown(now: datetime) -> tuple[dict[str, Any], ...]:
    """The rows that are told of: those that meet all conditions of one of these."""
    ended, stands = {"cause": Cause.DISCONNECTED}, {"outcome__in": _STANDING}
    return (
        ended | stands,
        ended | {"finished_at__gt": now - RECENT},
        # An older grant of the same account: where the words for the newest do not hold.
        {"cause": Cause.REPLACED, **stands, "attempts__gt": 0},
    )


def _meets(row: Revocation, conditions: Mapping[str, Any]) -> bool:
    """Whether a row that was read meets all of them, as a query would have it."""
    for name, wanted in conditions.items():
        field, _sep, how = name.partition("__")
        value = getattr(row, field)
        if how == "gt":
            met = value is not None and value > wanted
        else:
            met = value in wanted if how == "in" else value == wanted
        if not met:
            return False
    return True


def _lines(rows: Iterable[Revocation]) -> list[RevocationLine]:
    services = Services()
    return [_line(row, services[row.provider]) for row in rows]


def revocation_line(revocation: Revocation) -> RevocationLine:
    """The line of one revocation. No query."""
    return _line(revocation, Service(revocation.provider))


def _line(revocation: Revocation, service: Service) -> RevocationLine:
    provider = service.provider
    outcome = _known_outcome(revocation, provider)
    return RevocationLine(
        pk=revocation.pk,
        service=service.name,
        label=revocation.display_name,
        outcome=outcome,
        words=_outcome_words(revocation, outcome),
        by_hand=outcome in (Outcome.UNCONFIRMED, Outcome.UNSUPPORTED, Outcome.GIVEN_UP),
        manage_url=provider.manage_url_for(revocation.inputs) if provider else "",
    )


def _known_outcome(revocation: Revocation, provider: Provider | None) -> str:
    """The outcome, which is clear before anybody was asked where there is nobody to ask."""
    waits = revocation.outcome == Outcome.PENDING and not revocation.attempts
    if waits and provider is not None and provider.offers_revocation() is False:
        return Outcome.UNSUPPORTED.value
    return revocation.outcome


def _outcome_words(revocation: Revocation, outcome: str) -> str:
    if outcome == Outcome.PENDING and revocation.attempts:
        return _(
            "The permission is being withdrawn at the service. That did not go through yet, and is "
            "tried again; there is nothing for you to do."
        )
    return {
        Outcome.PENDING.value: _("The permission is being withdrawn at the service."),
        Outcome.REVOKED.value: _("The permission was withdrawn at the service."),
        Outcome.ALREADY_GONE.value: _("The service had ended the permission already."),
        Outcome.UNCONFIRMED.value: _(
            "We asked the service to withdraw the permission. It does not tell whether it did: "
            "please look in your settings at the service."
        ),
        Outcome.UNSUPPORTED.value: _(
            "The service offers no way to withdraw the permission from here. Please remove it in "
            "your settings at the service."
        ),
        Outcome.GIVEN_UP.value: _given_up_words(revocation),
    }.get(outcome, outcome)


def _given_up_words(revocation: Revocation) -> str:
    words = _(
        "The permission could not be withdrawn. Please remove it in your settings at the service."
    )
    if revocation.next_attempt_at is None:
        return words
    return words + " " + _("It is still tried once a day.")
