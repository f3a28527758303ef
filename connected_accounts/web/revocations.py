"""What became of the permissions that a person ended, as the pages say it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _

from connected_accounts.models import Outcome, Revocation
from connected_accounts.owners import owner_key
from connected_accounts.web.cards import services_by_alias

RECENT: Final = timedelta(days=7)


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
    services = services_by_alias()
    return [_line(row, services) for row in rows.defer("token").order_by("-created_at")[:20]]


def revocation_line(row: Revocation) -> RevocationLine:
    """What became of one grant. No query."""
    return _line(row, services_by_alias())


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
        "The permission could not be withdrawn. Please remove it in your settings at the service."
    )
    if row.next_attempt_at is None:
        return words
    return words + " " + _("It is still tried once a day.")
