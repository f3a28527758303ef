"""The drain: refreshing the accounts that are due, many at a time. The database is the queue.

One thread talks to the database and calls the provider's hooks; the others only use the network.
Answers are stored as they arrive: those that are there at the same moment in one transaction, none
of which waits for more.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, Final

from django.db import Error, OperationalError, connection, transaction
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.database.compiled import read_values
from connected_accounts.database.connections import short_lock_waits
from connected_accounts.database.locks import is_lock_timeout, retried, statements_retried
from connected_accounts.database.transactions import close_unusable_connection
from connected_accounts.exceptions import (
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.event_loop.exchange import Exchange
from connected_accounts.oauth2.event_loop.promise import Promise
from connected_accounts.oauth2.wire import NO_THREAD
from connected_accounts.provider_state import outages, pauses
from connected_accounts.provider_state.rate_limit import reserve_slots
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.attempts import (
    Attempt,
    Claim,
    Found,
    RefreshResult,
    claim,
    next_try,
    outcome_of,
    prepare,
)
from connected_accounts.refresh.due import beginning_of, is_due, note_beginning
from connected_accounts.refresh.grant_end import end_copies
from connected_accounts.refresh.hosts import Hosts
from connected_accounts.refresh.interruptions import signals_held, to_the_end
from connected_accounts.refresh.network import Network
from connected_accounts.refresh.outcomes import settle, settle_together

logger = logging.getLogger("connected_accounts")

LOCK_WAIT: Final = 1  # second
LOCKED_AGAIN: Final = 1.0  # seconds until what was locked is tried again, while answers come
MAX_WAIT: Final = 0.1  # seconds between looks for more work
MAX_SECONDS: Final = 50.0  # a drain ends before the next beat starts one
AHEAD: Final = 128  # accounts at most that are claimed before there is room to send for them
MAX_TOGETHER: Final = 100  # answers stored in one transaction
SILENCE: Final = 1.0  # seconds that preparing may take before the answers are looked after
GATHERS: Final = 0.01  # seconds in which others may join the first, while more are on their way


@dataclass
class Drained:
    """The figures of one drain."""

    refreshed: int = 0
    failed: int = 0


@statements_retried()
def drain(
    alias: str,
    *,
    now: datetime | None = None,
    seconds: float = MAX_SECONDS,
    stop: Callable[[], bool] = lambda: False,
) -> Drained:
    """Refresh what is due at one provider until nothing is, ``seconds`` are up, or ``stop`` says
    so: then what is in flight is finished, and nothing more is taken.

    ``now`` stands still for what is due: an account that fails is not due again within a drain.
    Raises ConfigurationError for an alias that settings do not have.
    """
    now = now or timezone.now()
    provider = _provider(alias)
    if not is_due(alias, now):
        return Drained()
    state = pauses.get_or_create_state(alias)
    # A host that was paused is probed with one account before it gets the rest.
    with outages.probes(alias, now) as probes:
        hosts = Hosts(provider, probes, now=now)
        if not provider.places and hosts.closed and not hosts.to_probe:
            return Drained()  # the probe is another worker's
        try:
            if not _can_be_found(provider):
                hosts.asked.add("")  # for its metadata
                outages.suspend(alias, now=now)
                return Drained()
            work = _Drain(provider, now, seconds, hosts, beginning_of(state, now))
            with short_lock_waits(LOCK_WAIT):
                work.run(stop)
        finally:
            for host, probe in probes.items():
                probe.note_sent(host in hosts.asked)
    try:
        note_beginning(state, now)
    except Error as error:
        _forgive(error)
    return work.drained


def _provider(alias: str) -> Provider:
    try:
        return get_provider(alias)
    except ConfigurationError:
        raise
    except Exception as error:  # a backend's hook; its message may hold anything
        raise ConfigurationError(type(error).__name__) from None


def _can_be_found(provider: Provider) -> bool:
    """Whether the endpoints can be known. They are discovered here, before any lease runs, unless
    each account has its own."""
    if provider.connect_fields:
        return True
    try:
        provider.endpoints()
    except ProviderError as error:
        logger.warning("cannot refresh: provider=%s code=%s", provider.alias, error.code)
        return error.code == NO_THREAD  # the trouble is our own: an account's attempt says so
    except Exception as error:  # a backend's hook: it may do better with an account's inputs
        logger.error("endpoints: provider=%s %s", provider.alias, type(error).__name__)
    return True


class _Drain:
    """One drain under way: what it holds, and what it has learned of the provider."""

    network: Network  # while it runs

    def __init__(
        self,
        provider: Provider,
        now: datetime,
        seconds: float,
        hosts: Hosts,
        beginning: datetime | None,
    ) -> None:
        self.provider, self.alias, self.now, self.hosts = provider, provider.alias, now, hosts
        self.due = ConnectedAccount.objects.at(self.alias).due_for_refresh(now)
        self.began = time.monotonic()
        self.ends = self.began + seconds
        self.width = int(conf.get("REFRESH_CONCURRENCY"))
        self.drained = Drained()
        # Claimed, and not settled yet. One leaves only when what came of it is stored, so that
        # whatever is raised in here meanwhile loses none.
        self.held: dict[Promise, Attempt] = {}
        self.last_claim = Claim([], now)
        self.arrived: SimpleQueue[Promise] = SimpleQueue()
        self.locked: list[Promise] = []  # settled later: the others need not wait
        self.locked_tried_at = 0.0  # time.monotonic()
        # What was due before it was taken, and lies dead in the index until the next VACUUM.
        self.looked_to = beginning
        self.claiming = True
        self.found: Found = {}

    @property
    def moment(self) -> datetime:
        """``now``, and what has passed since."""
        return self.now + timedelta(seconds=time.monotonic() - self.began)

    @property
    def in_flight(self) -> int:
        return len(self.held) - len(self.locked)

    def run(self, stop: Callable[[], bool]) -> None:
        with Network(self.width) as self.network, signals_held() as told:
            to_the_end(lambda: self.work(lambda: stop() or told()), self.begin_again, faults=1)

    def work(self, stop: Callable[[], bool]) -> None:
        while self.claiming or self.held:
            if stop():
                self.stop_and_release()
            self.claiming = self.claiming and time.monotonic() < self.ends
            if self.claiming and (wanted := self.wanted()):
                self.take(wanted)
            arrived = self.settle_what_arrived()
            if not arrived and (self.claiming or self.locked) and not self.in_flight:
                time.sleep(MAX_WAIT)  # no slot is free in this second, or a row is locked

    def begin_again(self) -> None:
        """Claim no more after something was raised in here, and look at every answer again."""
        self.claiming, self.locked = False, []
        self.give_back_last_claim()
        self.stop_and_release()
        for promise in self.held:
            if promise.done():
                self.arrived.put(promise)

    def wanted(self) -> int:
        """The number of accounts to claim now."""
        # Under a rate limit none waits for a thread: each is sent when its slot comes.
        limited = self.provider.config.max_requests_per_second is not None
        full = self.width if limited else self.width + min(self.width, AHEAD)
        if self.hosts.is_narrow:
            # Their leases run while they wait for their turn; half of them is time for a claim.
            return self.width - self.in_flight if self.in_flight <= self.width // 2 else 0
        # More than may be under way: many answers arrive during one claim.
        return full - self.in_flight if self.in_flight <= full * 3 // 4 else 0

    def take(self, wanted: int) -> None:
        """Claim as many accounts as there are free slots, and start them."""
        try:
            for host in list(self.hosts.to_probe):
                self.take_probe(host)
            self.claiming = False
            if self.hosts.many and self.provider.config.max_requests_per_second is not None:
                self.take_by_host(wanted)
            elif self.hosts.many or not self.hosts.closed:
                self.take_at(None, wanted)
            # More may be due at a host that has its share in flight.
            busy = self.hosts.many and self.in_flight > 0
            self.claiming = self.claiming or busy or bool(self.hosts.to_probe)
        except Error as error:
            _forgive(error)
            self.claiming = False  # what is in flight is finished; beat starts the next drain
            self.give_back_last_claim()

    def take_probe(self, host: str) -> None:
        """Start the one account that a host is probed with; the next, where that cannot be sent."""
        if any(attempt.account.host == host for attempt in self.held.values()):
            return
        if not (slots := reserve_slots(self.provider, 1, host=host)):
            return
        reserved_at = time.monotonic()
        attempts = self.claim(lambda due: self.hosts.choose_probe(host, due, self.now))
        if not attempts or self.start(attempts, slots, reserved_at):
            del self.hosts.to_probe[host]

    def take_by_host(self, wanted: int) -> None:
        """Under a rate limit: as many at each host as it has slots."""
        tried: set[str] = set()
        while wanted > 0:
            rest = self.hosts.open(self.due, self.held.values()).exclude(host__in=tried)
            found = Counter(rest.values_list("host", flat=True)[:wanted])
            if not found:
                return
            for host, count in found.items():
                wanted -= self.take_at(host, count)
                tried.add(host)

    def take_at(self, host: str | None, wanted: int) -> int:
        """Claim and start up to ``wanted`` accounts at one host, at any for None; return how
        many."""
        slots = reserve_slots(self.provider, wanted, host=host or "")
        # A slot does not move by what the claim takes, or two claims would share their second.
        reserved_at = time.monotonic()
        if not slots:
            self.claiming = True
            return 0
        attempts = self.claim(lambda due: self.choose(due, len(slots), host))
        self.start(attempts, slots, reserved_at)
        return len(attempts)

    def start(self, attempts: list[Attempt], slots: list[float], reserved_at: float) -> int:
        """Start claimed accounts, each in its slot; return how many will be sent."""
        sent, looked_at = 0, time.monotonic()
        begun: dict[Promise, Attempt] = {Promise(self.arrived.put): attempt for attempt in attempts}
        self.held |= begun
        for (promise, attempt), delay in zip(begun.items(), slots, strict=False):
            if time.monotonic() - looked_at > SILENCE:
                # A host of its own did not say where its endpoints are. The leases of the others
                # run, and what has come meanwhile must be stored.
                self.network.begin()
                self.settle_what_arrived()
                looked_at = time.monotonic()
            if promise not in self.held:
                continue  # given back, as its host turned out to be away
            attempt.not_before = reserved_at + delay
            blocked = prepare(attempt, self.found)
            if blocked is not None:
                promise.set_result(blocked)
                continue
            attempt.lane = self.hosts.lane(attempt)
            self.network.send(promise, attempt)
            sent += 1
        self.network.begin()
        return sent

    def give_back_last_claim(self) -> None:
        """Give back what it took and nobody holds, as it was cut off."""
        try:
            self.last_claim.give_back(but={attempt.account.pk for attempt in self.held.values()})
        except Error as error:
            _forgive(error)  # the leases run out

    def claim(self, choose: Callable[[Any], list[int]]) -> list[Attempt]:
        """Claim those of the due that ``choose`` names, and end the copies among them."""
        attempts = retried(lambda: self.claim_once(choose))
        if len(attempts) < len(self.last_claim.pks):
            end_copies(self.last_claim.pks)  # which stay due, and are not to be claimed
        return attempts

    def claim_once(self, choose: Callable[[Any], list[int]]) -> list[Attempt]:
        skips_locked = connection.features.has_select_for_update_skip_locked
        whole: AbstractContextManager[Any] = transaction.atomic() if skips_locked else nullcontext()
        with whole:
            # Another drain's rows, and those that the site has locked, are passed over.
            rows = self.due.select_for_update(skip_locked=True) if skips_locked else self.due
            self.last_claim = mine = Claim(choose(rows), self.moment)
            if not mine.pks:
                return []
            # Where no row was locked, another drain may have refreshed one since it was chosen.
            return claim(mine.pks, self.provider, now=mine.now, holder=mine.holder, due_at=self.now)

    def choose(self, due: Any, wanted: int, host: str | None) -> list[int]:
        """The oldest due, at one host unless that is None; of those that failed before, no more
        than half of what may be in flight, so that many that time out hold up no healthy one for
        long.

        The ids only: MariaDB takes no LIMIT in the subquery of an UPDATE.
        """
        due = self.hosts.open(due, self.held.values())
        due = due if host is None else due.filter(host=host)
        rest = due if self.looked_to is None else due.filter(refresh_at__gte=self.looked_to)
        columns = ("pk", "host", "failure_count", "refresh_at")
        oldest = read_values(rest.values_list(*columns)[:wanted])
        if len(oldest) < wanted and rest is not due:
            rest = due  # for what was left, or has come free since
            oldest = read_values(rest.values_list(*columns)[:wanted])
        self.claiming = self.claiming or bool(oldest)
        held = sum(attempt.account.failure_count > 0 for attempt in self.held.values())
        room = max(self.width // 2 - held, 0) if self.width > 1 else 1
        failing = [one for one in oldest if one[2]][:room]
        healthy = [one for one in oldest if not one[2]]
        if len(oldest) == wanted > len(failing) + len(healthy):
            healthy = read_values(
                rest.filter(failure_count=0).values_list(*columns)[: wanted - len(failing)]
            )
        chosen = self.hosts.shared_out(
            [one[:2] for one in (*failing, *healthy)], self.held.values()
        )
        self.look_on_from(oldest, chosen)
        return chosen

    def look_on_from(self, oldest: list[Any], chosen: list[int]) -> None:
        """Begin the next look at the first that is left here, or behind the last. Of many hosts
        there are always some whose accounts are left."""
        if oldest and not self.hosts.many:
            taken = set(chosen)
            left = [at for pk, _, _, at in oldest if pk not in taken]
            self.looked_to = left[0] if left else oldest[-1][3]

    def settle_what_arrived(self) -> bool:
        """Settle the answers that are there; whether any was new."""
        # One that was given back is not held any more, and one that came twice is settled once.
        promises = [promise for promise in dict.fromkeys(self.ready()) if promise in self.held]
        arrived = bool(promises)
        if not promises:
            promises, self.locked = self.locked, []
        answers = {
            promise: (self.held[promise], outcome)
            for promise in promises
            if (outcome := self.outcome(promise)) is not None
        }
        left = {attempt for attempt, _ in settle_together(list(answers.values()))}
        for promise, (attempt, outcome) in answers.items():
            if attempt not in left:
                del self.held[promise]
                self.drained.refreshed += 1
                self.hosts.asked.add(attempt.account.host)
                self.learn_from(attempt, outcome, None)
        for promise, (attempt, outcome) in answers.items():
            if attempt in left:
                self.finish(promise, attempt, outcome)
        if arrived and time.monotonic() >= self.locked_tried_at + LOCKED_AGAIN:
            self.try_locked()
        return arrived

    def try_locked(self) -> None:
        """Settle what was put aside, until a row is locked still: under a backlog there is always
        something new, and their leases would end. The others wait for one lock at most."""
        for promise in list(self.locked):
            self.locked.remove(promise)
            if (outcome := self.outcome(promise)) is not None:
                self.finish(promise, self.held[promise], outcome)
            if promise in self.locked:  # the last one now, so that the next try begins with another
                break
        self.locked_tried_at = time.monotonic()

    def outcome(self, promise: Promise) -> RefreshResult | None:
        """The result of an attempt; None where it is asked for once more."""
        attempt, result = self.held[promise], promise.result()
        if not isinstance(result, Exchange):
            return result  # type: ignore[no-any-return]
        if attempt.answered is None:
            attempt.answered = outcome_of(attempt, result)
            by = next_try(attempt, attempt.answered)
            if by is not None:
                self.ask_again(promise, attempt, by)
                return None
        return attempt.answered

    def ask_again(
        self,
        first: Promise,
        attempt: Attempt,
        by: Callable[[Attempt], RefreshResult],
    ) -> None:
        promise = Promise(self.arrived.put)
        self.held[promise] = attempt
        del self.held[first]
        self.network.ask(promise, attempt, by)

    def ready(self) -> list[Promise]:
        """The answers that are there, after waiting a moment for the first."""
        found: list[Promise] = []
        with suppress(Empty):
            found.append(self.arrived.get(timeout=MAX_WAIT if self.in_flight else 0))
            waiting = self.arrived.qsize()
            if waiting < MAX_TOGETHER // 2 and self.in_flight - waiting > self.width // 2:
                time.sleep(GATHERS)
            while len(found) < MAX_TOGETHER:
                found.append(self.arrived.get_nowait())
        return found

    def finish(self, promise: Promise, attempt: Attempt, outcome: RefreshResult) -> None:
        """Settle one attempt, or put it aside while its row is locked."""
        error: ConnectedAccountsError | None
        if attempt.asked:
            self.hosts.asked.add(attempt.account.host)
        try:
            error = settle(attempt, outcome)
        except Exception as failure:  # the other answers must still be stored
            _forgive(failure)
            in_time = time.monotonic() < attempt.lease_ends
            if isinstance(failure, OperationalError) and is_lock_timeout(failure) and in_time:
                if not self.locked:
                    self.locked_tried_at = time.monotonic()
                self.locked.append(promise)
                return
            error = UnexpectedResponse("not_settled")  # its lease runs out
        del self.held[promise]
        if error is None:
            self.drained.refreshed += 1
        else:
            self.drained.failed += 1
        if error is not None and error.code == NO_THREAD:
            self.claiming = False  # there is none for the others either
        self.learn_from(attempt, outcome, error)

    def learn_from(
        self, attempt: Attempt, outcome: RefreshResult, error: ConnectedAccountsError | None
    ) -> None:
        """Draw from one account's outcome what it says of the provider."""
        try:
            if self.hosts.learn_from(attempt, outcome, error, lambda: self.moment):
                self.release(attempt.account.host)
        except Error as failure:
            _forgive(failure)

    def stop_and_release(self) -> None:
        """Claim no more, and give back what was not sent yet."""
        self.claiming = False
        self.release()

    def release(self, host: str | None = None) -> None:
        """Give back what was not sent yet, at one host or at all. A lost answer that waits to be
        asked for again stays lost: the next attempt has to know of it."""
        for promise, attempt in list(self.held.items()):
            if host not in (None, attempt.account.host) or not promise.cancel():
                continue
            if attempt.lost is not None:
                promise.set_result(attempt.lost)
                continue
            try:
                attempt.account.release(attempt_started_at=attempt.unresolved_since)
            except Error as error:
                _forgive(error)  # its lease runs out
            finally:
                del self.held[promise]  # whatever is raised: no answer comes for it


def _forgive(error: Exception) -> None:
    logger.error("drain: %s", type(error).__name__)
    close_unusable_connection()
