"""A row that the site has locked holds up that row alone, whatever becomes of the connection."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.database import connections
from connected_accounts.database.connections import short_lock_waits
from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh import attempts, carried_grant, storage
from connected_accounts.refresh import drain as drain_module
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import stored

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no PostgreSQL")


@contextmanager
def locked(pk: int) -> Iterator[None]:
    """A transaction of the site's, on a connection of its own, holds the row while this lasts."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                ConnectedAccount.objects.select_for_update().get(pk=pk)
                held.set()
                done.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join(60)


@pytest.fixture
def accounts(django_user_model: Any, badgr: FakeProvider) -> list[ConnectedAccount]:
    people = [django_user_model.objects.create(username=f"person-{n}") for n in range(12)]
    made = [connect_account(badgr, person, subject=person.username) for person in people]
    ConnectedAccount.objects.update(refresh_at=timezone.now(), expires_at=timezone.now())
    return made


@pytest.fixture(params=[0, None], ids=["CONN_MAX_AGE 0", "persistent"])
def max_age(request: Any) -> Iterator[None]:
    connection.close()
    before = connection.settings_dict["CONN_MAX_AGE"]
    connection.settings_dict["CONN_MAX_AGE"] = request.param
    yield
    connection.close()
    connection.settings_dict["CONN_MAX_AGE"] = before


@pytest.mark.usefixtures("max_age")
def test_a_row_locked_amid_a_drain_holds_up_no_other(
    accounts: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is locked once its answer is there, and let go when all the others are stored.
    first, others = accounts[0], ConnectedAccount.objects.exclude(pk=accounts[0].pk)
    settle_together, stack = drain_module.settle_together, ExitStack()
    seen = []

    def lock_first(answers: Any) -> Any:
        mine = [attempt for attempt, _ in answers if attempt.account.pk == first.pk]
        if mine and not seen:
            seen.append(time.monotonic())
            stack.enter_context(locked(first.pk))
        elif seen and not others.filter(refreshed_at=None).exists():
            seen.append(time.monotonic())
            stack.close()
        return settle_together(answers)

    monkeypatch.setattr(drain_module, "settle_together", lock_first)
    with stack:
        assert vars(drain("badgr")) == {"refreshed": 12, "failed": 0}
    assert set(badgr.presentations.values()) == {1}
    assert seen[1] - seen[0] < 20


def test_a_wait_is_set_once_for_each_transaction_and_again_behind_a_savepoint(
    accounts: list[ConnectedAccount],
) -> None:
    sent: list[str] = []

    def wait() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])

    def undone() -> str:
        with transaction.atomic():
            waited = wait()
            transaction.set_rollback(True)
        return waited

    set_locally = connections._set_locally

    def noting(one: Any, values: dict[str, str]) -> None:
        sent.append(values["lock_timeout"])
        set_locally(one, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_set_locally", noting)
        with short_lock_waits(3):
            for _ in range(2):
                with transaction.atomic():
                    assert [undone(), wait(), undone(), wait(), wait()] == ["3s"] * 5
    # Each time: inside the savepoint, which is rolled back, and behind it for good.
    assert sent == ["3s"] * 4


def test_a_wait_is_set_for_our_statements_and_never_for_the_session(
    accounts: list[ConnectedAccount],
) -> None:
    def wait(connection: Any) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])

    with short_lock_waits(3):
        assert wait(connection) == "3s"
        with transaction.atomic():
            assert wait(connection) == "3s"
        assert wait(connection.connection) == "0"  # the session's, that others see behind a pooler
    with transaction.atomic():
        with short_lock_waits(3):
            assert wait(connection) == "3s"
        assert wait(connection) == "0"


def test_an_answer_whose_row_stays_locked_past_the_lease_goes_to_the_broker(
    accounts: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[tuple[int, int, str]] = []
    monkeypatch.setattr(tasks, "carry_grant", lambda *sent: carried.append(sent))
    monkeypatch.setattr(storage, "RESERVE", 1e6)  # as if the lease were over
    first, stack = accounts[0], ExitStack()
    ask = attempts.ask

    def lock(attempt: Any) -> Any:
        outcome = ask(attempt)
        if attempt.account.pk == first.pk:
            stack.enter_context(locked(first.pk))
        return outcome

    monkeypatch.setattr(attempts, "ask", lock)
    with stack:
        assert vars(drain("badgr")) == {"refreshed": 11, "failed": 1}
    [(pk, generation, sealed)] = carried
    assert pk == first.pk
    assert carried_grant.store_sealed(pk, generation, sealed)
    assert badgr._server.by_refresh_token(stored(first)["refresh_token"]) is not None


def test_an_answer_in_a_request_waits_for_a_row_that_was_locked_meanwhile(
    accounts: list[ConnectedAccount], badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connected_accounts.database.transactions.LOCK_WAIT", 1)
    own, stack = badgr._dialect.token, ExitStack()

    def lock_while_asked(seen: Any) -> Any:
        stack.enter_context(locked(accounts[0].pk))
        threading.Timer(3, stack.close).start()
        return own(seen)

    monkeypatch.setattr(badgr._dialect, "token", lock_while_asked)
    with stack, transaction.atomic():
        token = get_access_token(accounts[0])
    assert token == stored(accounts[0])["access_token"]
    assert badgr._server.by_access_token(token) is not None


def test_a_wait_is_set_back_whatever_was_raised(accounts: list[ConnectedAccount]) -> None:
    with pytest.raises(ProgrammingError), transaction.atomic(), short_lock_waits(3):
        ConnectedAccount.objects.raw("SELECT 1 FROM no_such_table")[0]
    with transaction.atomic(), connection.cursor() as cursor:
        with suppress(KeyError), short_lock_waits(3):
            raise KeyError
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)
