"""What staff see and may do; and that they never see a token."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.admin import large_lists
from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

pytestmark = pytest.mark.django_db

ACCOUNTS = "/admin/connected_accounts/connectedaccount/"


def staff(django_user_model: Any, *codenames: str) -> Client:
    user = django_user_model.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *accounts: ConnectedAccount) -> Any:
    data: dict[str, Any] = {"action": action, "confirmed": "yes"}
    data["_selected_action"] = [account.pk for account in accounts]
    return client.post(ACCOUNTS, data, follow=True)


def pages(account: ConnectedAccount) -> list[str]:
    base = "/admin/connected_accounts/"
    return [
        "/admin/",
        ACCOUNTS,
        f"{ACCOUNTS}?q=ada",
        f"{ACCOUNTS}?status__exact=active&provider=badgr",
        f"{ACCOUNTS}{account.pk}/change/",
        f"{ACCOUNTS}{account.pk}/history/",
        f"{ACCOUNTS}{account.pk}/delete/",
        f"{base}revocation/",
        f"{base}event/",
        f"{base}event/{Event.objects.latest('pk').pk}/change/",
        f"{base}providerstate/",
    ]


def test_the_list_shows_the_health_of_each_connection(
    account: ConnectedAccount, client_of_admin: Client
) -> None:
    page = client_of_admin.get(ACCOUNTS).content.decode()
    for column in (
        "provider",
        "owner",
        "display_name",
        "state",
        "refresh_at",
    ):
        assert f"column-{column}" in page
    assert "ada@example.org" in page
    assert "ada-lovelace" in page


def test_no_page_shows_a_token_sealed_or_open(
    account: ConnectedAccount, client_of_admin: Client, badgr: FakeProvider
) -> None:
    sealed = ConnectedAccount.objects.with_token().get().token.reveal()
    for address in pages(account):
        response = client_of_admin.get(address)
        assert response.status_code == 200, address
        page = response.content.decode()
        assert sealed not in page
        assert "v1." not in page
        assert not [secret for secret in badgr.secrets if secret in page]


def test_the_list_takes_the_same_queries_for_one_account_and_for_twenty(
    account: ConnectedAccount,
    client_of_admin: Client,
    client_of_bob: Client,
    badgr: FakeProvider,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(20):
        connect(client_of_bob, badgr, subject=f"person-{number}")
    with django_assert_max_num_queries(12):  # four are for the figures above the list
        client_of_admin.get(ACCOUNTS)


def test_the_list_counts_no_further_than_its_limit(
    client_of_admin: Client, make_account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_lists, "COUNT_UP_TO", 3)
    newest = [make_account() for _ in range(5)][-1]
    with CaptureQueriesContext(connection) as queries:
        response = client_of_admin.get(ACCOUNTS)
    # The figures above the list count by groups, in indexes.
    counts = [q["sql"] for q in queries if "COUNT(*)" in q["sql"] and "GROUP BY" not in q["sql"]]
    assert len(counts) == 1
    assert "LIMIT 3" in counts[0]
    assert not [query for query in queries if "DISTINCT" in query["sql"]]
    assert response.context["cl"].result_count == 3
    assert newest in response.context["cl"].result_list


def test_the_list_is_filtered_by_the_aliases_in_settings_or_one_that_was_there(
    client_of_admin: Client, make_account: Any
) -> None:
    make_account(provider="badgr")
    other = make_account(provider="bitbadges")
    page = client_of_admin.get(ACCOUNTS).content.decode()
    assert "?provider=badgr" in page
    assert "?provider=bitbadges" in page
    response = client_of_admin.get(ACCOUNTS, {"provider": "bitbadges"})
    assert list(response.context["cl"].result_list) == [other]
    ConnectedAccount.objects.filter(pk=other.pk).update(provider="gone")
    response = client_of_admin.get(ACCOUNTS, {"provider": "gone"})
    assert list(response.context["cl"].result_list) == [ConnectedAccount.objects.get(pk=other.pk)]


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("ada@ex", 1),
        ("ADA@", 1),
        ("ada@example.org", 1),
        ("ada-lovelace", 1),
        ("eHw1", 1),
        ("eHw1-subject", 1),
        ("Hw1", 0),
        ("da@", 0),
        ("zzz", 0),
    ],
)
def test_search_finds_label_subject_and_user_by_the_beginning_or_as_a_whole(
    account: ConnectedAccount, client_of_admin: Client, term: str, found: int
) -> None:
    ConnectedAccount.objects.update(subject="eHw1-subject")
    response = client_of_admin.get(ACCOUNTS, {"q": term})
    assert len(response.context["cl"].result_list) == found


@pytest.mark.parametrize("lookup", ["token__startswith", "token", "token__contains", "seal_id"])
def test_a_token_cannot_be_looked_for(
    account: ConnectedAccount, client_of_admin: Client, lookup: str
) -> None:
    client_of_admin.raise_request_exception = False
    response = client_of_admin.get(ACCOUNTS, {lookup: "v1"}, follow=True)
    assert response.status_code == 400 or response.request["QUERY_STRING"] == "e=1"


def test_refresh_now_sends_one_task_for_each(
    account: ConnectedAccount,
    client_of_admin: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks.refresh_account, "apply_async", lambda args, **k: sent.append(args))
    with django_capture_on_commit_callbacks(execute=True):
        response = act(client_of_admin, "refresh_now", account)
    assert sent == [(account.pk,)]
    assert "1 account is being refreshed" in response.content.decode()


def test_disconnect_and_revoke_goes_the_users_way(
    account: ConnectedAccount, client_of_admin: Client, badgr: FakeProvider
) -> None:
    text = act(client_of_admin, "disconnect_and_revoke", account).content.decode()
    assert "1 account is disconnected; its permission is being withdrawn." in text
    assert not ConnectedAccount.objects.exists()
    tasks.revoke_pending_tokens.apply().get()
    assert Revocation.objects.get().outcome == "revoked"
    entry = LogEntry.objects.get()
    assert entry.object_repr == "badgr: ada@example.org"


def test_deleting_one_in_admin_withdraws_its_grant(
    account: ConnectedAccount, client_of_admin: Client
) -> None:
    client_of_admin.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"})
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().outcome == "pending"


def test_nothing_can_be_added_or_changed_by_hand(
    account: ConnectedAccount, client_of_admin: Client
) -> None:
    before = ConnectedAccount.objects.values().get()
    assert client_of_admin.get(f"{ACCOUNTS}add/").status_code == 403
    change = f"{ACCOUNTS}{account.pk}/change/"
    assert client_of_admin.post(change, {"status": "active", "label": "x"}).status_code == 403
    assert ConnectedAccount.objects.values().get() == before
    for model in ("revocation", "event", "providerstate"):
        assert client_of_admin.get(f"/admin/connected_accounts/{model}/add/").status_code == 403


def test_view_only_staff_may_download_and_do_nothing(
    account: ConnectedAccount, django_user_model: Any
) -> None:
    client = staff(django_user_model, "view_connectedaccount")
    text = client.get(ACCOUNTS).content.decode()
    assert "ada@example.org" in text
    assert re.findall(r'<option value="(\w+)"', text) == ["download_csv"]
    assert "/connect/" not in text
    text = client.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    for offered in ("/test/", "/delete/", "/connect-again/", 'type="submit" value='):
        assert offered not in text
    for action in ("refresh_now", "disconnect_and_revoke", "delete_selected"):
        act(client, action, account)
    assert client.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ConnectedAccount.objects.count() == 1


def test_staff_without_permission_see_nothing(
    account: ConnectedAccount, django_user_model: Any
) -> None:
    client = staff(django_user_model)
    for address in pages(account)[1:]:
        assert client.get(address).status_code == 403


# --- Asking first, testing, finding -----------------------------------------------------------


@pytest.mark.parametrize("action", ["refresh_now", "disconnect_and_revoke"])
def test_an_action_asks_before_it_does_anything(
    account: ConnectedAccount, client_of_admin: Client, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "enqueue", lambda *args: pytest.fail("sent"))
    data = {"action": action, "_selected_action": [account.pk]}
    text = client_of_admin.post(ACCOUNTS, data).content.decode()
    assert "ada@example.org" in text
    assert 'name="confirmed" value="yes"' in text
    assert f'name="_selected_action" value="{account.pk}"' in text
    assert ConnectedAccount.objects.count() == 1


def test_staff_test_a_connection_and_read_what_came_back(
    account: ConnectedAccount, client_of_admin: Client, badgr: FakeProvider
) -> None:
    address = f"{ACCOUNTS}{account.pk}/test/"
    before = len(badgr.requests)
    assert "is called once" in client_of_admin.get(address).content.decode()
    assert len(badgr.requests) == before
    text = client_of_admin.post(address, follow=True).content.decode()
    assert "The connection works" in text
    badgr.advance(minutes=1)
    badgr.withdraw()
    assert "The permission has ended" in client_of_admin.post(address, follow=True).content.decode()
    assert client_of_admin.get(f"{ACCOUNTS}0/test/").status_code == 404


def test_each_account_has_its_history_for_those_who_may_see_events(
    account: ConnectedAccount, client_of_admin: Client, django_user_model: Any
) -> None:
    change = f"{ACCOUNTS}{account.pk}/change/"
    Event.record("reconnect_required", account, at=timezone.now(), detail="revoked")  # type: ignore[arg-type]
    text = client_of_admin.get(change).content.decode()
    assert "the service says that the permission has ended. It must be connected again." in text
    client = staff(django_user_model, "view_connectedaccount")
    text = client.get(change).content.decode()
    assert 'id="timeline"' not in text
    assert "Test this connection" not in text


@pytest.mark.parametrize(
    ("expiring", "found"), [("hour", 1), ("day", 2), ("week", 3), ("over", 1), ("x", 4)]
)
def test_the_list_shows_what_runs_out_within_a_time(
    make_account: Any, client_of_admin: Client, now: Any, expiring: str, found: int
) -> None:
    for hours in (-1, 0.5, 5, 100):
        make_account(expires_at=now + timedelta(hours=hours))
    response = client_of_admin.get(ACCOUNTS, {"expiring": expiring})
    assert len(response.context["cl"].result_list) == found


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"status__exact": "active"}, ["well"]),
        ({"status__exact": "reconnect_required"}, ["ended", "lost"]),
        ({"reason__exact": "revoked"}, ["ended"]),
        ({"reason__exact": "rotation_lost", "provider": "badgr"}, ["lost"]),
        ({"reason__exact": "rotation_lost", "provider": "bitbadges"}, []),
    ],
)
def test_the_list_is_filtered_by_status_and_reason(
    make_account: Any, client_of_admin: Client, chosen: dict[str, str], found: list[str]
) -> None:
    make_account(label="well")
    make_account(label="ended", status="reconnect_required", reason="revoked")
    make_account(label="lost", status="reconnect_required", reason="rotation_lost")
    listed = client_of_admin.get(ACCOUNTS, chosen).context["cl"].result_list
    assert sorted(row.label for row in listed) == found


@pytest.mark.parametrize("term", ["ada-l", "ada@site", "ADA@SITE.example"])
def test_search_finds_by_the_beginning_of_a_users_name_or_address(
    account: ConnectedAccount, client_of_admin: Client, term: str
) -> None:
    ConnectedAccount.objects.update(label="", subject="7")
    response = client_of_admin.get(ACCOUNTS, {"q": term})
    assert len(response.context["cl"].result_list) == 1
