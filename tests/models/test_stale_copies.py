"""Saving a copy that was loaded before something happened: every way that Django has of writing a
row, against every live change in between."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.exceptions import FieldError
from django.db.models import F
from django.utils import timezone

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.models.guards import ABOUT_THE_GRANT, BY_TRANSITIONS, FENCED
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.past_rows import columns_of

pytestmark = pytest.mark.django_db
Rows = ConnectedAccount.objects


def save(row: ConnectedAccount) -> None:
    row.save()


def save_label(row: ConnectedAccount) -> None:
    row.save(update_fields=["label"])


def save_forced(row: ConnectedAccount) -> None:
    row.save(force_update=True)


def save_as_it_was_built(row: ConnectedAccount) -> None:
    """What a revert of django-simple-history does: an object with a key that was never loaded."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    ConnectedAccount(**values).save()


def save_as_fixture(row: ConnectedAccount) -> None:
    text = serializers.serialize("json", [row])
    for found in serializers.deserialize("json", text):
        found.save()


def bulk_update(row: ConnectedAccount) -> None:
    Rows.bulk_update([row], ["label"])


def update_or_create(row: ConnectedAccount) -> None:
    Rows.update_or_create(pk=row.pk, defaults={"label": row.label})


def upsert(row: ConnectedAccount) -> None:
    same = {"update_conflicts": True, "unique_fields": ["id"], "update_fields": ["label"]}
    Rows.bulk_create([row], **same)


def update(row: ConnectedAccount) -> None:
    Rows.filter(pk=row.pk).update(label=row.label)


def refresh_in_part_and_save(row: ConnectedAccount) -> None:
    label = row.label
    row.refresh_from_db(fields=["provider"])
    row.label = label
    row.save()


WAYS = [
    *(save, save_label, save_forced, save_as_it_was_built, save_as_fixture, bulk_update),
    *(update_or_create, upsert, update, refresh_in_part_and_save),
]


def refreshed(account: ConnectedAccount, fake: FakeProvider) -> None:
    refresh(Rows.get(pk=account.pk))


def reconnected(account: ConnectedAccount, fake: FakeProvider) -> None:
    connect_account(fake, account.user, subject="ada", account=Rows.get(pk=account.pk))


def ended(account: ConnectedAccount, fake: FakeProvider) -> None:
    assert Rows.get(pk=account.pk).mark_reconnect_required(Reason.REVOKED)


def failed(account: ConnectedAccount, fake: FakeProvider) -> None:
    row = Rows.get(pk=account.pk)
    assert row.mark_failed("status_503", retry_at=timezone.now(), attempt_started_at=None)


CHANGES = [refreshed, reconnected, ended, failed]


@pytest.fixture
def account(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    return connect_account(badgr, ada, subject="ada")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("loaded", ["all", "no token", "label only"])
def test_a_copy_from_before_a_change_saves_its_label_and_nothing_else(
    account: ConnectedAccount, badgr: FakeProvider, way: Any, change: Any, loaded: str
) -> None:
    rows = {"all": Rows.with_token(), "no token": Rows.all(), "label only": Rows.only("label")}
    stale = rows[loaded].get(pk=account.pk)
    change(account, badgr)
    live = columns_of(account)
    stale.label = "what the site calls it"
    way(stale)
    assert columns_of(account) == {**live, "label": "what the site calls it"}
    if change is refreshed:
        refresh(Rows.get(pk=account.pk))
        assert [grant.is_alive for grant in badgr.grants] == [True]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_that_is_saved_while_the_provider_is_asked_loses_nothing(
    account: ConnectedAccount, badgr: FakeProvider, way: Any, meanwhile: Any
) -> None:
    stale = Rows.with_token().get(pk=account.pk)
    stale.label = "new"
    meanwhile(lambda: way(stale))
    refresh(account)
    assert (account.label, account.generation, account.failure_count) == ("new", 1, 0)
    for _ in range(2):
        refresh(account)
    assert badgr.grants[0].is_alive


@pytest.mark.parametrize("way", [save, save_label, save_forced, refresh_in_part_and_save])
def test_a_copy_of_an_account_that_was_disconnected_is_not_stored_again(
    account: ConnectedAccount, way: Callable[[ConnectedAccount], None]
) -> None:
    stale = Rows.with_token().get(pk=account.pk)
    disconnect(account)
    stale.label = "new"
    with pytest.raises(ConnectedAccount.DoesNotExist):
        way(stale)
    assert not Rows.exists()


# --- What is tried, and is told so ---------------------------------------------------------------


def other_value(row: ConnectedAccount, name: str) -> Any:
    """Some other value that the column would take."""
    field: Any = row._meta.get_field(name)
    kind = field.get_internal_type()
    if name == "token":
        return None
    if name == "status":
        return "reconnect_required"
    if kind in ("PositiveBigIntegerField", "PositiveIntegerField"):
        return getattr(row, name) + 5
    if kind == "JSONField":
        return ["other"]
    if kind == "DateTimeField":
        return timezone.now()
    return uuid.uuid4() if kind == "UUIDField" else "x"


@pytest.mark.parametrize("name", sorted(BY_TRANSITIONS - {"owner_key"}))
@pytest.mark.parametrize("how", ["save", "update_fields", "bulk_update", "upsert", "or_create"])
def test_a_copy_that_changes_what_only_transitions_write_is_refused_in_words(
    account: ConnectedAccount, name: str, how: str
) -> None:
    before = columns_of(account)
    row = Rows.with_token().get(pk=account.pk)
    value = other_value(row, name)
    setattr(row, name, value)
    ways: dict[str, Callable[[], Any]] = {
        "save": row.save,
        "update_fields": lambda: row.save(update_fields=[name]),
        "bulk_update": lambda: Rows.bulk_update([row], ["label", name]),
        "upsert": lambda: Rows.bulk_create(
            [row], update_conflicts=True, unique_fields=["id"], update_fields=[name]
        ),
        "or_create": lambda: Rows.update_or_create(pk=row.pk, defaults={name: value}),
    }
    with pytest.raises(FieldError, match=name):
        ways[how]()
    assert columns_of(account) == before


@pytest.mark.parametrize("name", sorted(FENCED))
def test_update_refuses_what_says_which_grant_a_row_holds(
    account: ConnectedAccount, name: str
) -> None:
    before = columns_of(account)
    for rows in (Rows, Rows.filter(pk=account.pk), account.user.connected_accounts):
        with pytest.raises(FieldError, match=name):
            rows.update(**{name: other_value(account, name)})
    with pytest.raises(FieldError, match="generation"):
        Rows.update(label="x", generation=F("generation") - 1)
    assert columns_of(account) == before


@pytest.mark.parametrize("name", sorted(ABOUT_THE_GRANT))
def test_update_sets_what_is_known_of_a_grant_one_by_one(
    account: ConnectedAccount, name: str
) -> None:
    value = {"last_error": "seen"}.get(name, other_value(account, name))
    assert Rows.filter(pk=account.pk).update(**{name: value}) == 1
    assert columns_of(account)[name] == value


def test_what_a_refresh_left_on_an_object_is_no_change_of_the_site(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    refresh(account)
    account.label = "after"
    account.save()
    attempt_over = columns_of(account)
    assert attempt_over["label"] == "after"
    assert account.mark_reconnect_required(Reason.REVOKED)
    account.save()
    assert columns_of(account)["status"] == "reconnect_required"


def test_a_receiver_may_save_the_account_that_it_is_told_of(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    from connected_accounts.signals import account_refreshed

    def note(account: ConnectedAccount, **kwargs: Any) -> None:
        account.label = "refreshed"
        account.save()

    account_refreshed.connect(note)
    try:
        refresh(account)
    finally:
        account_refreshed.disconnect(note)
    assert columns_of(account)["label"] == "refreshed"


def test_rows_are_created_in_every_way_of_django(make_account: Any, ada: Any) -> None:
    values = columns_of(make_account(ada))
    for number, create in enumerate(
        (
            lambda **v: Rows.create(**v),
            lambda **v: ConnectedAccount(**v).save(),
            lambda **v: Rows.bulk_create([ConnectedAccount(**v)]),
            lambda **v: Rows.get_or_create(subject=v["subject"], defaults=v),
            lambda **v: Rows.update_or_create(subject=v["subject"], defaults=v),
        ),
        start=2,
    ):
        new = {name: values[name] for name in ("user_id", "provider", "connected_at", "client_id")}
        create(**new, subject=f"person-{number}", status="reconnect_required", generation=number)
    assert Rows.count() == 6
    assert set(Rows.values_list("generation", flat=True)) == {0, 2, 3, 4, 5, 6}
    assert not Rows.copies().exists()


def test_the_asynchronous_ways_are_the_same(account: ConnectedAccount) -> None:
    with pytest.raises(FieldError):
        async_to_sync(Rows.all().aupdate)(generation=0)
    with pytest.raises(FieldError):
        async_to_sync(Rows.all().abulk_update)([], ["token"])
    account.generation = 5
    with pytest.raises(FieldError):
        async_to_sync(account.asave)()


def test_an_access_token_is_not_handed_out_by_a_key_that_was_used_again(
    account: ConnectedAccount, bob: Any, badgr: FakeProvider
) -> None:
    stale = Rows.get(pk=account.pk)
    disconnect(account)
    other = connect_account(badgr, bob, subject="bob")
    Rows.filter(pk=other.pk).transition(id=stale.pk)
    LedgerEntry.objects.filter(account_pk=other.pk).update(account_pk=stale.pk)
    for use in (get_access_token, refresh):
        with pytest.raises(ReauthorizationRequired) as caught:
            use(stale)
        assert caught.value.code == "disconnected"
    assert disconnect(stale) is None
    stale.label = "mine"
    with pytest.raises(ConnectedAccount.DoesNotExist):
        stale.save()
    kept = Rows.get()
    assert (kept.user, kept.label) == (bob, other.label)
    assert get_access_token(kept)
