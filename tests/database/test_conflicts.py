"""Eight at once on a database that lets some of them fail: PostgreSQL at SERIALIZABLE, SQLite with
its one writer, MariaDB at its own isolation level. What fails is run again, and nothing is a 500.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone

from connected_accounts.database import locks
from connected_accounts.database.inserts import insert_apart
from connected_accounts.models import ConnectedAccount, Event, ProviderState, Revocation
from connected_accounts.refresh.drain import drain
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.database.test_databases import as_default, server_settings
from tests.journeys import at_once, finish, start

AT_ONCE = 8
KINDS = [
    pytest.param("postgresql", marks=pytest.mark.postgres),
    pytest.param("mariadb"),
    pytest.param("sqlite"),
]


@pytest.fixture(scope="module", params=KINDS)
def site(
    request: Any, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A migrated database of that kind, in place of the suite's."""
    with django_db_blocker.unblock():
        if request.param == "sqlite":
            name = str(tmp_path_factory.mktemp("conflicts") / "db")
            modes = {"transaction_mode": "IMMEDIATE", "timeout": 20}
            with as_default(
                {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": modes}
            ):
                call_command("migrate", verbosity=0)
                yield request.param
            return
        server, name = server_settings(request.param), f"conflicts_{uuid.uuid4().hex[:12]}"
        level = None
        if request.param == "postgresql":
            from psycopg import IsolationLevel

            level = IsolationLevel.SERIALIZABLE
        with as_default(server), connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
        try:
            options = {**server.get("OPTIONS", {}), "isolation_level": level}
            with as_default({**server, "NAME": name, "OPTIONS": options}):
                call_command("migrate", verbosity=0)
                yield request.param
        finally:
            with as_default(server), connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {connection.ops.quote_name(name)}")


@pytest.fixture(autouse=True)
def empty(site: str, settings: Any) -> Iterator[None]:
    # Django's sessions are saved by Django, which does not run a transaction again.
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    yield
    for model in (Revocation, ConnectedAccount, ProviderState):
        model._base_manager.all()._raw_delete("default")
    connection.close()


def people(count: int) -> list[Any]:
    make = get_user_model().objects.create_user
    return [make(f"person-{uuid.uuid4().hex}") for _ in range(count)]


def accounts_of(badgr: FakeProvider, count: int) -> list[ConnectedAccount]:
    made = [connect_account(badgr, one, subject=one.username) for one in people(count)]
    ConnectedAccount.objects.update(expires_at=timezone.now(), refresh_at=timezone.now())
    return made


def each_at_once(things: list[Any], work: Callable[[Any], Any]) -> list[Any]:
    waiting = iter(things)
    return at_once(lambda: work(next(waiting)), len(things))


def test_eight_people_connect_use_and_disconnect(badgr: FakeProvider) -> None:
    def lives(person: Any) -> list[int]:
        client, statuses = Client(), []
        client.force_login(person)
        for _ in range(2):
            params = badgr.authorize(start(client), subject=person.username)
            statuses.append(finish(client, params).status_code)
            account = ConnectedAccount.objects.for_user(person).get()
            refresh(account)
            assert get_access_token(account)
            statuses.append(client.get("/connections/").status_code)
            statuses.append(client.post(f"/connections/{account.pk}/disconnect/").status_code)
        return statuses

    assert each_at_once(people(AT_ONCE), lives) == [[303, 200, 303] * 2] * AT_ONCE
    assert Revocation.objects.count() == 2 * AT_ONCE
    assert sum(at_once(revoke_pending, 3)) == 2 * AT_ONCE
    assert not any(grant.is_alive for grant in badgr.grants)


def test_one_person_comes_back_in_eight_tabs(badgr: FakeProvider) -> None:
    [person] = people(1)
    client = Client()
    client.force_login(person)
    ways = [badgr.authorize(start(client), subject="one") for _ in range(AT_ONCE)]
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}

    def come_back(params: Any) -> int:
        tab = Client()
        tab.cookies.load(cookies)
        return finish(tab, params).status_code

    assert each_at_once(ways, come_back) == [303] * AT_ONCE
    assert ConnectedAccount.objects.count() == 1


def test_eight_that_want_one_token_get_it_by_one_request(badgr: FakeProvider) -> None:
    [account] = accounts_of(badgr, 1)
    tokens = at_once(lambda: get_access_token(account), AT_ONCE)
    assert set(tokens) == {badgr.grants[0].access_token}
    assert set(badgr.presentations.values()) == {1}


def test_four_drains_share_the_work(badgr: FakeProvider) -> None:
    accounts_of(badgr, 60)
    done = at_once(lambda: drain("badgr").refreshed, 4)
    assert sum(done) == 60
    assert list(badgr.presentations.values()) == [1] * 60
    assert drain("badgr").refreshed == 0
    assert not ConnectedAccount.objects.exclude(lease_holder=None).exists()


def test_eight_people_who_come_back_again_and_again_are_connected_each_time(
    badgr: FakeProvider,
) -> None:
    """Their grants are swapped in transactions, which are in each other's way for longer."""

    def comes_back(person: Any) -> list[int]:
        client, statuses = Client(), []
        client.force_login(person)
        for _ in range(4):
            params = badgr.authorize(start(client), subject=person.username)
            statuses.append(finish(client, params).status_code)
        return statuses

    assert each_at_once(people(AT_ONCE), comes_back) == [[303] * 4] * AT_ONCE


@pytest.mark.parametrize("site", ["mariadb"], indirect=True)
def test_a_deadlock_over_the_next_key_of_a_table_is_run_again(site: str) -> None:
    """MariaDB tells of it by a number of its own: 1467, for a key that could not be read."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE numbers (number int PRIMARY KEY) ENGINE=InnoDB")
        cursor.execute("INSERT INTO numbers VALUES (1), (2)")
        cursor.execute(
            "CREATE TABLE keyed (pk int AUTO_INCREMENT PRIMARY KEY, number int) ENGINE=InnoDB"
        )
    is_locked, ran = threading.Event(), []

    def writes_row_after_row() -> None:
        """Takes the lock of the table's keys with its first row, and waits for its second."""
        with transaction.atomic(), connection.cursor() as cursor:
            assert is_locked.wait(20)
            cursor.execute("INSERT INTO keyed (number) SELECT number FROM numbers ORDER BY number")

    def locks_a_row_and_writes() -> None:
        ran.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT number FROM numbers WHERE number = 2 FOR UPDATE")
            cursor.fetchall()
            is_locked.set()
            while len(ran) == 1 and not cursor.execute(
                "SELECT 1 FROM information_schema.innodb_trx "
                "WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE 'INSERT INTO keyed%'"
            ):
                time.sleep(0.1)
            cursor.execute("INSERT INTO keyed (number) VALUES (3)")

    each_at_once([writes_row_after_row, locks_a_row_and_writes], locks.retried)
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM keyed ORDER BY number")
        assert cursor.fetchall() == ((1,), (2,), (3,))
    assert len(ran) == 2


class Conflict(Exception):
    sqlstate = "40001"


def ran_amid(errors: list[DatabaseError]) -> int:
    """How often a transaction is run that fails so; raises what it raised at last."""
    ran = [0]

    def work() -> None:
        ran[0] += 1
        if errors:
            raise errors.pop()

    locks.retried(work)
    return ran[0]


def conflicts(count: int) -> list[DatabaseError]:
    made = [OperationalError() for _ in range(count)]
    for error in made:
        error.__cause__ = Conflict()
    return list(made)


@pytest.mark.parametrize("number", [1213, 1467, 1020])
def test_a_row_beside_others_is_not_given_up_alone_where_all_are_undone(
    site: str, number: int
) -> None:
    """MariaDB has rolled the whole transaction back, whatever Django knows of it."""

    def insert() -> None:
        raise OperationalError from Exception(number, "a conflict")

    with pytest.raises(OperationalError), transaction.atomic():
        insert_apart(Event, insert, "an event")


def test_a_conflict_is_not_given_up_before_its_time(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PAUSE", 0.0)
    assert ran_amid(conflicts(5 * locks.TRIES)) == 5 * locks.TRIES + 1


def test_a_conflict_that_does_not_end_is_raised_when_its_time_is_over(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PAUSE", 0.0)
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    errors = conflicts(5 * locks.TRIES)
    with pytest.raises(OperationalError):
        ran_amid(errors)
    assert len(errors) == 4 * locks.TRIES


def test_a_row_that_is_there_already_is_tried_a_few_times_only(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PAUSE", 0.0)
    errors: list[DatabaseError] = [IntegrityError() for _ in range(5 * locks.TRIES)]
    with pytest.raises(IntegrityError):
        ran_amid(errors)
    assert len(errors) == 4 * locks.TRIES


def test_a_statement_that_is_no_conflict_is_run_once(site: str) -> None:
    ran = []

    def fails() -> None:
        ran.append(1)
        raise OperationalError from ValueError("another reason")

    with pytest.raises(OperationalError):
        locks.retried(fails)
    assert len(ran) == 1
