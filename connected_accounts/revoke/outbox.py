"""Working off the outbox: many grants at a time are withdrawn at their providers. How often one is
tried, and for how long, is decided in ``attempts``."""

import logging
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from itertools import zip_longest
from operator import itemgetter
from typing import Final

from django.db import Error, router
from django.utils import timezone

from connected_accounts.database.locks import statements_retried
from connected_accounts.database.transactions import close_unusable_connection
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import Revocation
from connected_accounts.models.history import RevocationQuerySet
from connected_accounts.provider_state.rate_limit import reserve_slots
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke import attempts
from connected_accounts.secret import clears_traceback_locals

logger = logging.getLogger("connected_accounts")

BATCH: Final = 500
CALLS: Final = 32  # in flight in one round
CALLS_PER_PROVIDER: Final = 4
POLL: Final = 0.1  # seconds

Lane = tuple[str, str]


@statements_retried()
@clears_traceback_locals
def revoke_pending(*, now: datetime | None = None, seconds: float = 50) -> int:
    """Work off what is due in the outbox for at most ``seconds``; return how many were tried.

    Each provider has a few calls in flight of its own, so that none waits for another. One at which
    several in a row find no answer, or the site refused, is left alone until the next round; what
    never was tried goes beside what failed, and each owner has a turn.
    """
    now = now or timezone.now()
    work = _Round(now, time.monotonic() + seconds)
    work.run()
    attempts.give_up_overdue(now, BATCH)
    return work.tried


class _Round:
    """One round under way. ``lanes`` are the providers, each with its host, that have more to be
    tried, each with what was read of it and not claimed yet."""

    def __init__(self, now: datetime, ends: float) -> None:
        self.now, self.ends = now, ends
        lanes = _outbox().due(now).order_by().values_list("provider", "host").distinct()
        self.lanes: dict[Lane, list[Revocation]] = {lane: [] for lane in lanes}
        self.in_flight: dict[Future[attempts.RevocationResult], Revocation] = {}
        self.troubles: Counter[Lane] = Counter()  # since the last answer, in this round
        self.tried = 0

    def run(self) -> None:
        with ThreadPoolExecutor(CALLS, "connected-accounts-revoke") as pool:
            while self.lanes or self.in_flight:
                tried = self.tried
                for lane in list(self.lanes):
                    if time.monotonic() >= self.ends:
                        self.lanes.clear()
                        break
                    self.try_next(lane, pool)
                if self.lanes and not self.in_flight and self.tried == tried:
                    time.sleep(POLL)  # no provider has a slot free at the moment
                self.settle_what_arrived()

    def try_next(self, lane: Lane, pool: ThreadPoolExecutor) -> None:
        """Start one more call to a provider, if it may have one now."""
        busy = sum(_lane_of(revocation) == lane for revocation in self.in_flight.values())
        # None is claimed to wait for a thread: its claim could run out meanwhile.
        free = len(self.in_flight) < CALLS and busy + self.troubles[lane] < CALLS_PER_PROVIDER
        delay = _delay_of_slot(*lane) if free else None
        if delay is None:
            return
        revocation = self.next_claimed(lane)
        if revocation is None:
            del self.lanes[lane]
            return
        self.tried += 1
        planned = attempts.plan(revocation, delay)
        if isinstance(planned, attempts.RevocationResult):
            self.settle(revocation, planned)
        else:
            self.lanes[lane] = self.lanes.pop(lane)  # behind those that wait for a thread
            self.start(revocation, planned, pool)

    def start(
        self, revocation: Revocation, call: attempts.RevocationCall, pool: ThreadPoolExecutor
    ) -> None:
        """Make a call in a thread. Where none can be started, the round ends with what is in
        flight, and this one is tried again after its claim."""
        try:
            self.in_flight[pool.submit(attempts.ask, call)] = revocation
        except RuntimeError as error:
            logger.error("revocations: no thread: %s", type(error).__name__)
            self.ends = 0.0

    def next_claimed(self, lane: Lane) -> Revocation | None:
        """The provider's next revocation, ours for a while; None when no more of it is due."""
        while True:
            if not self.lanes[lane]:
                due = _outbox().due(self.now).filter(provider=lane[0], host=lane[1])
                self.lanes[lane] = _in_turn(due)
            if not self.lanes[lane]:
                return None
            revocation = self.lanes[lane].pop(0)
            if attempts.claim(revocation, self.now):
                return revocation

    def settle_what_arrived(self) -> None:
        done, _ = wait(self.in_flight, timeout=POLL, return_when=FIRST_COMPLETED)
        for future in done:
            revocation, result = self.in_flight.pop(future), future.result()
            self.settle(revocation, result)
            lane = _lane_of(revocation)
            self.troubles[lane] = self.troubles[lane] + 1 if result.troubled else 0
            if self.troubles[lane] >= CALLS_PER_PROVIDER:
                self.lanes.pop(lane, None)

    def settle(self, revocation: Revocation, result: attempts.RevocationResult) -> None:
        """Write down what came of an attempt. Where that fails, it is tried again after its claim,
        and the others are worked off."""
        try:
            attempts.settle(revocation, result, self.now)
        except Error as error:
            code = type(error).__name__
            logger.error("revocation not settled: revocation=%s: %s", revocation.pk, code)
            close_unusable_connection()


def _outbox() -> RevocationQuerySet:
    """From the database that is written to: a replica may still hold what was worked off."""
    return Revocation.objects.using(router.db_for_write(Revocation))


def _in_turn(due: RevocationQuerySet) -> list[Revocation]:
    """Rows to be tried, so that none that fails holds up another person's: by turns one that never
    was and one that failed, and of each kind the first of every owner before any second."""
    found = []
    for rows in (due.filter(attempts=0), due.filter(attempts__gt=0)):
        before: Counter[str] = Counter()
        placed = []
        read = [*rows.order_by("next_attempt_at")[:BATCH]]
        if len(read) == BATCH:  # one person's may be them all
            rest = rows.exclude(pk__in=[row.pk for row in read])
            read += rest.order_by("-next_attempt_at")[:BATCH]
        for row in read:
            placed.append((before[row.owner_key], row))
            before[row.owner_key] += 1
        found.append([row for _, row in sorted(placed, key=itemgetter(0))])
    new, failed = found
    return [row for pair in zip_longest(new, failed) for row in pair if row is not None]


def _lane_of(revocation: Revocation) -> Lane:
    return revocation.provider, revocation.host


def _delay_of_slot(alias: str, host: str) -> float | None:
    """In how many seconds a call may be sent under the provider's rate limit; None: not yet."""
    try:
        slots = reserve_slots(get_provider(alias), 1, host=host)
    except ConfigurationError:
        return 0.0  # nothing will be sent
    return slots[0] if slots else None
