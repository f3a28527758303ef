"""What differs between databases: real PostgreSQL and MariaDB, in a database of the tests' own.

PostgreSQL is the one that ``DATABASE_URL`` names, MariaDB the one that ``MARIADB_URL`` does.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dj_database_url
import pymysql
import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.models import BigAutoField, QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts.clients.credentials import (
    clients_of,
    dependents,
    known_clients,
    orphaned_clients,
    store_own_client,
)
from connected_accounts.database.compiled import Parameter, compiled_select
from connected_accounts.database.connections import short_lock_waits
from connected_accounts.database.functions import subject_digest
from connected_accounts.database.locks import is_lock_timeout, retried
from connected_accounts.database.selects import _selection
from connected_accounts.database.storage import check_storage
from connected_accounts.database.updates import update_all
from connected_accounts.models import (
    ConnectedAccount,
    Event,
    Kind,
    ProviderClient,
    ProviderState,
    Revocation,
)
from connected_accounts.operations.activity import activity
from connected_accounts.owners import owner_key, owner_key_of
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.providers.base import Client
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.attempts import claim as take
from connected_accounts.refresh.due import is_due
from connected_accounts.sealing import seal_document
from connected_accounts.secret import Secret
from tests.services import service

WORKERS = 20


def server_settings(vendor: str) -> dict[str, Any]:
    """The settings of the server's own database, or a skip."""
    if vendor == "mariadb":
        pymysql.version_info = (2, 2, 8, "final", 0)  # what Django asks mysqlclient for
        pymysql.install_as_MySQLdb()
    return dict(dj_database_url.parse(service(vendor)))


@contextmanager
def as_default(settings: dict[str, Any]) -> Iterator[Any]:
    """Another database in place of the default one, in all threads."""
    settings_before, before = connections.settings["default"], connections["default"]
    connections.settings["default"] = connections.configure_settings({"default": settings})[
        "default"
    ]
    del connections["default"]
    _selection.cache_clear()  # a process has statements of one kind of database only
    try:
        yield connection
    finally:
        connection.close()
        connections.settings["default"] = settings_before
        connections["default"] = before
        _selection.cache_clear()


@pytest.fixture(
    scope="module",
    params=[pytest.param("postgresql", marks=pytest.mark.postgres), pytest.param("mariadb")],
)
def database(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[str]:
    """The kind of a migrated database, which is dropped at the end."""
    server = server_settings(request.param)
    name = f"connected_accounts_{uuid.uuid4().hex[:12]}"
    with django_db_blocker.unblock():
        with as_default(server), connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
        try:
            with as_default({**server, "NAME": name}):
                call_command("migrate", verbosity=0)
                yield request.param
        finally:
            with as_default(server), connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {connection.ops.quote_name(name)}")


@pytest.fixture
def accounts(database: str) -> Iterator[Any]:
    """The accounts of that database, none at first."""
    Revocation.objects.all().delete()
    ConnectedAccount.objects.all()._raw_delete("default")
    yield ConnectedAccount.objects
    connection.close()


def store(accounts: Any, subject: str = "subject", **columns: Any) -> ConnectedAccount:
    values = {
        "owner_key": "site",
        "provider": "badgr",
        "connected_at": timezone.now(),
        "client_id": "c",
        "endpoint_fingerprint": "f",
        "subject_digest": subject_digest(subject),
    }
    row = ConnectedAccount(subject=subject, **values | columns)
    if "token" not in columns:
        sealed = seal_document({"access_token": "nul \x00 and 漢"}, row)
        row.token = sealed  # type: ignore[assignment]
    row.save(force_insert=True)
    return row


def at_once(accounts: Any, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in many threads at the same moment, each with a connection of its own."""
    together = threading.Barrier(WORKERS)

    def one(number: int) -> Any:
        try:
            accounts.exists()  # connects
            together.wait(30)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, range(WORKERS)))


def test_a_select_that_is_written_once_keeps_its_constants(accounts: Any) -> None:
    row = store(accounts, label="100% of '%s'")
    same = accounts.filter(label=row.label, pk=Parameter("pk", BigAutoField()))
    compiled = compiled_select(same.values_list("subject"))
    with connection.cursor() as cursor:
        cursor.execute(compiled.statement, compiled.stored({"pk": row.pk}, connection))
        assert [*cursor.fetchall()] == [("subject",)]


def claim(accounts: Any, pks: list[int], seconds: float = 60.0) -> int:
    rows = accounts.all().claim(pks, holder=uuid.uuid4(), seconds=seconds, now=timezone.now())
    return len(rows)


# --- Rows ---------------------------------------------------------------------------------------


def test_the_migrations_match_the_models(database: str) -> None:
    call_command("makemigrations", "connected_accounts", check=True, dry_run=True, verbosity=0)
    tables = connection.introspection.table_names()
    assert ConnectedAccount._meta.db_table in tables
    assert Revocation._meta.db_table in tables


def test_tables_that_refreshes_write_have_room_on_postgresql(database: str) -> None:
    """A claim writes no index where the page has room for the row's next version."""
    assert check_storage(None, databases=["default"]) == []
    if connection.vendor == "postgresql":
        table = ConnectedAccount._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RESET (fillfactor)")
        [warning] = check_storage(None, databases=["default"])
        assert warning.id == "connected_accounts.W032"
        assert table in warning.msg
        with connection.cursor() as cursor:
            cursor.execute(warning.hint)
        assert check_storage(None, databases=["default"]) == []


def test_a_token_comes_back_from_the_column(accounts: Any) -> None:
    store(accounts)
    account = accounts.get()
    assert account.open_token()["access_token"] == "nul \x00 and 漢"
    fresh = [seal_document({"access_token": f"token-{n}"}, account) for n in range(2)]
    accounts.transition(token=fresh[0])
    assert accounts.with_token().get().open_token()["access_token"] == "token-0"
    accounts.transition(token=fresh[1].reveal())
    assert accounts.with_token().get().open_token()["access_token"] == "token-1"


def test_users_whose_keys_a_collation_takes_for_the_same_share_nothing(accounts: Any) -> None:
    keys = [
        "vytxeTZskVKR7C7WgdSP3d",
        "VYTXEtzskVKR7C7WgdSP3d",
        "ada",
        "ada ",
        "\u00e4da",
        "x" * 300,
    ]
    for number, key in enumerate(keys):
        store(accounts, "the-subject", owner_key=owner_key_of(key), label=str(number))
    for number, key in enumerate(keys):
        found = accounts.for_owner(owner_key_of(key)).values_list("label", flat=True)
        assert list(found) == [str(number)]


def test_a_row_that_was_put_back_and_a_clone_are_claimed_by_nobody(accounts: Any) -> None:
    store(accounts)
    past = accounts.values().get()
    assert claim(accounts, [past["id"]], seconds=-1) == 1
    QuerySet.update(accounts.all(), **{k: v for k, v in past.items() if k != "id"})
    assert claim(accounts, [past["id"]], seconds=-1) == 0
    assert [row.pk for row in accounts.copies()] == [past["id"]]
    clone = ConnectedAccount(**{**past, "id": None, "subject": "another"})
    clone.save()
    assert accounts.get(pk=clone.pk).reason == "restored_copy"


@pytest.mark.parametrize("user", [None, 7])
def test_an_owner_has_one_row_for_each_provider_account(accounts: Any, user: int | None) -> None:
    owner = owner_key(None) if user is None else f"user:{user}"
    store(accounts, "the-subject", owner_key=owner)
    with pytest.raises(IntegrityError), transaction.atomic():
        store(accounts, "the-subject", owner_key=owner)
    store(accounts, "the-subject", owner_key=owner, provider="bitbadges")
    store(accounts, "the-subject", owner_key="user:8")
    assert accounts.count() == 3


@pytest.mark.parametrize("other", ["abc", "Abc ", "Ábc", "ABC", "Abc\u00ad", "Ａbc"])
def test_subjects_that_look_alike_to_a_collation_are_different(accounts: Any, other: str) -> None:
    store(accounts, "Abc")
    store(accounts, other)
    assert accounts.count() == 2


LOOK_ALIKE = ["client", "Client", "client ", "clíent"]


def test_client_ids_that_look_alike_to_a_collation_are_different(accounts: Any) -> None:
    ProviderClient.objects.all().delete()
    now, mine = timezone.now(), {"provider": "badgr", "owner": "user:7"}
    for name in LOOK_ALIKE:
        store_own_client(Client(name, Secret(f"of {name}")), at=now, **mine)
        store(accounts, name, owner_key="user:7", client_id=name)
    badgr = get_provider("badgr")
    find = known_clients(badgr, LOOK_ALIKE)
    for name in LOOK_ALIKE:
        [found] = find(badgr, name, "user:7")
        assert (found.client_id, found.client_secret.reveal()) == (name, f"of {name}")
        assert [found] == clients_of(badgr, name, "user:7")
        assert dependents("badgr", name) == 1
    accounts.filter(client_id="client").delete()
    Revocation.objects.all().delete()
    assert [row.client_id for row in orphaned_clients()] == ["client"]


def test_aliases_that_differ_in_case_are_different_providers(accounts: Any) -> None:
    store(accounts, provider="badgr", refresh_at=timezone.now())
    store(accounts, provider="Badgr", refresh_at=timezone.now())
    for alias in ("badgr", "Badgr"):
        [due] = accounts.at(alias).due_for_refresh(timezone.now())
        assert due.provider == get_or_create_state(alias).provider == alias
    assert ProviderState.objects.filter(provider__in=("badgr", "Badgr")).count() == 2


def test_an_account_connected_twice_at_once_is_one_row(accounts: Any) -> None:
    def connect(number: int) -> bool:
        values = {
            "connected_at": timezone.now(),
            "client_id": "c",
            "endpoint_fingerprint": "f",
            "seal_id": uuid.uuid4(),
        }
        with transaction.atomic(durable=True):
            _, created = accounts.all().mark_connected(
                user=None, owner=owner_key(None), provider="badgr", subject="s", values=values
            )
        return created

    # As a callback stores it.
    created = at_once(accounts, lambda number: retried(lambda: connect(number)))
    assert accounts.count() == 1
    assert created.count(True) == 1
    assert accounts.get().generation == WORKERS - 1


# --- Leases -------------------------------------------------------------------------------------


def test_of_many_claims_of_one_row_exactly_one_wins(accounts: Any) -> None:
    pk = store(accounts).pk
    assert sorted(at_once(accounts, lambda n: claim(accounts, [pk]))) == [0] * 19 + [1]
    assert accounts.get().generation == 1


def test_many_claims_of_many_rows_take_each_row_once(accounts: Any) -> None:
    pks = [store(accounts, str(number)).pk for number in range(50)]
    # In one order everywhere, as the drains select them.
    taken = at_once(accounts, lambda n: claim(accounts, pks[n : n + 30]))
    assert sum(taken) == 49
    assert set(accounts.values_list("generation", flat=True)) == {0, 1}


def test_a_lease_ends_by_the_databases_own_clock(
    accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = store(accounts).pk
    # A worker whose clock is a day wrong, either way.
    for days in (-1, 1):
        wrong = timezone.now() + timedelta(days=days)
        monkeypatch.setattr(timezone, "now", lambda wrong=wrong: wrong)
        assert claim(accounts, [pk], seconds=60) == 1
        assert claim(accounts, [pk]) == 0
        accounts.transition(lease_until=None, lease_holder=None)
    monkeypatch.undo()
    assert claim(accounts, [pk], seconds=-1) == 1, "a lease that is over"
    assert accounts.due_for_refresh(timezone.now()).count() == 0
    accounts.update(refresh_at=timezone.now() - timedelta(days=1))
    assert accounts.due_for_refresh(timezone.now()).count() == 1
    assert claim(accounts, [pk]) == 1
    assert accounts.due_for_refresh(timezone.now()).count() == 0


def test_the_time_zone_of_a_connection_does_not_move_a_lease(accounts: Any, database: str) -> None:
    pk = store(accounts).pk
    for zone in ("+05:00", "-08:00"):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET {'time_zone =' if database == 'mariadb' else 'TIME ZONE'} '{zone}'"
            )
        assert claim(accounts, [pk], seconds=60) == 1
        connection.close()
        assert claim(accounts, [pk]) == 0, zone
        accounts.transition(lease_until=None, lease_holder=None)


def test_a_worker_that_lost_its_lease_changes_nothing(accounts: Any) -> None:
    pk = store(accounts).pk
    claim(accounts, [pk], seconds=-1)
    first = accounts.get()
    claim(accounts, [pk])
    second = accounts.get()
    assert first.mark_refreshed(label="first") is False
    assert second.mark_refreshed(label="second") is True
    assert accounts.get().label == "second"


@pytest.mark.parametrize("max_age", [0, None])
def test_a_connection_that_is_opened_anew_waits_no_longer_for_a_lock(
    accounts: Any, database: str, max_age: int | None
) -> None:
    asked = "SHOW lock_timeout" if database == "postgresql" else "SELECT @@innodb_lock_wait_timeout"

    def wait() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(asked)
            return cursor.fetchone()[0]

    pk, held, done = store(accounts).pk, threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            accounts.filter(pk=pk).update(label="held")
            held.set()
            done.wait(60)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert held.wait(10)
        connection.settings_dict["CONN_MAX_AGE"] = max_age
        before = wait()
        try:
            with short_lock_waits(1):
                for _ in range(2):
                    began = time.monotonic()
                    with pytest.raises(OperationalError) as caught:
                        accounts.filter(pk=pk).update(label="mine")
                    assert is_lock_timeout(caught.value)
                    assert time.monotonic() - began < 10
                    connection.close()
        finally:
            done.set()
        holding.result()
    assert wait() == before
    with short_lock_waits(1):
        assert wait() in ("1s", 1)
    assert wait() == before


EAST = timezone.get_fixed_timezone(timedelta(hours=5, minutes=45))
HOSTILE = ["", " ", "NULL", "null", '"', "\\", '\\"', "{a,b}", "a,b", "'", "%s", "\\x41", "漢é\n\t"]


def test_rows_stored_together_keep_every_character(accounts: Any, now: datetime) -> None:
    rows = [store(accounts, str(n)) for n in range(len(HOSTILE))]
    sealed = [
        seal_document({"access_token": text + "x"}, row)
        for text, row in zip(HOSTILE, rows, strict=True)
    ]
    times = [None if n % 2 else now + timedelta(microseconds=n) for n in range(len(rows))]
    values = [
        {"last_error": text, "token": token, "refresh_at": at, "is_renewable": bool(at)}
        | {"scopes_granted": [text], "lease_holder": uuid.uuid5(uuid.NAMESPACE_DNS, text)}
        | {"revision": n, "expires_at": now.astimezone(EAST) + timedelta(days=n, microseconds=n)}
        for n, (text, token, at) in enumerate(zip(HOSTILE, sealed, times, strict=True))
    ]
    held = [{"id": row.pk, "subject": row.subject, "generation": 0} for row in rows]
    assert update_all(ConnectedAccount, list(zip(values, held, strict=True)))
    for row, written in zip(rows, values, strict=True):
        fresh = accounts.with_token().get(pk=row.pk)
        assert {name: getattr(fresh, name) for name in written} == written


def test_a_moment_without_a_zone_is_warned_of_in_many_rows_too(
    accounts: Any, now: datetime
) -> None:
    held = [{"id": store(accounts, str(n)).pk} for n in range(2)]
    values = [{"refresh_at": now.replace(tzinfo=None, microsecond=n)} for n in range(2)]
    with pytest.warns(RuntimeWarning, match="naive"):
        update_all(ConnectedAccount, list(zip(values, held, strict=True)))


def test_a_claimed_row_is_what_a_query_reads(accounts: Any, now: datetime) -> None:
    """Every column, times with their microseconds among them."""
    moments = ["expires_at", "refresh_at", "refreshed_at", "connected_at", "refused_since"]
    columns = {name: now - timedelta(days=n, microseconds=n) for n, name in enumerate(moments)}
    store(accounts, scopes_granted=["read", "é"], inputs={"server": "https://a.example"}, **columns)
    pks = [accounts.get().pk, 0]  # several go by the statement that is compiled
    for again in range(2):  # a statement that was compiled takes the values of each run
        holder = uuid.uuid4()
        [row] = accounts.all().claim(pks, holder=holder, seconds=-1, now=now, due_at=now)
        fresh = accounts.with_token().get()
        names = [field.attname for field in ConnectedAccount._meta.concrete_fields]
        assert {n: getattr(row, n) for n in names} == {n: getattr(fresh, n) for n in names}
        assert (row.lease_holder, row.generation) == (holder, again + 1)
        assert row.attempt_started_at == now
        assert row.expires_at.utcoffset() == timedelta(0)
    early = columns["refresh_at"] - timedelta(microseconds=1)
    assert not accounts.all().claim(pks, holder=holder, seconds=-1, now=now, due_at=early)


# --- Finding what is due ------------------------------------------------------------------------


def test_ids_are_selected_first_and_claimed_then(accounts: Any, now: datetime) -> None:
    for number in range(5):
        store(accounts, str(number), refresh_at=now - timedelta(minutes=number))
    pks = list(accounts.at("badgr").due_for_refresh(now).values_list("pk", flat=True)[:3])
    assert claim(accounts, pks) == 3
    left = accounts.due_for_refresh(now).values_list("subject", flat=True)
    assert list(left) == ["1", "0"], "the oldest went first"


def test_what_is_due_is_found_by_the_index(accounts: Any, database: str, now: datetime) -> None:
    template = store(accounts, "0")
    rows = []
    for number in range(1, 8000):  # of fewer, reading all is cheaper
        row = ConnectedAccount.objects.model(
            **{f.attname: getattr(template, f.attname) for f in template._meta.concrete_fields}
        )
        row.pk, row.subject, row.subject_digest = None, str(number), f"{number:043}"
        row.seal_id = uuid.uuid4()
        row.refresh_at = now + timedelta(minutes=number - 20)
        rows.append(row)
    accounts.bulk_create(rows, batch_size=500)
    table = connection.ops.quote_name(ConnectedAccount._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' * (database == 'mariadb')}{table}")
    due = accounts.at("badgr").due_for_refresh(now)
    assert due.count() == 20
    for query in (due.values_list("pk", flat=True)[:32], due.values_list("pk")[:1]):
        plan = query.explain()
        assert "connected_accounts_due" in plan, plan
        assert "Seq Scan" not in plan
    if database == "postgresql":
        assert not those_that_read_the_whole_table(now)


def those_that_read_the_whole_table(now: datetime) -> list[str]:
    """Of the queries of a look and a claim, as they are sent."""
    with CaptureQueriesContext(connection) as captured:
        assert is_due("badgr", now)
        pks = list(ConnectedAccount.objects.due_for_refresh(now).values_list("pk", flat=True)[:9])
        assert len(take(pks, get_provider("badgr"), now=now)) == 9
    table, found = ConnectedAccount._meta.db_table, []
    for query in captured.captured_queries:
        if f'"{table}"' in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = "\n".join(line for (line,) in cursor.fetchall())
            found += [plan] if f"Seq Scan on {table}" in plan else []
    return found


def test_the_events_of_each_day_are_counted_by_the_index_on_their_time(
    accounts: Any, database: str, now: datetime
) -> None:
    """Without the tables of time zones, which a MariaDB server need not have."""
    Event.objects.all()._raw_delete("default")
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    old = midnight - timedelta(days=60)
    for at, times in ((midnight, 1), (midnight - timedelta(microseconds=1), 2), (old, 3000)):
        event = {"kind": Kind.CONNECTED, "provider": "badgr", "owner_key": "x", "at": at}
        Event.objects.bulk_create(Event(**event) for _ in range(times))
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(Event._meta.db_table)
        cursor.execute(f"ANALYZE {'TABLE ' * (database == 'mariadb')}{table}")
    with CaptureQueriesContext(connection) as captured:
        (row,) = [row for row in activity(now) if row.provider == "badgr"]
    assert row.connects[-3:] == (0, 2, 1)
    (query,) = captured.captured_queries
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query['sql']}")
        plan = str(cursor.fetchall())
    assert "connected_accounts_event_at" in plan, plan
    assert "Seq Scan" not in plan
