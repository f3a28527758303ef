"""The operator's habits with connections: a locked row, a pooler, a pool of two, tenants, and an
isolation level at which transactions fail.

``python -m bench.prove_connections [ACCOUNTS]``, on PostgreSQL with PgBouncer. Threads with
connections of their own; the fake provider counts, and takes a moment for each answer.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.servers import Server, own_database, program
from bench.stage import machine, scratch, table, tell

LOCKED_FOR: Final = 12.0  # seconds, as in the report that this answers
ANSWER_TAKES: Final = 0.05  # seconds
Row = dict[str, Any]


class PgBouncer(Server):
    """In transaction mode, with three sessions of the server's."""

    def prepare(self) -> None:
        from django.db import connection

        known = connection.settings_dict
        server = {"host": known["HOST"], "port": known["PORT"] or 5432}
        server |= {"user": known["USER"], "password": known["PASSWORD"]}
        told = " ".join(f"{name}={value}" for name, value in server.items() if value)
        self.folder.joinpath("ini").write_text(
            f"[databases]\n* = {told}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 3\n"
        )
        if os.getuid() == 0:  # which it refuses to be run by
            shutil.chown(self.folder, "nobody")

    def command(self) -> list[str]:
        found = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        as_nobody = ["-u", "nobody"] if os.getuid() == 0 else []
        return [found, *as_nobody, str(self.folder / "ini")]


@contextmanager
def settings_of_connections(**values: Any) -> Iterator[None]:
    """For all connections that are opened meanwhile."""
    from django.db import connection

    known = {name: connection.settings_dict[name] for name in values}
    connection.close()
    connection.settings_dict.update(values)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(known)


def make_due(fake: Any, count: int) -> list[Any]:
    """New accounts, whose tokens have expired and are due."""
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.testing import connect_account

    ConnectedAccount.objects.all()._raw_delete("default")
    made = []
    for number in range(count):
        name = f"person-{time.monotonic_ns()}-{number}"
        person = get_user_model().objects.create(username=name)
        made.append(connect_account(fake, person, subject=name))
    now = timezone.now()
    ConnectedAccount.objects.update(refresh_at=now, expires_at=now)
    return made


def spent_twice(fake: Any) -> int:
    return sum(times > 1 for times in fake.presentations.values())


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    from django.db import connection

    def one(number: int) -> Any:
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def locked_row(fake: Any, accounts: int, seconds: float) -> Row:
    """A drain, with CONN_MAX_AGE 0, and one row that the site locks when it has been claimed."""
    from django.db import transaction

    from connected_accounts import conf
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.refresh.drain import drain

    rows = make_due(fake, accounts)
    mine = ConnectedAccount.objects.filter(pk=rows[0].pk)

    def hold(number: int) -> int:
        while not mine.exclude(lease_holder=None).exists():
            time.sleep(0.001)
        with transaction.atomic():
            mine.select_for_update().get()
            ends = time.monotonic() + seconds
            others = ConnectedAccount.objects.exclude(refreshed_at=None)
            while time.monotonic() < ends and others.count() < accounts - 1:
                time.sleep(0.1)
            return int(others.count())

    def work(number: int) -> int:
        return drain("badgr").refreshed if number else hold(number)

    while_locked, refreshed = in_threads(2, work)
    ended = ConnectedAccount.objects.exclude(reason="").count()
    assert refreshed == accounts, refreshed
    in_flight = 2 * int(conf.get("REFRESH_CONCURRENCY"))  # when it was locked
    assert while_locked > min(2 * in_flight, accounts - 2), while_locked
    assert (ended, spent_twice(fake)) == (0, 0)
    return {"due": accounts, "refreshed while one row was locked": while_locked, "ended": ended}


def pooler(fake: Any, accounts: int, folder: Path) -> Row:
    """Drains through PgBouncer, and what other clients of it see of their settings meanwhile."""
    import psycopg
    from django.db import connection

    from connected_accounts.refresh.drain import drain

    make_due(fake, accounts)
    server, over, seen = PgBouncer(folder / "pgbouncer"), threading.Event(), list[str]()

    def look(number: int) -> None:
        options: Row = {"autocommit": True, "prepare_threshold": None, "user": "site"}
        where = {"host": "127.0.0.1", "port": server.port}
        name = connection.settings_dict["NAME"]
        with psycopg.connect(**where, **options, dbname=name) as own:
            while not over.is_set():
                row = own.execute("SHOW lock_timeout").fetchone()
                seen.append(row[0] if row else "")

    def work(number: int) -> int:
        if number < 3:
            look(number)
            return 0
        try:
            return drain("badgr").refreshed
        finally:
            time.sleep(1)  # and what is seen afterwards
            over.set()

    try:
        with settings_of_connections(
            HOST="127.0.0.1", PORT=server.port, DISABLE_SERVER_SIDE_CURSORS=True
        ):
            refreshed = sum(in_threads(4, work))
    finally:
        server.stop()
    leaked = sum(value != "0" for value in seen)
    assert (refreshed, leaked) == (accounts, 0)
    return {"refreshed": refreshed, "looks of other clients": len(seen), "with our wait": leaked}


def pool_of_two(fake: Any, requests: int = 32) -> Row:
    """Views in transactions that refresh, eight at a time, with two connections in Django's
    pool."""
    from django.db import connection, transaction

    from connected_accounts.services import get_access_token

    rows = make_due(fake, requests)
    waiting = iter(rows)
    options = {"pool": {"min_size": 1, "max_size": 2, "timeout": 30}}

    def views(number: int) -> int:
        served = 0
        for row in waiting:
            with transaction.atomic():
                row.refresh_from_db()
                served += bool(get_access_token(row))
            connection.close()
        return served

    with settings_of_connections(OPTIONS=options, CONN_MAX_AGE=0):
        served = sum(in_threads(8, views))
        connection.close_pool()  # type: ignore[attr-defined]
    assert served == requests
    return {"requests": requests, "at a time": 8, "in the pool": 2, "served": served}


def tenants(fake: Any, rounds: int) -> Row:
    """Two schemas whose accounts have the same numbers, used in turn inside transactions."""
    from django.db import connection, transaction
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token

    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        for schema in ("t1", "t2"):
            cursor.execute(f"CREATE SCHEMA {schema}")
            for name in tables:
                like = f'(LIKE public."{name}" INCLUDING ALL)'
                cursor.execute(f'CREATE TABLE {schema}."{name}" {like}')
    owners: dict[str, str] = {}
    for schema in ("t1", "t2"):
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {schema}")
        [account] = make_due(fake, 1)
        owners[schema] = account.subject
        assert account.pk == 1, account.pk
    others = 0
    for _ in range(rounds):
        for schema, subject in owners.items():
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL search_path TO {schema}")
                ConnectedAccount.objects.update(expires_at=timezone.now())
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL search_path TO {schema}")
                token = get_access_token(ConnectedAccount.objects.get(pk=1))
            others += fake._server.by_access_token(token).subject != subject
    with connection.cursor() as cursor:
        cursor.execute("SET search_path TO public")
    assert others == 0
    return {"refreshes inside transactions": 2 * rounds, "of another tenant": others}


def serializable(fake: Any, accounts: int) -> Row:
    """Four drains at once at SERIALIZABLE."""
    from psycopg import IsolationLevel

    from connected_accounts.refresh.drain import drain

    make_due(fake, accounts)
    with settings_of_connections(OPTIONS={"isolation_level": IsolationLevel.SERIALIZABLE}):
        done = in_threads(4, lambda number: drain("badgr").refreshed)
    assert sum(done) == accounts, done
    twice = spent_twice(fake)
    assert twice == 0
    return {"due": accounts, "by each drain": ", ".join(map(str, done)), "spent twice": twice}


def start(database: str) -> None:
    os.environ |= {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "bench.settings"}
    import django  # needs the variables above
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    connection.settings_dict.update(CONN_MAX_AGE=0, OPTIONS={})
    call_command("migrate", verbosity=0)


def main() -> None:
    accounts = int(sys.argv[1]) if sys.argv[1:] else 300
    program("psql")  # PostgreSQL is installed
    with scratch() as folder, own_database("postgresql", folder) as database:
        start(database)
        from connected_accounts.testing import FakeProvider

        tell(machine())
        aside = Path(tempfile.mkdtemp())  # which PgBouncer's own user can enter
        aside.chmod(0o755)
        with FakeProvider("badgr") as fake:
            own = fake._dialect.token

            def slow(seen: Any) -> Any:
                time.sleep(ANSWER_TAKES)
                return own(seen)

            fake._dialect.token = slow  # type: ignore[method-assign]
            table([locked_row(fake, accounts, LOCKED_FOR)])
            table([pooler(fake, accounts, aside)])
            table([pool_of_two(fake)])
            table([tenants(fake, 20)])
            table([serializable(fake, accounts)])
        shutil.rmtree(aside)


if __name__ == "__main__":
    main()
