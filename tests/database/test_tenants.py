"""Sites whose tenants share a database, on PostgreSQL: nobody is given another tenant's token, and
a connection of our own sees what the site's does, or says why it cannot."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from bench.servers import own_database
from connected_accounts.exceptions import ConfigurationError, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Deployment
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.signals import account_refreshed
from connected_accounts.testing import FakeProvider, connect_account
from connected_accounts.use import tokens
from tests.database.roles import execute, site_role
from tests.database.site_of_its_own import run_site
from tests.services import service

pytestmark = [pytest.mark.postgres]


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[str]:
    """The URL of a database of the test's own."""
    with own_database("postgresql", tmp_path, service("postgresql")) as url:
        yield url


@pytest.mark.parametrize(
    ("layout", "hook"),
    [
        ("tenant", "connected_accounts.contrib.tenants.same_tenant"),
        ("shared", ""),
        ("both", ""),
    ],
)
def test_each_tenant_of_a_site_with_django_tenants_is_given_its_own_tokens(
    empty_database: str, layout: str, hook: str
) -> None:
    run_site("tenant_site", empty_database, layout, hook)


# --- Without a package --------------------------------------------------------------------------


@pytest.fixture
def postgresql(transactional_db: None) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no PostgreSQL")


@pytest.fixture
def schema(postgresql: None) -> Iterator[str]:
    """A second schema with the same tables."""
    tables = connection.introspection.table_names()
    execute("CREATE SCHEMA tenant")
    execute(*[f'CREATE TABLE tenant."{n}" (LIKE public."{n}" INCLUDING ALL)' for n in tables])
    yield "tenant"
    execute("SET search_path TO public", "DROP SCHEMA tenant CASCADE")


@pytest.fixture
def person(django_user_model: Any, badgr: FakeProvider) -> Callable[[str], ConnectedAccount]:
    """One with an expired account of the number 77."""

    def make(name: str) -> ConnectedAccount:
        user = django_user_model.objects.create(pk=77, username=name)
        table = ConnectedAccount._meta.db_table
        execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 77, false)")
        connect_account(badgr, user, subject=name)
        ConnectedAccount.objects.update(expires_at=timezone.now())
        return ConnectedAccount.objects.get(pk=77)

    return make


@pytest.mark.parametrize("bound", ["session", "transaction"])
@pytest.mark.parametrize("use", [get_access_token, refresh, lambda a: get_session(a).get("x")])
def test_the_schema_of_the_sites_connection_is_used(
    schema: str, person: Any, badgr: FakeProvider, bound: str, use: Callable[[Any], Any]
) -> None:
    person("of-the-default-schema")
    execute(f"SET search_path TO {schema}")
    account = person("of-the-tenant")
    if bound == "transaction":
        execute("SET search_path TO public")
    with transaction.atomic():
        execute(f"SET LOCAL search_path TO {schema}")
        use(account)
        token = get_access_token(account)
    assert badgr._server.by_access_token(token).subject == "of-the-tenant"
    assert list(badgr.presentations.values()) == [1]


def test_each_schema_in_which_one_process_connects_has_its_owners_name(
    schema: str, person: Any, app_settings: Any
) -> None:
    app_settings(SITE_ID="production")
    person("of-the-default-schema")
    execute(f"SET search_path TO {schema}")
    person("of-the-tenant")
    assert [row.site_id for row in Deployment.objects.all()] == ["production"]


def another_schema(connection: Any) -> Callable[[Any], None]:
    """A hook that is wrong."""

    def prepare(other: Any) -> None:
        other.settings_dict = {**other.settings_dict, "NAME": "postgres"}

    return prepare


def test_a_connection_that_finds_other_tables_is_not_used(
    postgresql: None, person: Any, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(PREPARE_CONNECTION=f"{__name__}.another_schema")
    account = person("ada")
    for use in (get_access_token, refresh):
        with transaction.atomic(), pytest.raises(ConfigurationError) as caught:
            use(account)
        assert caught.value.code == "other_tables"
        assert "PREPARE_CONNECTION" in str(caught.value)
    assert badgr.presentations == {}
    assert get_access_token(account)  # outside of a transaction nothing is in the way


def test_an_account_of_the_same_transaction_is_refused_until_its_commit(
    postgresql: None, make_account: Any, badgr: FakeProvider
) -> None:
    with transaction.atomic():
        account = make_account(expires_at=timezone.now())
        with pytest.raises(ConfigurationError) as caught:
            get_access_token(account)
        assert caught.value.code == "unseen_row"
    assert badgr.presentations == {}


# --- Row-level security -------------------------------------------------------------------------


@pytest.fixture
def secured(postgresql: None, person: Any) -> Iterator[ConnectedAccount]:
    """The site's role sees the accounts of the user whose number ``app.user`` holds."""
    account, table = person("ada"), ConnectedAccount._meta.db_table
    execute(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON {table} USING (user_id::text = current_setting('app.user', true))",
    )
    try:
        with site_role():
            yield account
    finally:
        execute(f"DROP POLICY own ON {table}", f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def same_user(connection: Any) -> Callable[[Any], None]:
    """The hook of docs/how-to/tenants.md."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('app.user', true)")
        [user] = cursor.fetchone()

    def prepare(other: Any) -> None:
        with other.cursor() as cursor:
            cursor.execute("SELECT set_config('app.user', %s, true)", [user])

    return prepare


@pytest.mark.parametrize("hook", [None, f"{__name__}.same_user"])
@pytest.mark.parametrize("for_transaction", ["false", "true"])
def test_row_level_security_is_carried_over_or_said_to_be_in_the_way(
    secured: ConnectedAccount,
    badgr: FakeProvider,
    app_settings: Any,
    hook: str | None,
    for_transaction: str,
) -> None:
    app_settings(PREPARE_CONNECTION=hook)
    with transaction.atomic():
        execute(f"SELECT set_config('app.user', '77', {for_transaction})")
        if hook is not None:
            token = get_access_token(secured)
            assert badgr._server.by_access_token(token).subject == "ada"
        else:
            for use in (get_access_token, refresh):
                with pytest.raises(ConfigurationError) as caught:
                    use(secured)
                assert caught.value.code == "unseen_row"
                assert "row-level security" in str(caught.value)
    assert len(badgr.presentations) == (hook is not None)


def test_an_account_that_was_disconnected_meanwhile_is_not_said_to_be_hidden(
    postgresql: None, person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, read = person("ada"), tokens._read

    def read_and_lose(*args: Any, **kwargs: Any) -> ConnectedAccount:
        row = read(*args, **kwargs)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lose).result()
        return row

    def lose() -> None:
        ConnectedAccount.objects.all().delete()
        connection.close()

    monkeypatch.setattr(tokens, "_read", read_and_lose)
    with transaction.atomic(), pytest.raises(ReauthorizationRequired, match="disconnected"):
        get_access_token(account)


# --- Signals ------------------------------------------------------------------------------------


def test_a_receiver_takes_part_in_the_sites_own_transaction(
    postgresql: None, person: Any, django_user_model: Any
) -> None:
    account = person("ada")
    mine = django_user_model.objects.filter(pk=77)

    def synced(sender: Any, account: ConnectedAccount, **kwargs: Any) -> None:
        mine.update(last_name="synced")

    account_refreshed.connect(synced)
    try:
        with transaction.atomic():
            mine.update(first_name="Ada")
            get_access_token(account)
    finally:
        account_refreshed.disconnect(synced)
    assert mine.values_list("first_name", "last_name").get() == ("Ada", "synced")


def test_a_receiver_whose_statement_fails_does_not_fail_the_sites_transaction(
    postgresql: None, person: Any, django_user_model: Any
) -> None:
    account = person("ada")

    def broken(sender: Any, account: ConnectedAccount, **kwargs: Any) -> None:
        execute("SELECT 1 FROM no_such_table")

    account_refreshed.connect(broken)
    try:
        with transaction.atomic():
            get_access_token(account)
            django_user_model.objects.filter(pk=77).update(first_name="Ada")
    finally:
        account_refreshed.disconnect(broken)
    assert django_user_model.objects.get(pk=77).first_name == "Ada"
