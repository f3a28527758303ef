"""The hosts of an alias in one drain; most aliases have one, whose key is empty.

What one host answers, or does not, is held against no other.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from connected_accounts import conf
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ReauthorizationRequired,
)
from connected_accounts.models import ProviderState
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.provider_state import outages, pauses
from connected_accounts.provider_state.rate_limit import (
    PATIENCE,
    note_throttled,
    throttled_hosts,
)
from connected_accounts.providers.base import Provider
from connected_accounts.refresh.attempts import Attempt, RefreshResult
from connected_accounts.refresh.provider_failures import note_provider_failure
from connected_accounts.tokens.throttle import Lane, named_wait

LOOK_AGAIN: Final = 1.0  # seconds between two writes of "it answers" to the shared row


class Hosts:
    """The hosts that a drain may ask. ``to_probe`` has those whose pause is over: one account each
    goes before the others, which wait for the next drain."""

    def __init__(
        self, provider: Provider, probes: Mapping[str, outages.Probe], *, now: datetime
    ) -> None:
        self.alias, self.many = provider.alias, bool(provider.places)
        # Of the threads, so that one that dawdles leaves some to the others.
        self.share = max(int(conf.get("REFRESH_CONCURRENCY")) // 2, 1)
        self.to_probe = {host: p.state for host, p in probes.items() if p.turn is not None}
        self.probed = frozenset(self.to_probe)
        self.closed = {*outages.closed_hosts(self.alias, now), *probes}
        self.asked: set[str] = set()  # for any account
        self._throttled = throttled_hosts(self.alias, now)
        self._lanes: dict[str, Lane] = {}  # by token endpoint
        # When a success was last written to the shared row: time.monotonic(). After a failure the
        # next one is written at once.
        self._noted: dict[str, float] = {}

    def open(self, due: Any, held: Iterable[Attempt]) -> Any:
        """Those that are due at hosts that may be asked, and have not their share of the threads
        already."""
        if not self.many:
            return due
        shut = self.closed | {host for host, room in self._room(held).items() if room <= 0}
        return due.exclude(host__in=shut) if shut else due

    def shared_out(self, chosen: Iterable[Any], held: Iterable[Attempt]) -> list[int]:
        """The keys of those chosen, pairs of key and host, without what one host has too many."""
        if not self.many:
            return [pk for pk, _ in chosen]
        room, kept = self._room(held), []
        for pk, host in chosen:
            if room.setdefault(host, self.share) > 0:
                room[host] -= 1
                kept.append(pk)
        return kept

    def _room(self, held: Iterable[Attempt]) -> dict[str, int]:
        """The number that each host may have in flight besides, where it has any."""
        in_flight = Counter(attempt.account.host for attempt in held)
        return {host: self.share - count for host, count in in_flight.items()}

    def choose_probe(self, host: str, due: Any, now: datetime) -> list[int]:
        """The account that is to be the probe of a host, in a list; empty where none is due."""
        state: ProviderState = self.to_probe[host]
        fit = outages.fit_to_probe(due.filter(host=host), state, now)
        return list(fit.values_list("pk", flat=True)[:1])

    @property
    def is_narrow(self) -> bool:
        """Whether requests to any host wait for their turn."""
        return any(lane.is_narrow for lane in self._lanes.values())

    def lane(self, attempt: Attempt) -> Lane:
        """The way to the token endpoint of an attempt: one request at a time where the host has
        throttled lately."""
        address = attempt.endpoints.token_endpoint
        if address not in self._lanes:
            self._lanes[address] = Lane(is_narrow=attempt.account.host in self._throttled)
        return self._lanes[address]

    def learn_from(
        self,
        attempt: Attempt,
        outcome: RefreshResult,
        error: ConnectedAccountsError | None,
        moment: Callable[[], datetime],
    ) -> bool:
        """Draw from one account's outcome what it says of its host. Returns whether that is closed
        from now on."""
        host = attempt.account.host
        closes = False
        if attempt.lane.was_throttled:
            note_throttled(self.alias, at=moment(), host=host)
            attempt.lane.was_throttled = False  # until it is so again
        if isinstance(outcome, ClientRejected):
            self._noted.pop(host, None)
            # A person's own credentials are that person's trouble, and pause nobody.
            paused = pauses.pause_of(self.alias, moment(), host=host)
            closes = isinstance(error, ClientRejected) and bool(paused)
        elif (wait := named_wait(outcome)) is not None:
            closes = wait > PATIENCE  # until the end that it named
        elif not attempt.asked or not isinstance(outcome, TokenResponse | ReauthorizationRequired):
            self._noted.pop(host, None)
            closes = note_provider_failure(attempt)
        elif isinstance(outcome, TokenResponse):
            self._note_success(host, moment)
        elif host in self.probed:
            pauses.resume(self.alias, host=host)
        else:
            outages.answered(self.alias, host=host)
        if closes:
            self.closed.add(host)
        return closes

    def _note_success(self, host: str, moment: Callable[[], datetime]) -> None:
        """Tell the other workers, once in a while, that a host answers."""
        if time.monotonic() > self._noted.get(host, 0.0) + LOOK_AGAIN:
            pauses.note_success(self.alias, now=moment(), host=host)
            self._noted[host] = time.monotonic()
