"""A row that was put back to an earlier state, or copied: it is known for what it is, nothing of it
is sent, and the reason is told."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import (
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.refresh.drain import drain
from connected_accounts.revoke.disconnect import disconnect_all
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import expire, stored
from tests.past_rows import columns_of, put_back

pytestmark = pytest.mark.django_db
Rows = ConnectedAccount.objects


@pytest.fixture
def account(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    return connect_account(badgr, ada, subject="ada")


def sent(fake: FakeProvider) -> int:
    return len(fake.requests)


def use_token(account: ConnectedAccount) -> None:
    get_access_token(account)


def use_session(account: ConnectedAccount) -> None:
    get_session(account).get("v2/users/self")


def refresh_it(account: ConnectedAccount) -> None:
    refresh(Rows.get(pk=account.pk))


def drain_it(account: ConnectedAccount) -> None:
    Rows.active().filter(pk=account.pk).update(refresh_at=timezone.now())
    assert drain("badgr").refreshed == 0
    raise ReauthorizationRequired(Rows.get(pk=account.pk).reason)


USES = [use_token, use_session, refresh_it, drain_it]


def refuses(account: ConnectedAccount, use: Callable[[ConnectedAccount], None]) -> None:
    with pytest.raises(ReauthorizationRequired) as caught:
        use(account)
    assert caught.value.code == "restored_copy"
    row = Rows.get(pk=account.pk)
    assert (row.status, row.reason, row.refresh_at) == ("reconnect_required", "restored_copy", None)
    told = Event.objects.filter(kind="reconnect_required", owner_key=row.owner_key)
    assert [event.detail for event in told] == ["restored_copy"]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("times", [1, 3])
def test_a_row_that_sql_put_back_is_not_used(
    account: ConnectedAccount, badgr: FakeProvider, use: Any, times: int
) -> None:
    past = columns_of(account)
    for _ in range(times):
        refresh(account)
    put_back(past)
    before = sent(badgr)
    refuses(account, use)
    assert sent(badgr) == before
    assert badgr.grants[0].is_alive, "the spent token was never presented"


def test_the_state_in_which_a_refresh_was_under_way_is_past_too(
    account: ConnectedAccount, badgr: FakeProvider, meanwhile: Any
) -> None:
    held: list[dict[str, Any]] = []
    meanwhile(lambda: held.append(columns_of(account)))
    refresh(account)
    put_back(held[0] | {"lease_until": None})
    refuses(account, use_token)


def test_an_end_is_not_undone_by_putting_back_what_was_before_it(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    past = columns_of(account)
    badgr.withdraw()
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    put_back(past)
    before = sent(badgr)
    with pytest.raises(ReauthorizationRequired) as caught:
        get_access_token(account)
    assert (caught.value.code, sent(badgr)) == ("restored_copy", before)


@pytest.mark.parametrize("use", USES)
def test_a_row_from_before_a_reconnect_is_not_used(
    account: ConnectedAccount, badgr: FakeProvider, use: Any
) -> None:
    past = columns_of(account)
    connect_account(badgr, account.user, subject="ada", account=account)
    put_back(past)
    before = sent(badgr)
    refuses(account, use)
    assert sent(badgr) == before


def test_connecting_again_heals_a_row_that_was_put_back(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    past = columns_of(account)
    refresh(account)
    put_back(past)
    refuses(account, use_token)
    again = connect_account(badgr, account.user, subject="ada", account=Rows.get())
    assert (again.pk, again.status, again.reason) == (account.pk, "active", "")
    refresh(again)
    assert get_access_token(again)


def test_a_row_that_is_put_back_while_the_provider_is_asked_gets_its_grant_all_the_same(
    account: ConnectedAccount, badgr: FakeProvider, meanwhile: Any
) -> None:
    past = columns_of(account)
    meanwhile(lambda: put_back(past))
    refresh(account)
    assert account.refreshed_at is not None
    for _ in range(2):
        refresh(account)
    assert badgr.grants[0].is_alive
    assert stored(account)["refresh_token"] == badgr.grants[0].refresh_token


def test_a_row_put_back_across_a_reconnect_while_the_provider_is_asked(
    account: ConnectedAccount, badgr: FakeProvider, meanwhile: Any
) -> None:
    past = columns_of(account)
    again = connect_account(badgr, account.user, subject="ada", account=account)
    meanwhile(lambda: put_back(past))
    refresh(again)
    refresh(again)
    assert stored(again)["refresh_token"] == badgr.grants[-1].refresh_token


# --- Copies --------------------------------------------------------------------------------------


def cloned_by_save(row: ConnectedAccount, user: Any) -> ConnectedAccount:
    row.pk, row.user, row.owner_key, row._state.adding = None, user, "", True
    row.save()
    return row


def cloned_by_save_alone(row: ConnectedAccount, user: Any) -> ConnectedAccount:
    row.pk, row.user, row.owner_key = None, user, ""
    row.save()
    return row


def cloned_by_bulk_create(row: ConnectedAccount, user: Any) -> ConnectedAccount:
    row.pk, row.user, row.owner_key = None, user, f"user:{user.pk}"
    Rows.bulk_create([row])
    return row


def cloned_by_sql(row: ConnectedAccount, user: Any) -> ConnectedAccount:
    from connected_accounts.database.new_rows import insert_one

    values = {f.name: getattr(row, f.attname) for f in row._meta.concrete_fields if f.name != "id"}
    insert_one(ConnectedAccount, values | {"user": user.pk, "owner_key": f"user:{user.pk}"})
    return Rows.latest("pk")


def cloned_by_fixture(row: ConnectedAccount, user: Any) -> ConnectedAccount:
    [data] = json.loads(serializers.serialize("json", [row]))
    data["pk"] += 1000
    data["fields"] |= {"user": user.pk, "owner_key": f"user:{user.pk}"}
    for found in serializers.deserialize("json", json.dumps([data])):
        found.save()
    return Rows.latest("pk")


CLONES = [
    *(cloned_by_save, cloned_by_save_alone, cloned_by_bulk_create),
    *(cloned_by_sql, cloned_by_fixture),
]


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("use", USES)
def test_a_clone_never_uses_the_token_and_its_original_goes_on(
    account: ConnectedAccount, bob: Any, badgr: FakeProvider, clone: Any, use: Any
) -> None:
    original = Rows.get()
    twin = clone(Rows.with_token().get(), bob)
    assert twin.pk != original.pk
    before = sent(badgr)
    with pytest.raises(ReauthorizationRequired) as caught:
        use(Rows.get(pk=twin.pk))
    assert (caught.value.code, sent(badgr)) == ("restored_copy", before)
    for _ in range(2):
        refresh(original)
    assert get_access_token(original) == badgr.grants[0].access_token


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("many", [False, True])
def test_disconnecting_a_clone_does_not_withdraw_the_grant_of_its_original(
    account: ConnectedAccount, bob: Any, badgr: FakeProvider, clone: Any, many: bool
) -> None:
    twin = clone(Rows.with_token().get(), bob)
    if many:
        assert list(disconnect_all(Rows.filter(pk=twin.pk))) == [1]
    else:
        assert disconnect(Rows.get(pk=twin.pk)) is None
    assert not Revocation.objects.exists()
    revoke_pending()
    refresh(account)
    assert badgr.grants[0].is_alive
    # And the other way round: the original's is withdrawn.
    assert disconnect(account) is not None


# An original and its clone, as if nobody had told us of the first; which of the two has the lower
# key, and so is mostly at hand first.
@pytest.fixture(params=["original first", "clone first"])
def clone_with_key(request: pytest.FixtureRequest, account: ConnectedAccount) -> Any:
    def clone(clone: Any, user: Any) -> tuple[ConnectedAccount, ConnectedAccount]:
        original, lower = Rows.with_token().get(), request.param == "clone first"
        if lower:
            higher = original.pk + 1000
            QuerySet.update(Rows.filter(pk=original.pk), id=higher)
            original = Rows.with_token().get()
        LedgerEntry.objects.all().delete()
        clone(copy.copy(original), user)
        twin = Rows.exclude(pk=original.pk).get()
        if lower:
            LedgerEntry.objects.filter(account_pk=twin.pk).update(account_pk=1)
            QuerySet.update(Rows.filter(pk=twin.pk), id=1)
        return original, Rows.exclude(pk=original.pk).get()

    return clone


@pytest.mark.parametrize("clone", CLONES)
def test_of_two_rows_that_the_ledger_does_not_know_the_original_lives(
    clone_with_key: Any, clone: Any, bob: Any, badgr: FakeProvider
) -> None:
    original, twin = clone_with_key(clone, bob)
    Rows.update(refresh_at=timezone.now())
    assert drain("badgr").refreshed == 1
    assert dict(Rows.values_list("pk", "reason")) == {original.pk: "", twin.pk: "restored_copy"}
    assert stored(original)["refresh_token"] == badgr.grants[0].refresh_token


@pytest.mark.parametrize("clone", CLONES)
def test_a_clone_that_is_refreshed_first_does_not_take_the_place_of_its_original(
    clone_with_key: Any, clone: Any, bob: Any, badgr: FakeProvider
) -> None:
    original, twin = clone_with_key(clone, bob)
    before = sent(badgr)
    with pytest.raises(Undecryptable):
        refresh(twin)
    assert sent(badgr) == before
    refresh(original)
    refuses(twin, refresh_it)
    assert badgr.grants[0].is_alive


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("many", [False, True])
def test_a_clone_that_is_disconnected_first_does_not_end_its_original(
    clone_with_key: Any, clone: Any, bob: Any, badgr: FakeProvider, many: bool
) -> None:
    original, twin = clone_with_key(clone, bob)
    _ = list(disconnect_all(Rows.filter(pk=twin.pk))) if many else disconnect(twin)
    revoke_pending()
    refresh(original)
    assert badgr.grants[0].is_alive


# --- Brought back after a disconnect -------------------------------------------------------------


def revived_by_save(row: ConnectedAccount) -> None:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    ConnectedAccount(**values).save()


def revived_by_fixture(row: ConnectedAccount) -> None:
    text = serializers.serialize("json", [row])
    disconnected = Rows.count() == 0
    assert disconnected
    for found in serializers.deserialize("json", text):
        found.save()


def revived_by_sql(row: ConnectedAccount) -> None:
    from connected_accounts.database.new_rows import insert_one

    values = {f.name: getattr(row, f.attname) for f in row._meta.concrete_fields}
    insert_one(ConnectedAccount, values)


@pytest.mark.parametrize("revive", [revived_by_save, revived_by_fixture, revived_by_sql])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("many", [False, True])
def test_a_disconnected_account_that_is_brought_back_is_dead(
    account: ConnectedAccount, badgr: FakeProvider, revive: Any, use: Any, many: bool
) -> None:
    row = copy.copy(Rows.with_token().get())
    _ = list(disconnect_all(Rows.all())) if many else disconnect(account)
    revive(row)
    before = sent(badgr)
    refuses(row, use)
    assert sent(badgr) == before


def test_what_the_orm_brings_back_is_shown_as_ended_at_once(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    row = copy.copy(Rows.with_token().get())
    disconnect(account)
    revived_by_save(row)
    assert Rows.get().reason == "restored_copy"
    page = client_of_ada.get("/connections/").content.decode()
    assert "Action needed" in page


# --- Dumps and backups ---------------------------------------------------------------------------


def test_an_older_dump_of_everything_on_the_same_site_changes_no_grant(
    account: ConnectedAccount, badgr: FakeProvider, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.json"
    Rows.update(label="of old")
    call_command("dumpdata", "connected_accounts", output=str(dump))
    for _ in range(2):
        refresh(account)
    live = columns_of(account)
    call_command("loaddata", str(dump), verbosity=0)
    assert columns_of(account) == {**live, "label": "of old"}
    refresh(account)
    assert badgr.grants[0].is_alive


def test_an_older_dump_brings_back_nothing_that_was_disconnected_since(
    account: ConnectedAccount, badgr: FakeProvider, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "connected_accounts", output=str(dump))
    disconnect(account)
    revoke_pending()
    call_command("loaddata", str(dump), verbosity=0)
    before = sent(badgr)
    refuses(Rows.get(), use_token)
    assert sent(badgr) == before


def empty() -> None:
    """The tables of another database, into which a site is moved."""
    with connection.cursor() as cursor:
        for model in (Revocation, Event, LedgerEntry, ConnectedAccount):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")


@pytest.mark.parametrize("what", ["connected_accounts", "connected_accounts.connectedaccount"])
def test_a_dump_in_an_empty_database_goes_on_where_it_stopped(
    account: ConnectedAccount, badgr: FakeProvider, tmp_path: Path, what: str
) -> None:
    dump = tmp_path / "dump.json"
    refresh(account)
    call_command("dumpdata", what, output=str(dump))
    empty()
    call_command("loaddata", str(dump), verbosity=0)
    moved = Rows.get()
    assert get_access_token(moved)
    refresh(moved)
    assert badgr.grants[0].is_alive


def test_a_restored_backup_is_handled_as_the_documents_say(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    """Rows and ledger come back together; what may be spent is ended by the command."""
    past, ledger = columns_of(account), LedgerEntry.objects.values().get()
    refresh(account)
    put_back(past)
    LedgerEntry.objects.update(**{k: v for k, v in ledger.items() if k != "seal_id"})
    expire(account)
    call_command("confirm_site", "--restored", verbosity=0)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "rotation_lost")
    before = sent(badgr)
    with pytest.raises(ReauthorizationRequired):
        get_access_token(account)
    assert sent(badgr) == before


def test_an_answer_for_a_connection_that_ended_meanwhile_is_withdrawn(
    account: ConnectedAccount, badgr: FakeProvider, meanwhile: Any
) -> None:
    past = columns_of(account)

    def disconnect_and_bring_back() -> None:
        disconnect(Rows.get())
        from connected_accounts.database.new_rows import insert_one

        insert_one(
            ConnectedAccount, {("user" if k == "user_id" else k): v for k, v in past.items()}
        )

    meanwhile(disconnect_and_bring_back)
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    revoke_pending()
    assert not badgr.grants[0].is_alive
    refuses(Rows.get(), use_token)
