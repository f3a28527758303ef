"""Connections that are shared: PgBouncer in transaction mode, and Django's own pool."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.database.roles import connections_as, execute, site_role
from tests.journeys import at_once

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

CONFIG = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
logfile = {folder}/log
"""


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no PostgreSQL")


@pytest.fixture
def make_accounts(django_user_model: Any, badgr: FakeProvider) -> Callable[[int], list[Any]]:
    """Expired ones, that are due."""

    def make(count: int) -> list[ConnectedAccount]:
        people = [django_user_model.objects.create(username=f"person-{n}") for n in range(count)]
        made = [connect_account(badgr, person, subject=person.username) for person in people]
        ConnectedAccount.objects.update(refresh_at=timezone.now(), expires_at=timezone.now())
        return made

    return make


# --- PgBouncer ----------------------------------------------------------------------------------


@pytest.fixture
def pgbouncer() -> Iterator[int]:
    """The port of one that shares three sessions of the test's server between transactions."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("service: pgbouncer is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = connection.settings_dict
    server = {"host": known["HOST"], "port": known["PORT"] or 5432}
    server |= {"user": known["USER"], "password": known["PASSWORD"]}
    told = " ".join(f"{name}={value}" for name, value in server.items() if value)
    folder = Path(tempfile.mkdtemp())  # pytest's own cannot be entered by others
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(server=told, port=port, folder=folder))
    command = [program, str(config)]
    if os.getuid() == 0:  # which it refuses to be run by
        shutil.chown(folder, "nobody")
        command[1:1] = ["-u", "nobody"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                break
            assert running.poll() is None, config.with_name("log").read_text()
            threading.Event().wait(0.05)
        yield port
    finally:
        running.terminate()
        running.wait(10)
        shutil.rmtree(folder)


class OtherClients:
    """Three clients of the same pooler that look at their settings over and over."""

    def __init__(self, port: int) -> None:
        self.port, self.done, self.seen = port, threading.Event(), list[tuple[Any, ...]]()

    def look(self) -> None:
        address = {"host": "127.0.0.1", "port": self.port, "dbname": connection_name()}
        options: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
        with psycopg.connect(**address, user="site", **options) as own:
            while not self.done.is_set():
                row = own.execute(
                    "SELECT current_setting('lock_timeout'), current_setting('search_path')"
                ).fetchone()
                assert row is not None
                self.seen.append(row)

    def __enter__(self) -> "OtherClients":
        self.threads = [threading.Thread(target=self.look) for _ in range(3)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(30)


def connection_name() -> str:
    return str(connection.settings_dict["NAME"])


def test_behind_a_pooler_no_other_client_gets_our_waits(
    make_accounts: Any, badgr: FakeProvider, pgbouncer: int
) -> None:
    accounts = make_accounts(40)
    own = badgr._dialect.token

    def slow(seen: Any) -> Any:
        threading.Event().wait(0.02)
        return own(seen)

    badgr._dialect.token = slow  # type: ignore[method-assign]
    execute("CREATE SCHEMA aside")
    pooled = {"HOST": "127.0.0.1", "PORT": pgbouncer, "DISABLE_SERVER_SIDE_CURSORS": True}
    with connections_as(**pooled), OtherClients(pgbouncer) as others:
        assert vars(drain("badgr")) == {"refreshed": 40, "failed": 0}
        for account in accounts[:5]:
            with transaction.atomic():
                execute("SET LOCAL search_path TO aside, public")
                refresh(account)
        after = len(others.seen)
        ends = time.monotonic() + 20
        while len(others.seen) < after + 100 and time.monotonic() < ends:
            threading.Event().wait(0.01)
    assert len(others.seen) > after
    assert set(others.seen) == {("0", '"$user", public')}
    assert set(badgr.presentations.values()) == {1}


# --- Django's pool ------------------------------------------------------------------------------


@pytest.fixture
def pool_of_two() -> Iterator[None]:
    options = connection.settings_dict["OPTIONS"]
    pooled = {**options, "pool": {"min_size": 1, "max_size": 2, "timeout": 20}}
    with connections_as(OPTIONS=pooled, CONN_MAX_AGE=0):
        yield
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("pool_of_two")
def test_requests_that_refresh_in_transactions_do_not_wait_for_each_others_connections(
    make_accounts: Any, badgr: FakeProvider
) -> None:
    accounts = iter(make_accounts(8))
    connection.close()

    def view() -> str:
        with transaction.atomic():  # ATOMIC_REQUESTS
            mine = ConnectedAccount.objects.get(pk=next(accounts).pk)
            return get_access_token(mine)

    tokens = at_once(view, 8)
    assert len(set(tokens)) == 8
    assert {badgr._server.by_access_token(token) is not None for token in tokens} == {True}


def test_a_database_that_gives_no_second_connection_is_named(
    make_accounts: Any, badgr: FakeProvider
) -> None:
    [account] = make_accounts(1)
    with site_role("CONNECTION LIMIT 1"):
        for use in (get_access_token, refresh):
            with transaction.atomic():
                ConnectedAccount.objects.count()
                with pytest.raises(ProviderUnavailable) as caught:
                    use(account)
                assert (caught.value.code, caught.value.sent) == ("no_connection", False)
        assert badgr.presentations == {}
        assert get_access_token(account)
