"""A provider that does not answer anybody, or refuses one account after another: all workers leave
it alone, and then probe it with one request at a time, less and less often, until it answers.

Its accounts stay as they are. ``ProviderState`` is what the workers share.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import F, Q, QuerySet

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderError,
    ProviderUnavailable,
)
from connected_accounts.models import Event, Kind, ProviderState
from connected_accounts.owners import SITE_OWNER
from connected_accounts.provider_state.pauses import (
    BY_HAND,
    OUTAGE,
    REFUSING,
    REJECTED_PAUSE,
    get_or_create_state,
    is_paused,
    state_of,
)
from connected_accounts.provider_state.rate_limit import is_throttled
from connected_accounts.tokens.lifetimes import backoff

logger = logging.getLogger("connected_accounts")

# First failures in a row, of different accounts and without a success between them, that are taken
# for an outage of the provider and not for the accounts' own trouble.
BURST: Final = 10
GROWING: Final = (OUTAGE, REFUSING)  # the pauses that grow, and that any answer ends


def refusal(reason: str) -> ProviderError:
    """The error for a caller who would have to wait for the end of a pause."""
    if reason in (*GROWING, BY_HAND):
        return ProviderUnavailable("paused", sent=False)
    return ClientRejected(reason, sent=False)


@dataclass
class Turn:
    """Leave to send a request. Whoever has it says in ``sent`` whether one went out."""

    sent: bool = False


@contextmanager
def single_turn(
    alias: str, now: datetime, *, failed_before: bool, host: str = ""
) -> Iterator[Turn]:
    """The turn of one request that somebody waits for; after a pause its request is the probe.

    Raises ProviderUnavailable (``paused``) during a pause, where another has the probe, and for an
    account that ``failed_before``, while another one may be the better probe.
    """
    state = state_of(alias, host) or ProviderState(provider=alias, host=host)
    closed = is_paused(state, now) or (not state.pause_reason and is_throttled(state, now))
    if closed or (failed_before and _wants_another(state, now)):
        raise ProviderUnavailable("paused", sent=False)
    with turn(state, now) as mine:
        if mine is None:
            raise ProviderUnavailable("paused", sent=False)
        yield mine


@contextmanager
def turn(state: ProviderState, now: datetime) -> Iterator[Turn | None]:
    """The turn to send, where no pause is on: after one, for a single probe, and None for everybody
    but the one who wins it. A probe that was not sent is given back, however this ends."""
    if state.pause_reason and not take_probe(state, now):
        yield None
        return
    mine = Turn()
    try:
        yield mine
    finally:
        if state.pause_reason and not mine.sent:
            _give_back_probe(state)


@dataclass
class Probe:
    """The probe of a host whose pause is over. ``turn`` is None where it is another worker's."""

    state: ProviderState
    turn: Turn | None

    def note_sent(self, sent: bool) -> None:
        if self.turn is not None:
            self.turn.sent = sent


@contextmanager
def probes(alias: str, now: datetime) -> Iterator[dict[str, Probe]]:
    """The probes of all hosts of an alias whose pause is over, by host, each as in ``turn``."""
    over = ProviderState.objects.filter(provider=alias).exclude(pause_reason="")
    with ExitStack() as stack:
        yield {
            state.host: Probe(state, stack.enter_context(turn(state, now)))
            for state in over
            if not is_paused(state, now)
        }


def closed_hosts(alias: str, now: datetime) -> set[str]:
    """The hosts of an alias that are paused, or throttle; with one host that is the empty key."""
    rows = ProviderState.objects.filter(provider=alias)
    rows = rows.filter(Q(paused_until__gt=now) | Q(next_request_at__gt=now))
    return {row.host for row in rows if is_paused(row, now) or is_throttled(row, now)}


def _wants_another(state: ProviderState, now: datetime) -> bool:
    """Whether the probe after a refusal is to be one that was not refused itself: until nobody
    else has come in all of another pause."""
    if state.pause_reason in ("", OUTAGE) or state.paused_until is None:
        return False
    return now < state.paused_until + REJECTED_PAUSE


def fit_to_probe(due: Any, state: ProviderState, now: datetime) -> Any:
    """Those of the accounts that are due that may be the probe."""
    others = due.filter(failure_count=0)
    if state.pause_reason == OUTAGE or not (_wants_another(state, now) or others.exists()):
        return due
    return others


def take_probe(state: ProviderState, now: datetime) -> bool:
    """Win the one probe that a pause which is over allows.

    The next pause is written before the probe is sent: should it fail, or its process die, nobody
    asks again before that is over. After an outage the pauses grow, from a minute to
    ``REJECTED_PAUSE``.
    """
    steps = state.failures_in_a_row - BURST + 2
    wait = (
        min(backoff(steps, None), REJECTED_PAUSE)
        if state.pause_reason in GROWING
        else REJECTED_PAUSE
    )
    unchanged = ProviderState.objects.filter(
        pk=state.pk, pause_reason=state.pause_reason, paused_until=state.paused_until
    )
    won = unchanged.update(paused_until=now + wait, failures_in_a_row=F("failures_in_a_row") + 1)
    return bool(won)


def _give_back_probe(state: ProviderState) -> None:
    """Nothing was sent after all: the next one may probe at once. ``state`` as it was before."""
    taken = state.failures_in_a_row + 1
    ProviderState.objects.filter(
        pk=state.pk, pause_reason=state.pause_reason, failures_in_a_row=taken
    ).update(paused_until=state.paused_until, failures_in_a_row=state.failures_in_a_row)


def note_failure(
    alias: str, *, now: datetime, retry_after: float | None, reason: str = OUTAGE, host: str = ""
) -> bool:
    """Count an account's first failure; a burst of them pauses the provider, for ``reason``.
    Returns whether it is paused now.

    During a pause failures are not counted; a Retry-After still prolongs it.
    """
    get_or_create_state(alias, host)
    rows = ProviderState.objects.filter(provider=alias, host=host)
    calm = rows.filter(pause_reason="")
    if calm.update(failures_in_a_row=F("failures_in_a_row") + 1):
        burst = calm.filter(failures_in_a_row__gte=BURST)
        return _begin_outage(burst, alias, host, now=now, retry_after=retry_after, reason=reason)
    if retry_after is not None:
        ends = now + backoff(1, retry_after)
        rows.filter(pause_reason__in=GROWING, paused_until__lt=ends).update(paused_until=ends)
    return True


def suspend(alias: str, *, now: datetime, retry_after: float | None = None, host: str = "") -> None:
    """Pause a provider that is known to be down before any account was tried."""
    calm = ProviderState.objects.filter(provider=alias, host=host, pause_reason="")
    _begin_outage(calm, alias, host, now=now, retry_after=retry_after)


def _begin_outage(
    rows: QuerySet[ProviderState],
    alias: str,
    host: str,
    *,
    now: datetime,
    retry_after: float | None,
    reason: str = OUTAGE,
) -> bool:
    """Pause, if the row is still among ``rows``: of many callers one does."""
    ends = now + backoff(1, retry_after)
    if not rows.update(paused_until=ends, pause_reason=reason, failures_in_a_row=BURST):
        return False
    Event.record(Kind.REFRESH_FAILED, at=now, detail=reason, provider=alias, owner=SITE_OWNER)
    logger.warning("provider paused: provider=%s host=%s code=%s", alias, host, reason)
    return True


def answered(alias: str, *, host: str = "") -> None:
    """Note that the provider gives answers: no failures in a row, and the end of an outage."""
    rows = ProviderState.objects.filter(provider=alias, host=host, pause_reason__in=("", *GROWING))
    if rows.exclude(failures_in_a_row=0).update(
        failures_in_a_row=0, paused_until=None, pause_reason=""
    ):
        logger.info("provider answers: provider=%s host=%s", alias, host)
