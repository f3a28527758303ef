"""Working off the accounts that are due, many at a time. The database is the queue.

One thread talks to the database; the pool's threads only to the network. Answers are stored as
they arrive: what has come while the last ones were stored goes into one transaction, and nothing
waits for more.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, Final

from django.db import Error, OperationalError, connection, transaction
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderError,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import pauses
from connected_accounts.services.attempts import Attempt, Outcome, ask, claim, prepare
from connected_accounts.services.locks import is_lock_timeout, short_lock_waits
from connected_accounts.services.pacing import reserve
from connected_accounts.services.settling import settle, settle_together

logger = logging.getLogger("connected_accounts")

LOCK_WAIT: Final = 1  # second
MAX_WAIT: Final = 0.1  # seconds between looks for more work
MAX_TOGETHER: Final = 50  # answers stored in one transaction
MAX_SECONDS: Final = 50.0  # a drain ends before the next beat starts one


@dataclass
class Drained:
    """What one drain did."""

    refreshed: int = 0
    failed: int = 0


def is_due(alias: str, now: datetime) -> bool:
    """Whether a drain of this provider would find work."""
    due = ConnectedAccount.objects.at(alias).due_for_refresh(now)
    # In order, for an EXISTS has none: where much is due, PostgreSQL then reads the table from its
    # beginning and not the index, however far away the first row that is due may be.
    if not due.values_list("pk", flat=True)[:1]:
        return False
    state = pauses.provider_state(alias)
    if not pauses.belongs_here(state):
        logger.warning(
            "not refreshed: provider=%s is another site's; see manage.py confirm_site", alias
        )
        return False
    return not pauses.is_paused(state, now)


def drain(
    alias: str,
    *,
    now: datetime | None = None,
    seconds: float = MAX_SECONDS,
    stop: Callable[[], bool] = bool,  # False
) -> Drained:
    """Refresh what is due at one provider until nothing is, ``seconds`` are up, or ``stop`` says
    so: then what is in flight is finished, and nothing more is taken.

    ``now`` stands still during a drain: an account that fails is not due again within it. Raises
    ConfigurationError for an alias that settings do not have.
    """
    now = now or timezone.now()
    provider = get_provider(alias)
    drained = Drained()
    if not is_due(alias, now):
        return drained
    try:
        if not provider.connect_fields:  # else each account has its own
            provider.endpoints()  # what has to be discovered is, before any lease runs
    except ProviderError as error:
        logger.warning("cannot refresh: provider=%s code=%s", alias, error.code)
        return drained
    # A provider that refused us is probed with one account before it gets the rest.
    probing = bool(pauses.provider_state(alias).pause_reason)
    width = 1 if probing else int(conf.get("REFRESH_CONCURRENCY"))
    with short_lock_waits(LOCK_WAIT):
        accepted = _work_off(provider, drained, now, seconds, width, probing, stop)
    if probing and accepted:
        pauses.resume(alias)
    return drained


def _work_off(
    provider: Provider,
    drained: Drained,
    now: datetime,
    seconds: float,
    width: int,
    probing: bool,
    stop: Callable[[], bool],
) -> bool:
    """The loop of a drain. Returns whether the provider took the site for what it is."""
    ends, accepted, more = time.monotonic() + seconds, False, True
    in_flight: dict[Future[Outcome], Attempt] = {}
    arrived: SimpleQueue[Future[Outcome]] = SimpleQueue()
    locked: list[tuple[Attempt, Outcome]] = []  # settled last, so that the others need not wait
    with ThreadPoolExecutor(width, "connected-accounts-drain") as pool:
        while more or in_flight or locked:
            more = more and time.monotonic() < ends and not stop()
            if more and len(in_flight) <= width:
                wanted = 1 if probing else 2 * width - len(in_flight)
                attempts = _claim_due(provider, wanted, now)
                more = not probing and attempts != []
                for attempt in attempts or ():
                    future = _start(attempt, pool, drained, locked)
                    if future is not None:
                        in_flight[future] = attempt
                        future.add_done_callback(arrived.put)
            answers = [(in_flight.pop(f), f.result()) for f in _ready(arrived, bool(in_flight))]
            if not answers:
                answers, locked = locked, []
            left = settle_together(answers)
            drained.refreshed += len(answers) - len(left)
            accepted = accepted or len(left) < len(answers)
            for attempt, outcome in left:
                error = _finish(attempt, outcome, drained, locked)
                more = more and not isinstance(error, ClientRejected)
                accepted = accepted or error is None or isinstance(error, ReauthorizationRequired)
            if (more or locked) and not in_flight:
                time.sleep(MAX_WAIT)  # every place of this second is taken, or a row is locked
    return accepted


def _claim_due(provider: Provider, wanted: int, now: datetime) -> list[Attempt] | None:
    """Claim as many accounts as there are places to send from, and give each its place. None: every
    place of this second is taken."""
    due = ConnectedAccount.objects.at(provider.alias).due_for_refresh(now)
    try:
        places = reserve(provider, wanted)
        if not places:
            return None
        if connection.features.has_select_for_update_skip_locked:
            # Another drain's rows, and those that the site has locked, are passed over.
            with transaction.atomic():
                attempts = _claim(due.select_for_update(skip_locked=True), provider, places, now)
        else:
            attempts = _claim(due, provider, places, now)
    except Error as error:
        _forgive(error)  # what is in flight is finished; beat starts the next drain
        return []
    for attempt, place in zip(attempts, places, strict=False):
        attempt.not_before = time.monotonic() + place
    return attempts


def _claim(due: Any, provider: Provider, places: list[float], now: datetime) -> list[Attempt]:
    # The ids first: MariaDB takes no LIMIT in a subquery.
    pks = list(due.values_list("pk", flat=True)[: len(places)])
    return claim(pks, provider, now=now) if pks else []


def _start(
    attempt: Attempt,
    pool: ThreadPoolExecutor,
    drained: Drained,
    locked: list[tuple[Attempt, Outcome]],
) -> Future[Outcome] | None:
    blocked = prepare(attempt)
    if blocked is None:
        return pool.submit(ask, attempt)
    _finish(attempt, blocked, drained, locked)
    return None


def _ready(arrived: SimpleQueue[Future[Outcome]], wait: bool) -> list[Future[Outcome]]:
    """The answers that are there, after waiting a moment for the first."""
    found: list[Future[Outcome]] = []
    with suppress(Empty):
        found.append(arrived.get(timeout=MAX_WAIT if wait else 0))
        while len(found) < MAX_TOGETHER:
            found.append(arrived.get_nowait())
    return found


def _finish(
    attempt: Attempt,
    outcome: Outcome,
    drained: Drained,
    locked: list[tuple[Attempt, Outcome]],
) -> ConnectedAccountsError | None:
    """Settle one attempt, or put it aside while its row is locked; return its error, if any."""
    error: ConnectedAccountsError | None
    try:
        error = settle(attempt, outcome)
    except Exception as failure:  # the other answers must still be stored
        _forgive(failure)
        in_time = time.monotonic() < attempt.lease_ends
        if isinstance(failure, OperationalError) and is_lock_timeout(failure) and in_time:
            locked.append((attempt, outcome))
            return None
        error = UnexpectedResponse("not_settled")  # its lease runs out
    drained.refreshed += error is None
    drained.failed += error is not None
    return error


def _forgive(error: Exception) -> None:
    logger.error("drain: %s", type(error).__name__)
    connection.close_if_unusable_or_obsolete()
