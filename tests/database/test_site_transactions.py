"""Refreshing inside a site's own transaction, on PostgreSQL: no hang, no stale token, no loss."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from connected_accounts.database.connections import short_lock_waits
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, ProviderState
from connected_accounts.refresh import drain as drain_module
from connected_accounts.refresh.drain import drain
from connected_accounts.secret import Secret
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider
from connected_accounts.use.tokens import renewed_token
from tests.journeys import at_once, connect, finish, set_row, start, stored

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no PostgreSQL")
    made = connect(client_of_ada, badgr)
    ConnectedAccount.objects.update(expires_at=timezone.now())
    ProviderState.objects.all().delete()
    return made


def rolled_back(view: Callable[[], Any], isolation: str = "READ COMMITTED") -> Any:
    """Run a view in a transaction that fails at its end; return what it returned."""
    result = None
    with suppress(ZeroDivisionError), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        result = view()
        raise ZeroDivisionError
    return result


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_the_new_token_is_returned_and_outlives_the_rollback(
    account: ConnectedAccount, badgr: FakeProvider, isolation: str
) -> None:
    def view() -> str:
        ConnectedAccount.objects.count()  # takes the snapshot
        return get_access_token(account)

    token = rolled_back(view, isolation)
    assert token == badgr.grants[0].access_token
    assert ConnectedAccount.objects.get().open_token()["access_token"] == token


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_a_view_that_sees_the_past_refreshes_once(
    account: ConnectedAccount, badgr: FakeProvider, isolation: str
) -> None:
    def view() -> set[str]:
        ConnectedAccount.objects.count()  # takes the snapshot
        return {get_access_token(account) for _ in range(3)}

    assert rolled_back(view, isolation) == {badgr.grants[0].access_token}
    assert len(badgr.sent_to("token")) == 2  # the connect's, and one


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_a_view_that_sees_the_past_renews_a_refused_token_once(
    account: ConnectedAccount, badgr: FakeProvider, isolation: str
) -> None:
    hour = timezone.now() + timedelta(hours=1)
    past = timezone.now() - timedelta(hours=1)
    set_row(account, expires_at=hour, connected_at=past)
    refused = Secret(stored(account)["access_token"])

    def view() -> set[str]:
        ConnectedAccount.objects.count()  # takes the snapshot
        return {renewed_token(account, refused).reveal() for _ in range(3)}

    assert rolled_back(view, isolation) == {badgr.grants[0].access_token}
    assert len(badgr.sent_to("token")) == 2


@pytest.mark.parametrize("use", [get_access_token, refresh])
def test_a_row_that_the_site_has_locked_is_not_waited_for_for_ever(
    account: ConnectedAccount, badgr: FakeProvider, use: Callable[[Any], Any]
) -> None:
    def view() -> None:
        ConnectedAccount.objects.filter(pk=account.pk).update(label="mine")
        with pytest.raises(ProviderUnavailable) as caught:
            use(account)
        assert caught.value.code == "busy"

    began = time.monotonic()
    rolled_back(view)
    assert time.monotonic() - began < 20
    assert len(badgr.sent_to("token")) == 1
    assert get_access_token(account) == badgr.grants[0].access_token


@contextmanager
def row_locked_elsewhere(pk: int) -> Iterator[None]:
    """Another connection that has changed the row, and commits at the end."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                ConnectedAccount.objects.filter(pk=pk).update(label="changed elsewhere")
                held.set()
                done.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join(30)


@pytest.mark.parametrize("locked_when", ["before", "after"])
def test_one_locked_row_holds_up_no_other(
    account: ConnectedAccount,
    client_of_ada: Client,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    locked_when: str,
) -> None:
    for number in range(5):
        connect(client_of_ada, badgr, subject=f"person-{number}")
    ConnectedAccount.objects.update(refresh_at=timezone.now())
    others = ConnectedAccount.objects.exclude(pk=account.pk)
    if locked_when == "before":
        with row_locked_elsewhere(account.pk):
            assert drain("badgr").refreshed == 5
        assert drain("badgr").refreshed == 1
        return
    # Locked while the provider is asked, and let go when the others are stored.
    lock = row_locked_elsewhere(account.pk)
    settle, settled = drain_module.settle, []

    def lock_first(attempt: Any, outcome: Any) -> Any:
        if not settled:
            lock.__enter__()
        settled.append(attempt.account.pk)
        if not others.filter(refreshed_at=None).exists():
            lock.__exit__(None, None, None)
        return settle(attempt, outcome)

    monkeypatch.setattr(drain_module, "settle", lock_first)
    assert vars(drain("badgr")) == {"refreshed": 6, "failed": 0}
    assert set(badgr.presentations.values()) == {1}


def test_the_connections_own_lock_time_out_is_set_back(account: ConnectedAccount) -> None:
    with connection.cursor() as cursor:
        with short_lock_waits(3):
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("3s",)
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


def test_the_same_thing_at_once_works_at_repeatable_read_too(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    def strictly(work: Callable[[], Any]) -> Callable[[], Any]:
        def strict() -> Any:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ"
                )
            return work()

        return strict

    ways = iter([badgr.authorize(start(client_of_ada), subject="new") for _ in range(6)])
    cookies = {name: morsel.value for name, morsel in client_of_ada.cookies.items()}

    def come_back() -> int:
        client = Client()
        client.cookies.load(cookies)
        return finish(client, next(ways)).status_code

    assert at_once(strictly(come_back), 6) == [303] * 6
    copies = iter([ConnectedAccount.objects.get(subject="new") for _ in range(6)])
    made = at_once(strictly(lambda: disconnect(next(copies))), 6)
    assert sum(revocation is not None for revocation in made) == 1


def test_where_no_thread_can_be_started_there_is_no_connection(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def view() -> None:
        with monkeypatch.context() as without:
            without.setattr(threading.Thread, "start", refuse)
            with pytest.raises(ProviderUnavailable, match="no_connection"):
                refresh(account)

    rolled_back(view)
    assert len(badgr.sent_to("token")) == 1
