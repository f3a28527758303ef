"""Databases that copy every write by themselves: what of a grant stays in the copy, and what is
done with a row that SQL brings back from there.

MariaDB is the one that ``MARIADB_URL`` names. PostgreSQL's usual settings replicate no logical
changes, so that one is a server of the tests' own.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dj_database_url
import psycopg
import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection

from bench.postgres import private_server, program
from connected_accounts.database.new_rows import insert_one
from connected_accounts.exceptions import ReauthorizationRequired, Undecryptable
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.operations.keys_in_use import SEALED
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.sealing import open_document
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.database.test_databases import as_default, server_settings
from tests.past_rows import put_back

Rows = ConnectedAccount.objects
TABLE = ConnectedAccount._meta.db_table
# Nothing is polled: a commit of the site returns when both copies have it.
LOGICAL = (
    *("wal_level=logical", "synchronous_standby_names=2(replica,archive)"),
    "synchronous_commit=local",  # the site's alone waits, and once both listen
)
EVERY_CHANGE, NO_DELETES = "insert, update, delete, truncate", "insert, update"


@dataclass
class Copy:
    """Where a database keeps what was written to its tables."""

    kind: str
    settings: dict[str, Any] | None = None  # of another database; None: beside the rows themselves

    def rows(self, pk: int) -> list[ConnectedAccount]:
        """The copies of one row, the oldest first."""
        if self.settings is None:
            return self._read(f"{TABLE} FOR SYSTEM_TIME ALL", pk, "ROW_END")
        with as_default(self.settings):
            return self._read(TABLE, pk, "id")

    def _read(self, where: str, pk: int, order: str) -> list[ConnectedAccount]:
        statement = f"SELECT * FROM {where} WHERE id = %s ORDER BY {order}"
        return list(Rows.raw(statement, [pk]))


@pytest.fixture(scope="module")
def versioned(django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A migrated database of MariaDB with system-versioned tables; the token's column is left out
    of them as far as MariaDB does that."""
    server, name = server_settings("mariadb"), f"copies_{uuid.uuid4().hex[:12]}"
    with django_db_blocker.unblock():
        with as_default(server), connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        try:
            with as_default({**server, "NAME": name}), connection.cursor() as cursor:
                call_command("migrate", verbosity=0)
                cursor.execute(f"ALTER TABLE {TABLE} ADD SYSTEM VERSIONING")
                cursor.execute("SET system_versioning_alter_history = KEEP")
                cursor.execute(
                    f"ALTER TABLE {TABLE} MODIFY token LONGBLOB NULL WITHOUT SYSTEM VERSIONING"
                )
            yield {**server, "NAME": name}
        finally:
            with as_default(server), connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def replicated(django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A migrated database of PostgreSQL with two that subscribe to it: ``replica`` to every change,
    ``archive`` to all but deletes."""
    try:
        program("initdb")
    except SystemExit:
        pytest.skip("service: the programs of a PostgreSQL server are not installed")
    with private_server(*LOGICAL) as url, django_db_blocker.unblock():
        server = dict(dj_database_url.parse(url))
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE site")
            with as_default({**server, "NAME": "site"}):
                call_command("migrate", verbosity=0)
            subscribers = {"replica": EVERY_CHANGE, "archive": NO_DELETES}
            for name in subscribers:  # before any of them connects to their template
                admin.execute(f"CREATE DATABASE {name} TEMPLATE site")
            for name, publish in subscribers.items():
                _subscribe(url, name, publish)
            admin.execute("ALTER DATABASE site SET synchronous_commit = remote_apply")
        yield {**server, "NAME": "site"}


def _subscribe(url: str, name: str, publish: str) -> None:
    base = url.removesuffix("/postgres")
    with psycopg.connect(f"{base}/site", autocommit=True) as site:
        site.execute(f"CREATE PUBLICATION {name} FOR ALL TABLES WITH (publish = '{publish}')")
        # In one server, CREATE SUBSCRIPTION would wait for its own transaction to end.
        site.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
    with psycopg.connect(f"{base}/{name}", autocommit=True) as copy:
        copy.execute(
            f"CREATE SUBSCRIPTION {name} CONNECTION '{base}/site' PUBLICATION {name}"
            " WITH (create_slot = false, copy_data = false, synchronous_commit = local)"
        )


@pytest.fixture(
    params=[
        "versioned",
        pytest.param("replica", marks=pytest.mark.postgres),
        pytest.param("archive", marks=pytest.mark.postgres),
    ]
)
def copy(request: pytest.FixtureRequest) -> Iterator[Copy]:
    kind = request.param
    site = request.getfixturevalue("versioned" if kind == "versioned" else "replicated")
    with as_default(site):
        yield Copy(kind, None if kind == "versioned" else {**site, "NAME": kind})
        for model in {model for model, _ in SEALED}:
            model._base_manager.all()._raw_delete("default")


@pytest.fixture
def account(copy: Copy, badgr: FakeProvider) -> ConnectedAccount:
    name = uuid.uuid4().hex
    user = get_user_model()._default_manager.create(username=name)
    return connect_account(badgr, user, subject=name)


def refuses(row: ConnectedAccount, badgr: FakeProvider) -> None:
    before = len(badgr.requests)
    for use in (get_access_token, refresh):
        with pytest.raises(ReauthorizationRequired) as caught:
            use(Rows.get(pk=row.pk))
        assert caught.value.code == "restored_copy"
    assert len(badgr.requests) == before
    assert Rows.get(pk=row.pk).reason == "restored_copy"


def columns(row: ConnectedAccount) -> dict[str, Any]:
    return {field.name: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_only_a_copy_of_every_change_loses_the_token_with_a_disconnect(
    account: ConnectedAccount, copy: Copy
) -> None:
    disconnect(Rows.get(pk=account.pk))
    revoke_pending()
    assert not Rows.filter(pk=account.pk).exists()
    assert Revocation.objects.latest("pk").token is None
    kept = copy.rows(account.pk)
    if copy.kind == "replica":
        assert kept == []
        return
    # Also where the column is WITHOUT SYSTEM VERSIONING: that only spares a row of history where
    # nothing else has changed.
    assert open_document(kept[-1].token, kept[-1])["refresh_token"]


def test_a_rotation_of_keys_reaches_what_is_replicated_and_no_history(
    account: ConnectedAccount, copy: Copy, settings: Any
) -> None:
    refresh(account)
    old, new = settings.FIELD_ENCRYPTION_KEY[0], Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEY = [new, old]
    call_command("rotate_token_keys", verbosity=0)
    settings.FIELD_ENCRYPTION_KEY = [new]
    assert get_access_token(account)
    kept = copy.rows(account.pk)
    first, last = kept[0], kept[-1]
    assert open_document(last.token, last)
    if copy.kind != "versioned":
        return
    with pytest.raises(Undecryptable) as caught:
        open_document(first.token, first)
    assert caught.value.code == "key_missing"
    settings.FIELD_ENCRYPTION_KEY = [old]
    assert open_document(first.token, first)


def test_what_was_deleted_before_a_rotation_stays_under_the_old_key(
    account: ConnectedAccount, copy: Copy, settings: Any
) -> None:
    disconnect(Rows.get(pk=account.pk))
    old, new = settings.FIELD_ENCRYPTION_KEY[0], Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEY = [new, old]
    call_command("rotate_token_keys", verbosity=0)
    settings.FIELD_ENCRYPTION_KEY = [new]
    for row in copy.rows(account.pk):
        with pytest.raises(Undecryptable, match="key"):
            open_document(row.token, row)
    assert bool(copy.rows(account.pk)) == (copy.kind != "replica")


def test_a_row_from_before_a_refresh_that_comes_back_from_there_is_refused(
    account: ConnectedAccount, copy: Copy, badgr: FakeProvider
) -> None:
    past = copy.rows(account.pk)[-1]
    refresh(account)
    put_back(columns(past))
    refuses(account, badgr)
    assert badgr.grants[0].is_alive


def test_a_row_that_was_disconnected_and_comes_back_from_there_is_refused(
    account: ConnectedAccount, copy: Copy, badgr: FakeProvider
) -> None:
    past = copy.rows(account.pk)[-1]
    disconnect(Rows.get(pk=account.pk))
    revoke_pending()
    past = (copy.rows(account.pk) or [past])[-1]
    if copy.settings:  # the archive's row would be in the way of its own return
        with as_default({**copy.settings, "NAME": "archive"}):
            Rows.filter(pk=past.pk)._raw_delete("default")
    insert_one(ConnectedAccount, columns(past))
    refuses(account, badgr)


def test_a_token_from_there_opens_in_no_other_row(
    account: ConnectedAccount, copy: Copy, badgr: FakeProvider
) -> None:
    past = copy.rows(account.pk)[-1]
    user = get_user_model()._default_manager.create(username=uuid.uuid4().hex)
    other = connect_account(badgr, user, subject="other")
    with pytest.raises(Undecryptable) as caught:
        open_document(past.token, other)
    assert caught.value.code == "foreign"


def test_mariadb_empties_a_history_when_told_to(versioned: dict[str, Any], badgr: Any) -> None:
    with as_default(versioned):
        name = uuid.uuid4().hex
        user = get_user_model()._default_manager.create(username=name)
        account = connect_account(badgr, user, subject=name)
        disconnect(Rows.get(pk=account.pk))
        history = Copy("versioned")
        assert history.rows(account.pk)
        connection.cursor().execute(f"DELETE HISTORY FROM {TABLE}")
        assert not history.rows(account.pk)
