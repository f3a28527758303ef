"""A result to come: whoever is first, the one who begins or the one who cancels, has it."""

from queue import SimpleQueue

import pytest

from connected_accounts.oauth2.event_loop.promise import Promise


@pytest.fixture
def told() -> SimpleQueue[Promise]:
    return SimpleQueue()


def test_what_has_begun_is_not_cancelled(told: SimpleQueue[Promise]) -> None:
    promise = Promise(told.put)
    assert promise.set_running_or_notify_cancel()
    assert not promise.cancel()
    promise.set_result("an answer")
    assert told.get_nowait() is promise
    assert (promise.done(), promise.result()) == (True, "an answer")


def test_what_was_cancelled_does_not_begin(told: SimpleQueue[Promise]) -> None:
    promise = Promise(told.put)
    assert promise.cancel()
    assert not promise.set_running_or_notify_cancel()
    assert not promise.done()
    assert told.empty()


def test_what_has_a_result_without_having_begun_is_not_cancelled(
    told: SimpleQueue[Promise],
) -> None:
    promise = Promise(told.put)
    promise.set_result("no client")
    assert not promise.cancel()
    assert promise.result() == "no client"
