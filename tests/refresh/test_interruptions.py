"""Time limits and signals amid a refresh: what was sent is stored before they are heeded.

Real Celery workers get them in ``tests/tasks/test_stopped_workers.py``.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.test import Client

from connected_accounts.connect import completion
from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh import drain as drain_module
from connected_accounts.refresh import on_demand, outcomes, storage
from connected_accounts.refresh.drain import drain
from connected_accounts.refresh.interruptions import signals_held, to_the_end
from connected_accounts.services import refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import finish, start, stored

pytestmark = pytest.mark.django_db(transaction=True)


class Greenlet(BaseException):
    """As gevent's time limits and its ends of greenlets are: no Exception, raised at any call."""


@pytest.fixture
def due(django_user_model: Any, badgr: FakeProvider) -> list[ConnectedAccount]:
    """Twenty accounts whose refresh is due."""
    users = [django_user_model.objects.create(username=f"p{number}") for number in range(20)]
    accounts = [connect_account(badgr, user, subject=user.username) for user in users]
    badgr.advance(hours=23)
    return accounts


def slowly(badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.1) -> None:
    """The provider answers one after another, each after a while."""
    own = badgr._dialect.token

    def token(seen: Any) -> Any:
        answer = own(seen)
        time.sleep(seconds)
        return answer

    monkeypatch.setattr(badgr._dialect, "token", token)


@contextmanager
def raised_after(seconds: float, error: BaseException, number: int) -> Iterator[None]:
    def limit(*args: Any) -> None:
        raise error

    before = signal.signal(number, limit)
    timer = sent_after(seconds, number)
    try:
        yield
    finally:
        timer.join()
        signal.signal(number, before)


def sent_after(seconds: float, number: int) -> threading.Timer:
    main = threading.main_thread().ident or 0
    timer = threading.Timer(seconds, signal.pthread_kill, [main, number])
    timer.start()
    return timer


def lost(accounts: list[ConnectedAccount], badgr: FakeProvider) -> int:
    """How many accounts have a refresh token that is not the provider's current one."""
    current = {grant.refresh_token for grant in badgr.grants}
    return sum(stored(account)["refresh_token"] not in current for account in accounts)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGALRM, SoftTimeLimitExceeded()),
        (signal.SIGUSR1, SoftTimeLimitExceeded()),
        (signal.SIGTERM, SystemExit(1)),
        (signal.SIGQUIT, SystemExit(1)),
        (signal.SIGINT, KeyboardInterrupt()),
    ],
    ids=["alarm", "soft-time-limit", "sigterm", "sigquit", "keyboard"],
)
def test_a_signal_amid_a_drain_loses_no_answer_and_stops_the_taking_of_work(
    due: list[ConnectedAccount],
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    app_settings: Callable[..., None],
    number: int,
    error: BaseException,
) -> None:
    app_settings(REFRESH_CONCURRENCY=4)
    slowly(badgr, monkeypatch)
    with raised_after(0.55, error, number), pytest.raises(type(error)):
        drain("badgr")
    sent = len(badgr.sent_to("token")) - len(due)  # the others connected them
    assert lost(due, badgr) == 0
    assert 0 < sent < len(due)
    assert ConnectedAccount.objects.filter(refreshed_at__isnull=False).count() == sent
    # What was claimed and not sent is given back at once.
    assert not ConnectedAccount.objects.exclude(lease_holder=None).exists()
    assert drain("badgr").refreshed == len(due) - sent


def test_a_default_keyboard_interrupt_amid_a_drain_loses_no_answer(
    due: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own handler may not be the process's own, so it is left alone."""
    slowly(badgr, monkeypatch)
    # A shell starts what it does not wait for with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = sent_after(0.55, signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            drain("badgr")
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert lost(due, badgr) == 0
    assert not ConnectedAccount.objects.exclude(lease_holder=None).exists()


PLACES = [
    (outcomes, "store_grant", "refresh"),
    (ConnectedAccount, "mark_refreshed", "refresh"),
    (outcomes, "_announce_refresh", "refresh"),
    (outcomes, "_announce_refresh", "drain"),
    (outcomes, "_grant", "drain"),
    (storage, "retry_while_unavailable", "refresh"),
    (drain_module, "claim", "drain"),
    (drain_module, "prepare", "drain"),
    (on_demand, "claim", "refresh"),
    (outcomes, "prepare", "refresh"),
]


@pytest.mark.parametrize(("owner", "name", "way"), PLACES)
@pytest.mark.parametrize("when", ["before", "behind"])
def test_what_is_raised_into_a_refresh_loses_no_answer_and_leaves_no_lease(
    due: list[ConnectedAccount],
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    way: str,
    when: str,
) -> None:
    """As gevent and eventlet do it, where no signal can be held back."""
    original, raised = getattr(owner, name), []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if raised:
            return original(*args, **kwargs)
        raised.append(True)
        if when == "behind":
            original(*args, **kwargs)
        raise Greenlet

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(Greenlet):
        drain("badgr") if way == "drain" else refresh(due[0])
    assert raised
    assert lost(due, badgr) == 0
    assert set(badgr.presentations.values()) <= {1}
    assert not ConnectedAccount.objects.exclude(lease_holder=None).exists()


@pytest.mark.parametrize("name", ["claim", "prepare", "settle_together"])
def test_a_fault_of_the_code_amid_a_drain_loses_no_answer_and_leaves_no_lease(
    due: list[ConnectedAccount],
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    app_settings: Callable[..., None],
    name: str,
) -> None:
    app_settings(REFRESH_CONCURRENCY=4)
    slowly(badgr, monkeypatch)
    original, calls = getattr(drain_module, name), []

    def faulty(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        calls.append(name)
        if len(calls) == 2:
            raise RuntimeError
        return found

    monkeypatch.setattr(drain_module, name, faulty)
    with pytest.raises(RuntimeError):
        drain("badgr")
    assert 0 < len(badgr.sent_to("token")) - len(due) < len(due)
    assert lost(due, badgr) == 0
    assert not ConnectedAccount.objects.exclude(lease_holder=None).exists()


def test_what_is_raised_while_an_answer_is_waited_for_comes_behind_its_storing(
    due: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(badgr, monkeypatch, 0.5)
    result, raised = Future.result, []

    def impatient(self: Any, timeout: float | None = None) -> Any:
        if not raised:
            raised.append(True)
            raise Greenlet
        return result(self, timeout)

    monkeypatch.setattr(Future, "result", impatient)
    with pytest.raises(Greenlet):
        refresh(due[0])
    assert raised
    assert lost(due, badgr) == 0


def test_a_signal_amid_a_refresh_that_somebody_waits_for_loses_no_answer(
    due: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site's own task, under the site's own limit, uses a token."""
    slowly(badgr, monkeypatch, 0.5)
    with (
        raised_after(0.2, SoftTimeLimitExceeded(), signal.SIGUSR1),
        pytest.raises(SoftTimeLimitExceeded),
    ):
        refresh(due[0])
    assert lost(due, badgr) == 0


def test_a_signal_between_code_and_account_loses_no_grant(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    exchange = completion.exchange_code

    def exchange_and_signal(*args: Any, **kwargs: Any) -> Any:
        token = exchange(*args, **kwargs)
        signal.raise_signal(signal.SIGABRT)
        return token

    monkeypatch.setattr(completion, "exchange_code", exchange_and_signal)

    def abort(*args: Any) -> None:
        raise SystemExit(1)

    before = signal.signal(signal.SIGABRT, abort)  # as gunicorn's worker does
    try:
        with pytest.raises(SystemExit):
            finish(client_of_ada, params)
    finally:
        signal.signal(signal.SIGABRT, before)
    account = ConnectedAccount.objects.get()
    assert stored(account)["refresh_token"] == badgr.grants[0].refresh_token


def test_a_fault_is_survived_once_and_told_behind_the_work() -> None:
    faults, calls = [KeyError("first"), KeyError("second")], []

    def work() -> None:
        calls.append("work")
        if len(calls) < 6 and faults:
            raise faults.pop(0)

    with pytest.raises(KeyError, match="second"):
        to_the_end(work, lambda: calls.append("again"), faults=1)
    assert calls == ["work", "again", "work"]
    faults.append(KeyError("only"))
    with pytest.raises(KeyError, match="only"):
        to_the_end(work, faults=1)
    assert calls == ["work", "again", *["work"] * 3]


@pytest.mark.parametrize("raised", [[KeyError(), Greenlet()], [Greenlet(), KeyError()]])
def test_a_fault_hides_no_interruption(raised: list[BaseException]) -> None:
    def work() -> None:
        if raised:
            raise raised.pop(0)

    with pytest.raises(Greenlet):
        to_the_end(work, faults=1)
    assert raised == []


def test_signals_are_held_for_a_while_and_each_is_delivered_once() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with signals_held() as told:
            assert not told()
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert told()
            assert came == []
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler])
def test_a_handler_that_may_not_be_the_real_one_is_left_alone(handler: Any) -> None:
    """A server written in C sets its own, of which Python does not know."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with signals_held():
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_signal_is_held_in_another_thread() -> None:
    seen = []

    def work() -> None:
        with signals_held() as told:
            seen.append((signal.getsignal(signal.SIGTERM), told()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.getsignal(signal.SIGTERM), False)]
