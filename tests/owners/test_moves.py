"""Whose an account is has one truth: users are merged, blanked and moved, and ``user`` and
``owner_key`` never say two things."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError
from django.db import IntegrityError, connection, models
from django.db.models import F, QuerySet
from django.test import Client

from connected_accounts.exceptions import (
    ConnectedAccountsError,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount, Event, ProviderClient
from connected_accounts.owners import owner_key
from connected_accounts.services import (
    disconnect,
    export,
    get_access_token,
    move_to_owner,
    refresh,
)
from connected_accounts.testing import FakeProvider, connect_account
from tests.past_rows import columns_of

pytestmark = pytest.mark.django_db
Rows = ConnectedAccount.objects


def by_update(account: ConnectedAccount, user: Any) -> None:
    assert Rows.filter(user=account.user).update(user=user) == 1


def by_update_of_the_key(account: ConnectedAccount, user: Any) -> None:
    assert Rows.filter(pk=account.pk).update(user_id=str(user.pk), label="merged") == 1


def by_the_related_manager(account: ConnectedAccount, user: Any) -> None:
    user.connected_accounts.add(Rows.get(pk=account.pk))


def by_save(account: ConnectedAccount, user: Any) -> None:
    row = Rows.get(pk=account.pk)
    row.user = user
    row.save()


def by_save_of_the_field(account: ConnectedAccount, user: Any) -> None:
    row = Rows.only("label").get(pk=account.pk)
    row.user = user
    row.save(update_fields=["user"])


def by_update_or_create(account: ConnectedAccount, user: Any) -> None:
    Rows.update_or_create(pk=account.pk, defaults={"user": user})


def by_service(account: ConnectedAccount, user: Any) -> None:
    move_to_owner(Rows.get(pk=account.pk), user)


WAYS = [
    *(by_update, by_update_of_the_key, by_the_related_manager, by_save, by_save_of_the_field),
    *(by_update_or_create, by_service),
]


@pytest.fixture
def account(bob: Any, badgr: FakeProvider) -> ConnectedAccount:
    return connect_account(badgr, bob, subject="bob")


def owned_by(account: ConnectedAccount, user: Any) -> bool:
    row = Rows.get(pk=account.pk)
    return (row.user, row.owner_key) == (user, owner_key(user))


@pytest.mark.parametrize("way", WAYS)
def test_who_is_given_an_account_has_it_and_who_had_it_has_not(
    account: ConnectedAccount, ada: Any, bob: Any, client_of_ada: Client, way: Any
) -> None:
    stale = Rows.get(pk=account.pk)
    way(account, ada)
    assert owned_by(account, ada)
    assert list(Rows.for_user(ada)) == [account]
    assert not Rows.for_user(bob).exists()
    assert not Rows.visible_to(bob).exists()
    assert get_access_token(Rows.get())
    with pytest.raises(ReauthorizationRequired):
        get_access_token(stale)  # the old owner's object gives nothing more
    kinds = [(event.kind, event.owner_key) for event in Event.objects.filter(kind="moved")]
    assert sorted(kinds) == sorted([("moved", owner_key(bob)), ("moved", owner_key(ada))])


@pytest.mark.parametrize("way", WAYS)
def test_a_refresh_under_way_goes_on_for_the_new_owner(
    account: ConnectedAccount, ada: Any, badgr: FakeProvider, way: Any, meanwhile: Any
) -> None:
    meanwhile(lambda: way(account, ada))
    refresh(account)
    row = Rows.get()
    assert row.refreshed_at is not None
    refresh(row)
    assert owned_by(row, ada)


@pytest.mark.parametrize("way", WAYS)
def test_a_user_who_has_the_same_account_is_not_given_it_again(
    account: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider, way: Any
) -> None:
    connect_account(badgr, ada, subject="bob")
    before = columns_of(account)
    with pytest.raises((IntegrityError, ConnectedAccountsError), match="Nothing was moved"):
        way(account, ada)
    assert columns_of(account) == before


def test_an_account_is_not_blanked_into_the_sites_own(account: ConnectedAccount) -> None:
    before = columns_of(account)
    row = Rows.get()
    row.user = None
    blanks = [
        lambda: Rows.update(user=None),
        lambda: account.user.connected_accounts.update(user=None),
        row.save,
        lambda: Rows.update(user=F("user")),
        lambda: Rows.bulk_update([row], ["user"]),
        lambda: Rows.update(owner_key="site"),
    ]
    for blank in blanks:
        with pytest.raises(FieldError):
            blank()
    assert columns_of(account) == before


@pytest.mark.parametrize("column", ["user", "provider", "subject"])
def test_an_account_that_comes_during_an_update_is_left_with_a_token_that_opens(
    account: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider, column: str
) -> None:
    late: list[dict[str, Any]] = []

    def come_first(execute: Any, statement: str, *args: Any) -> Any:
        if statement.startswith("UPDATE") and not late:
            late.append({})
            late[0] |= columns_of(connect_account(badgr, bob, subject="late"))
        return execute(statement, *args)

    value = {"user": ada, "provider": "bitbadges", "subject": "bob-anew"}[column]
    with connection.execute_wrapper(come_first):
        assert Rows.filter(user=bob).update(**{column: value}) == 1
    assert Rows.values().get(pk=late[0]["id"]) == late[0]
    assert getattr(Rows.get(pk=account.pk), column) == value
    assert all(row.open_token() for row in Rows.with_token())


@pytest.mark.parametrize("loaded", ["all", "label only"])
@pytest.mark.parametrize("column", ["user", "provider"])
def test_a_save_that_fails_changes_nothing_and_may_be_tried_again(
    account: ConnectedAccount, ada: Any, loaded: str, column: str
) -> None:
    before = columns_of(account)
    row = {"all": Rows.all(), "label only": Rows.only("label")}[loaded].get()
    value = {"user": ada, "provider": "bitbadges"}[column]
    setattr(row, column, value)
    row.label = None  # type: ignore[assignment]
    with pytest.raises(IntegrityError):
        row.save()
    assert columns_of(account) == before
    assert not Event.objects.filter(kind="moved").exists()
    row.label = "kept"
    row.save()
    assert getattr(Rows.get(), column) == value
    assert (row.owner_key, row.label) == (Rows.get().owner_key, "kept")
    assert Rows.with_token().get().open_token()


@pytest.mark.parametrize("way", WAYS)
def test_an_account_whose_key_is_away_stays_where_it_is(
    account: ConnectedAccount, ada: Any, settings: Any, way: Any
) -> None:
    before, keys = columns_of(account), settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    with pytest.raises(Undecryptable):
        way(account, ada)
    assert columns_of(account) == before
    settings.FIELD_ENCRYPTION_KEY = keys
    assert Rows.with_token().get().open_token()


def test_a_copy_of_the_old_owners_does_not_give_it_back(
    account: ConnectedAccount, ada: Any
) -> None:
    stale = Rows.get()
    move_to_owner(account, ada)
    stale.label = "of old"
    stale.save()
    assert owned_by(account, ada)
    assert disconnect(stale) is None
    assert Rows.exists()


def test_a_row_in_which_sql_wrote_another_user_is_nobodys(
    account: ConnectedAccount, ada: Any, bob: Any, client_of_ada: Client
) -> None:
    QuerySet.update(Rows.all(), user=ada)
    for user in (ada, bob):
        for rows in (Rows.for_user(user), Rows.visible_to(user), Rows.usable_by(user)):
            assert not rows.exists()
    assert account.label not in client_of_ada.get("/connections/").content.decode()
    move_to_owner(Rows.get(), ada)
    assert list(Rows.for_user(ada)) == [account]


def test_an_account_goes_to_a_team_to_the_site_and_back(
    account: ConnectedAccount, ada: Any, bob: Any
) -> None:
    for owner, key, user in [
        ("team:7", "team:7", None),
        (None, "site", None),
        (ada, owner_key(ada), ada),
    ]:
        move_to_owner(account, owner, by=bob)
        assert (account.owner_key, account.user) == (key, user)
        assert columns_of(account)["owner_key"] == key
    noted = Event.objects.filter(kind="moved").values_list("detail", flat=True)
    assert set(noted) == {"", owner_key(bob)}
    assert [event["kind"] for event in export(bob)["events"]].count("moved") == 5


@pytest.mark.parametrize("key", ["", "user:1", "Team:7", "site", "team", "team:" + "x" * 200])
def test_a_key_that_no_owner_can_have_is_refused(account: ConnectedAccount, key: str) -> None:
    with pytest.raises(ConnectedAccountsError) as caught:
        move_to_owner(account, key)
    assert caught.value.code == "malformed"


def test_an_account_that_is_gone_is_not_moved(account: ConnectedAccount, ada: Any) -> None:
    copy = Rows.get()
    disconnect(account)
    with pytest.raises(ConnectedAccountsError) as caught:
        move_to_owner(copy, ada)
    assert caught.value.code == "gone"


def test_credentials_of_a_persons_own_go_with_the_account(
    ada: Any, bob: Any, fake_provider: Any, app_settings: Any, settings: Any
) -> None:
    entry = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    app_settings(PROVIDERS=settings.CONNECTED_ACCOUNTS["PROVIDERS"] | {"bits": entry})
    bits = fake_provider("bits")
    account = connect_account(bits, bob, subject="bob")
    move_to_owner(account, ada)
    refresh(account)
    assert ProviderClient.objects.filter(owner_key=owner_key(ada)).count() == 1


# --- Keys of any kind ----------------------------------------------------------------------------


class Keyed:
    def __init__(self, pk: Any) -> None:
        self.pk = pk


@pytest.mark.parametrize("pk", [7, "ada", "5e1f0000-0000-4000-8000-000000000001", "a.b_c-d"])
def test_a_plain_key_is_readable(pk: Any) -> None:
    assert owner_key(Keyed(pk)) == f"user:{pk}"


ODD = ["Ada", "ADA", "ada ", " ada", "ada@site.example", "é", "e\u0301", "ß", "ss", "x" * 300, "~a"]


def test_any_other_key_is_told_apart_byte_by_byte_whatever_its_length() -> None:
    """By a database that takes capitals, accents or blanks for the same, too."""
    limit = ConnectedAccount._meta.get_field("owner_key")
    assert isinstance(limit, models.CharField)
    keys = [owner_key(Keyed(pk)) for pk in [*ODD, "ada"]]
    assert len({key.casefold().strip() for key in keys}) == len(keys)
    assert all(key.isascii() and key == key.lower() for key in keys)
    assert max(map(len, keys)) <= (limit.max_length or 0)


def test_no_key_of_a_user_reads_like_the_digest_of_anothers() -> None:
    forged = owner_key(Keyed("Ada")).removeprefix("user:")
    assert owner_key(Keyed(forged)) != owner_key(Keyed("Ada"))


# --- The admin -----------------------------------------------------------------------------------


def act(client: Client, account: ConnectedAccount, **data: str) -> str:
    sent = {"action": "give_to_another_owner", "_selected_action": [account.pk], **data}
    where = "/admin/connected_accounts/connectedaccount/"
    return client.post(where, sent, follow=True).content.decode()


def test_staff_give_an_account_to_a_user_by_name_or_to_a_team(
    account: ConnectedAccount, ada: Any, admin_client: Client
) -> None:
    page = act(admin_client, account)
    assert 'name="new_owner"' in page
    assert owned_by(account, account.user), "asked first"
    page = act(admin_client, account, confirmed="yes", new_owner="nobody of this name")
    assert "There is no user of this name" in page
    page = act(admin_client, account, confirmed="yes", new_owner=" ada-lovelace ")
    assert "1 account was given away." in page
    assert owned_by(account, ada)
    act(admin_client, account, confirmed="yes", new_owner="team:7")
    assert Rows.get().owner_key == "team:7"


def test_staff_learn_that_the_new_owner_has_the_account_already(
    account: ConnectedAccount, ada: Any, badgr: FakeProvider, admin_client: Client
) -> None:
    connect_account(badgr, ada, subject="bob")
    page = act(admin_client, account, confirmed="yes", new_owner="ada-lovelace")
    assert "its new owner has this account already" in page
    assert not owned_by(account, ada)


def test_staff_learn_that_the_key_of_the_token_is_away(
    account: ConnectedAccount, ada: Any, admin_client: Client, settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    page = act(admin_client, account, confirmed="yes", new_owner="ada-lovelace")
    assert "the stored token cannot be opened" in page
    assert owned_by(account, account.user)


def test_staff_who_may_only_look_give_nothing_away(
    account: ConnectedAccount, ada: Any, django_user_model: Any
) -> None:
    from django.contrib.auth.models import Permission

    looker = django_user_model.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_connectedaccount"))
    client = Client()
    client.force_login(looker)
    act(client, account, confirmed="yes", new_owner="ada-lovelace")
    assert not owned_by(account, ada)
