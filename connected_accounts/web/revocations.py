"""The revocations of a person's disconnected accounts, as the pages say it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _

from connected_accounts.models import Outcome, Revocation
from connected_accounts.models.history import Cause
from connected_accounts.owners import owner_key
from connected_accounts.providers.base import Provider
from connected_accounts.web.cards import providers_by_alias

RECENT: Final = timedelta(days=7)


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
    less than a week ago. One query."""
    return revocations_of([owner_key(user)], now)


def revocations_of(owners: Iterable[str], now: datetime) -> list[RevocationLine]:
    """The same for owners that are named by their keys."""
    stands = Q(outcome__in=(Outcome.PENDING, Outcome.GIVEN_UP))
    shown = Q(cause=Cause.DISCONNECTED) & (stands | Q(finished_at__gt=now - RECENT))
    # An older grant of the same account is told of where the words for the newest do not hold.
    shown |= Q(cause=Cause.REPLACED) & stands & Q(attempts__gt=0)
    rows = Revocation.objects.filter(shown, owner_key__in=list(owners))
    providers = providers_by_alias()
    return [
        _line(revocation, providers)
        for revocation in rows.defer("token").order_by("-created_at")[:20]
    ]


def revocation_line(revocation: Revocation) -> RevocationLine:
    """The line of one revocation. No query."""
    return _line(revocation, providers_by_alias())


def _line(revocation: Revocation, providers: Any) -> RevocationLine:
    provider = providers(revocation.provider)
    outcome = _known_outcome(revocation, provider)
    return RevocationLine(
        pk=revocation.pk,
        service=provider.name if provider else revocation.provider,
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
