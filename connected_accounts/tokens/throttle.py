"""A provider that says how long it takes no more requests (429, with its end): it is obeyed.

Network threads only: nothing here touches the database.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from connected_accounts.exceptions import ProviderUnavailable

T = TypeVar("T")

NOT_IN_TIME = "lease_too_old"


def named_wait(outcome: object) -> float | None:
    """The seconds to wait that a throttle named; None: it is no throttle, or named no end."""
    throttled = isinstance(outcome, ProviderUnavailable) and outcome.status == 429
    return outcome.retry_after if throttled else None  # type: ignore[attr-defined]


def until_answered(ask: Callable[[], T], *, ends: float) -> T:
    """Return what ``ask`` returns, asked again after each throttle that ends before ``ends``, of
    ``time.monotonic()``. A refused request did nothing, so a code may be sent again."""
    while True:
        try:
            return ask()
        except ProviderUnavailable as error:
            wait = named_wait(error)
            if wait is None or time.monotonic() + wait > ends:
                raise
        time.sleep(wait)


class Lane:
    """The way to one token endpoint that several threads share: side by side, until the provider
    throttles, or from the beginning one at a time; none before the end that it named."""

    def __init__(self, *, is_narrow: bool = False) -> None:
        self.is_narrow = is_narrow
        self.was_throttled = False
        self._not_before = 0.0  # time.monotonic()
        self._turn = threading.Lock()

    def send(self, ask: Callable[[], T], *, ends: float) -> T | ProviderUnavailable:
        """Return what ``ask`` returns, asked again after a throttle that ends before ``ends``.
        ProviderUnavailable (``lease_too_old``), where its turn did not come in time."""
        while True:
            if not self.is_narrow:
                outcome: T | ProviderUnavailable = ask()
            elif self._turn.acquire(timeout=max(ends - time.monotonic(), 0)):
                try:
                    outcome = self._in_turn(ask, ends)
                    self.note(outcome)  # before the next one's turn begins
                finally:
                    self._turn.release()
            else:
                return ProviderUnavailable(NOT_IN_TIME, sent=False)
            wait = self.note(outcome)
            if wait is None:
                return outcome
            if time.monotonic() + wait > ends:
                return outcome

    def _in_turn(self, ask: Callable[[], T], ends: float) -> T | ProviderUnavailable:
        if self._not_before > ends:
            return ProviderUnavailable(NOT_IN_TIME, sent=False)
        if (wait := self._not_before - time.monotonic()) > 0:
            time.sleep(wait)
        return ask()

    def note(self, outcome: object) -> float | None:
        """Go one at a time from now on, and not before its end, if that is a throttle; return its
        seconds."""
        wait = named_wait(outcome)
        if wait is not None:
            self.is_narrow = self.was_throttled = True
            self._not_before = max(self._not_before, time.monotonic() + wait)
        return wait
