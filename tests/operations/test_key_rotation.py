"""New keys: everything is sealed with the newest one, beside refreshes, and what needs an old one
is counted."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from connected_accounts.checks import check_keys
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    ProviderClient,
    Revocation,
)
from connected_accounts.operations import key_rotation
from connected_accounts.operations.key_rotation import rekey
from connected_accounts.operations.keys_in_use import SEALED, count_by_key, sealed_rows
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.sealing import key_id, key_id_of, seal
from connected_accounts.services import disconnect, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, start

pytestmark = pytest.mark.django_db

NEW_KEY = "YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="
STRANGE_KEY = "YS1rZXktdGhhdC1ub2JvZHktaGFzLTAxMjM0NTY3ODk="


@pytest.fixture
def accounts(client_of_ada: Client, badgr: FakeProvider) -> list[ConnectedAccount]:
    return [connect(client_of_ada, badgr, subject=f"person-{n}") for n in range(3)]


def run(command: str = "rotate_token_keys", *arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


def sealed_with() -> set[str]:
    heads = sealed_rows(ConnectedAccount, "token").values_list("sealed_by", flat=True)
    return {str(key_id_of(head)) for head in heads}


def stored_tokens() -> list[dict[str, Any]]:
    return [row.open_token() for row in ConnectedAccount.objects.with_token().order_by("pk")]


def test_everything_is_sealed_with_the_new_key_and_the_old_one_can_go(
    accounts: list[ConnectedAccount], client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    disconnect(accounts.pop())
    start(client_of_ada)
    client = ProviderClient(provider="badgr", client_id="c", created_at=timezone.now())
    client.client_secret = seal("its-secret", purpose="p", bound_to=client.seal_id)
    client.save()
    old = settings.FIELD_ENCRYPTION_KEY[0]
    tokens = stored_tokens()
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, old]
    # Two accounts, one revocation, four authorization requests, one client.
    assert run("rotate_token_keys", "--dry-run") == f"key {key_id(old)}: 8 values\nsealed anew: 0\n"
    assert sealed_with() == {key_id(old)}
    assert "sealed anew: 8" in run()
    assert count_by_key() == {key_id(NEW_KEY): 8}
    assert run() == f"key {key_id(NEW_KEY)}: 8 values\nsealed anew: 0\n"
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY]
    assert stored_tokens() == tokens
    refresh(accounts[0])
    revoke_pending()
    assert Revocation.objects.get().outcome == "revoked"


def test_every_sealed_column_is_among_those_that_are_sealed_anew() -> None:
    from django.apps import apps

    from connected_accounts.sealing import SealedTextField

    found = {
        (model, field.name)
        for model in apps.get_app_config("connected_accounts").get_models()
        for field in model._meta.fields
        if isinstance(field, SealedTextField)
    }
    assert found == set(SEALED)


def test_a_run_that_was_interrupted_goes_on_where_it_stopped(
    accounts: list[ConnectedAccount], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    AuthorizationRequest.objects.all().delete()
    monkeypatch.setattr(key_rotation, "BATCH", 1)
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, *settings.FIELD_ENCRYPTION_KEY]
    steps = rekey()
    next(steps), next(steps), next(steps)
    steps.close()
    assert count_by_key()[key_id(NEW_KEY)] == 2
    *_, figures = rekey()
    assert (figures.to_do, figures.seen, figures.resealed) == (1, 1, 1)
    assert sealed_with() == {key_id(NEW_KEY)}


def test_what_is_written_comes_in_few_statements(
    make_account: Any, settings: Any, django_assert_max_num_queries: Any
) -> None:
    for _ in range(60):
        make_account()
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, *settings.FIELD_ENCRYPTION_KEY]
    with django_assert_max_num_queries(20):
        *_, figures = rekey()
    assert figures.resealed == 60


def test_a_refresh_in_flight_stores_its_grant_over_the_resealed_one(
    accounts: list[ConnectedAccount], badgr: FakeProvider, settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, *settings.FIELD_ENCRYPTION_KEY]
    held = ConnectedAccount.objects.filter(pk=accounts[0].pk)
    held.claim([accounts[0].pk], holder=accounts[0].seal_id, seconds=60, now=timezone.now())
    holder = held.with_token().get()
    assert "run again" not in run()
    new = seal('["the new grant"]', purpose="p", bound_to=1)
    assert holder.mark_refreshed(token=new)
    assert held.with_token().get().token == new


def test_a_refresh_between_reading_and_writing_is_not_undone(
    accounts: list[ConnectedAccount], badgr: FakeProvider, settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, *settings.FIELD_ENCRYPTION_KEY]
    write = key_rotation._rekey_batch

    def refresh_and_write(model: Any, *arguments: Any) -> None:
        if model is ConnectedAccount:
            refresh(accounts[0])
        write(model, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_rotation, "_rekey_batch", refresh_and_write)
        *_, figures = rekey()
    assert figures.busy == 1
    newest = {grant.refresh_token for grant in badgr.grants}
    assert {token["refresh_token"] for token in stored_tokens()} == newest


def test_a_missing_key_is_said_and_nothing_is_touched(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY]
    before = list(ConnectedAccount.objects.order_by("pk").values())
    for arguments in (["--dry-run"], []):
        with pytest.raises(CommandError, match="6 values cannot be opened"):
            run("rotate_token_keys", *arguments)
    assert list(ConnectedAccount.objects.order_by("pk").values()) == before


def test_a_bar_shows_how_far_it_is_to_one_who_watches(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, *settings.FIELD_ENCRYPTION_KEY]
    out = Terminal()
    call_command("rotate_token_keys", stdout=out)
    assert "] 0 of 6\r" in out.getvalue()
    assert f"[{'#' * 40}] 6 of 6\r\n" in out.getvalue()
    assert "0 of 0" in run("rotate_token_keys", verbosity=2)


# --- What still needs an old key


def test_status_and_check_say_how_many_values_need_an_old_key(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    old, sealed_by_old = settings.FIELD_ENCRYPTION_KEY[0], 6
    assert check_keys(None, databases=["default"]) == []
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, old]
    [warning] = check_keys(None, databases=["default"])
    assert warning.id == "connected_accounts.W010"
    assert f"{sealed_by_old} stored values" in warning.msg
    assert key_id(old) in warning.msg
    assert f"key {key_id(old)}: {sealed_by_old} values, an old key" in run("connections_status")
    document = json.loads(run("connections_status", "--json"))
    assert document["keys"] == {key_id(old): {"values": sealed_by_old, "state": "old"}}
    assert document["troubles"] == []
    run()
    assert check_keys(None, databases=["default"]) == []
    assert f"key {key_id(NEW_KEY)}: {sealed_by_old} values\n" in run("connections_status")


def test_status_and_check_say_how_many_values_no_key_opens(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    lost = key_id(settings.FIELD_ENCRYPTION_KEY[0])
    settings.FIELD_ENCRYPTION_KEY = [STRANGE_KEY]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE connected_accounts_connectedaccount SET token = 'plain-text' WHERE id = %s",
            [accounts[0].pk],
        )
    [warning] = check_keys(None, databases=["default"])
    assert warning.id == "connected_accounts.W011"
    assert "6 stored values" in warning.msg
    assert lost in warning.msg
    assert "plain" not in warning.msg
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("connections_status", "--json", stdout=out)
    document = json.loads(out.getvalue())
    assert document["keys"] == {
        "damaged": {"values": 1, "state": "missing"},
        lost: {"values": 5, "state": "missing"},
    }
    assert "6 stored values" in document["troubles"][0]


def test_the_check_runs_only_where_it_may_use_the_database(
    accounts: list[ConnectedAccount], settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY]
    without = run_checks(tags=None, databases=None)
    assert not [found for found in without if found.id == "connected_accounts.W011"]
    found = run_checks(tags=None, databases=["default"])
    assert [one.id for one in found if one.id == "connected_accounts.W011"]


def test_the_check_says_nothing_before_the_tables_are_there() -> None:
    tables = connection.introspection.table_names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.introspection, "table_names", lambda *a: ["auth_user"])
        assert check_keys(None, databases=["default"]) == []
    assert tables()


@pytest.mark.skipif(connection.vendor == "mysql", reason="a change of a table ends the transaction")
@pytest.mark.parametrize("column", [None, "text"])
def test_tables_of_before_the_first_release_are_named_with_the_way_out(column: str | None) -> None:
    table = AuthorizationRequest._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME COLUMN dpop_key TO was_bytes")
        if column:
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN dpop_key {column}")
    found = check_keys(None, databases=["default"])
    assert [one.id for one in found] == ["connected_accounts.W033"]
    assert f"{table}.dpop_key." in found[0].msg
    assert "dumpdata" in str(found[0].hint)
