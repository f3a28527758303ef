"""The two ways to a provider: a call in the caller's thread, and the drain's event loop."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.event_loop.exchange import Exchange
from connected_accounts.oauth2.event_loop.loop import EventLoop
from connected_accounts.oauth2.transport import Answer

WIDTH = 24


def fetch_by(loop: EventLoop, request: requests.Request, *, public: bool = False) -> Answer:
    """``transport.fetch``, by a loop."""
    future: Future[Exchange] = Future()
    begin_before = time.monotonic() + 60
    loop.submit(future, Exchange.of(request, public=public, begin_before=begin_before))
    loop.wake()
    outcome = future.result(60).outcome
    assert outcome is not None
    if isinstance(outcome, Answer):
        return outcome
    raise outcome


@pytest.fixture(params=["a call", "a loop"], autouse=True)
def way(
    request: pytest.FixtureRequest, own_connections: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Each test twice: ``transport.fetch`` as it is, and by a loop where that is possible."""
    with ExitStack() as stack:
        if request.param == "a loop":
            loop = stack.enter_context(EventLoop(WIDTH))
            fetch = transport.fetch

            def by_loop(sent: requests.Request, *, public: bool = False, **rest: Any) -> Answer:
                if rest or not transport.is_direct(sent.url, None):
                    return fetch(sent, public=public, **rest)
                return fetch_by(loop, sent, public=public)

            monkeypatch.setattr(transport, "fetch", by_loop)
        yield request.param
