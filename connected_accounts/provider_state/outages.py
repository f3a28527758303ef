"""A provider that does not answer anybody: all workers leave it alone, and then probe it with one
request at a time, less and less often, until it answers.

Its accounts stay as they are. ``ProviderState`` is what the workers share.
"""

import logging
from datetime import datetime
from typing import Final

from django.db.models import F, QuerySet

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderError,
    ProviderUnavailable,
)
from connected_accounts.models import Event, Kind, ProviderState
from connected_accounts.owners import SITE_OWNER
from connected_accounts.provider_state.pauses import OUTAGE, REJECTED_PAUSE, is_paused
from connected_accounts.tokens.lifetimes import backoff

logger = logging.getLogger("connected_accounts")

# First failures in a row, of different accounts and without a success between them, that are taken
# for an outage of the provider and not for the accounts' own trouble.
BURST: Final = 10


def refusal(reason: str) -> ProviderError:
    """The error for a caller who would have to wait for the end of a pause."""
    if reason == OUTAGE:
        return ProviderUnavailable("paused", sent=False)
    return ClientRejected(reason, sent=False)


def may_ask(alias: str, now: datetime) -> bool:
    """Whether a request may go out at ``now``. After a pause it may for one caller, whose request
    is the probe."""
    state = ProviderState.objects.filter(provider=alias).first()
    if state is None or not state.pause_reason:
        return True
    return not is_paused(state, now) and take_probe(state, now)


def take_probe(state: ProviderState, now: datetime) -> bool:
    """Win the one probe that a pause which is over allows.

    The next pause is written before the probe is sent: should it fail, or its process die, nobody
    asks again before that is over. After an outage the pauses grow, from a minute to
    ``REJECTED_PAUSE``.
    """
    steps = state.failures_in_a_row - BURST + 2
    wait = (
        min(backoff(steps, None), REJECTED_PAUSE)
        if state.pause_reason == OUTAGE
        else REJECTED_PAUSE
    )
    unchanged = ProviderState.objects.filter(
        pk=state.pk, pause_reason=state.pause_reason, paused_until=state.paused_until
    )
    won = unchanged.update(paused_until=now + wait, failures_in_a_row=F("failures_in_a_row") + 1)
    return bool(won)


def give_back_probe(state: ProviderState) -> None:
    """Nothing was sent after all: the next one may probe at once. ``state`` as it was before."""
    ProviderState.objects.filter(pk=state.pk, pause_reason=state.pause_reason).update(
        paused_until=state.paused_until, failures_in_a_row=state.failures_in_a_row
    )


def note_failure(alias: str, *, now: datetime, retry_after: float | None) -> bool:
    """Count an account's first failure; a burst of them pauses the provider. Returns whether it is
    paused now.

    During a pause failures are not counted; a Retry-After still prolongs it.
    """
    rows = ProviderState.objects.filter(provider=alias)
    calm = rows.filter(pause_reason="")
    if calm.update(failures_in_a_row=F("failures_in_a_row") + 1):
        burst = calm.filter(failures_in_a_row__gte=BURST)
        return _begin_outage(burst, alias, now=now, retry_after=retry_after)
    if retry_after is not None:
        ends = now + backoff(1, retry_after)
        rows.filter(pause_reason=OUTAGE, paused_until__lt=ends).update(paused_until=ends)
    return True


def suspend(alias: str, *, now: datetime, retry_after: float | None = None) -> None:
    """Pause a provider that is known to be down before any account was tried."""
    calm = ProviderState.objects.filter(provider=alias, pause_reason="")
    _begin_outage(calm, alias, now=now, retry_after=retry_after)


def _begin_outage(
    rows: QuerySet[ProviderState], alias: str, *, now: datetime, retry_after: float | None
) -> bool:
    """Pause, if the row is still among ``rows``: of many callers one does."""
    ends = now + backoff(1, retry_after)
    if not rows.update(paused_until=ends, pause_reason=OUTAGE, failures_in_a_row=BURST):
        return False
    Event.record(Kind.REFRESH_FAILED, at=now, detail=OUTAGE, provider=alias, owner=SITE_OWNER)
    logger.warning("provider paused: provider=%s code=%s", alias, OUTAGE)
    return True


def answered(alias: str) -> None:
    """Note that the provider gives answers: no failures in a row, and the end of an outage."""
    rows = ProviderState.objects.filter(provider=alias, pause_reason__in=("", OUTAGE))
    if rows.exclude(failures_in_a_row=0).update(
        failures_in_a_row=0, paused_until=None, pause_reason=""
    ):
        logger.info("provider answers: provider=%s", alias)
