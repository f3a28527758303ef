"""The network side of a drain: one loop for what is plain, and threads for what is not."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.oauth2.event_loop.loop import EventLoop, is_possible
from connected_accounts.oauth2.event_loop.promise import Promise
from connected_accounts.oauth2.wire import NO_THREAD
from connected_accounts.refresh.attempts import (
    Attempt,
    RefreshResult,
    Templates,
    ask_into,
    exchange_of,
)

logger = logging.getLogger("connected_accounts")


class Network:
    """Sends attempts, up to ``width`` at once either way. Closed as a context manager, once all
    have been answered."""

    def __init__(self, width: int) -> None:
        self._pool = ThreadPoolExecutor(width, "connected-accounts-drain")
        self._loop = EventLoop(width) if is_possible() else None
        self._open = ExitStack()
        self._templates: Templates = {}

    def __enter__(self) -> Self:
        self._open.enter_context(self._pool)
        if self._loop is not None:
            self._open.enter_context(self._loop)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def send(self, promise: Promise, attempt: Attempt) -> None:
        """Send an attempt, after ``begin``. Its result will be a RefreshResult, or the
        Exchange that ``outcome_of`` reads in the caller's thread."""
        if self._loop is None or (exchange := exchange_of(attempt, self._templates)) is None:
            self.ask(promise, attempt)
        else:
            self._loop.submit(promise, exchange)

    def begin(self) -> None:
        """Begin with what is to be sent."""
        if self._loop is not None:
            self._loop.wake()

    def ask(
        self,
        promise: Promise,
        attempt: Attempt,
        by: Callable[[Attempt], RefreshResult] | None = None,
    ) -> None:
        """``ask_into``, in a thread. Where none can be started, nothing is sent."""
        try:
            self._pool.submit(ask_into, promise, attempt, by)
        except RuntimeError as error:
            logger.error("drain: no thread: %s", type(error).__name__)
            if promise.cancel():  # or one that is free already has it
                unsent = ProviderUnavailable(NO_THREAD, sent=False)
                promise.set_result(attempt.lost or unsent)
