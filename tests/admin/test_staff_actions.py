"""What staff do for many: mails, a file, refreshes in turn, revocations again, pauses by hand."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.admin import actions
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, ProviderState, Revocation
from connected_accounts.operations.health import health, troubles
from connected_accounts.provider_state import pauses
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token
from connected_accounts.testing import FakeProvider
from tests.admin.test_admin import ACCOUNTS, act, staff
from tests.admin.test_questions import BASE, revocation
from tests.journeys import expire, set_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are done at once, and not sent."""
    monkeypatch.setattr(tasks, "enqueue", lambda task, *args: task.apply(args).get())


# --- Asking people to reconnect ---------------------------------------------------------------


@pytest.fixture
def with_address(settings: Any) -> None:
    own = settings.CONNECTED_ACCOUNTS
    settings.CONNECTED_ACCOUNTS = own | {"REDIRECT_BASE_URL": "https://site.example"}


@pytest.mark.usefixtures("done_here", "with_address")
def test_people_are_asked_once_to_reconnect_and_nobody_else_is(
    make_account: Any, client_of_admin: Client, user: Any, bob: Any
) -> None:
    ended = make_account(user=user, status="reconnect_required", reason="revoked")
    well = make_account(user=bob)
    sites_own = make_account(status="reconnect_required", reason="revoked")
    for _ in range(2):
        page = act(client_of_admin, "ask_to_reconnect", ended, well, sites_own)
    assert [message.to for message in mail.outbox] == [["ada@site.example"]]
    assert f"/connections/{ended.pk}/reconnect/" in mail.outbox[0].body
    text = page.content.decode()
    assert "1 person is being asked to reconnect." in text
    assert "2 accounts were left out" in text


@pytest.mark.usefixtures("with_address")
@pytest.mark.parametrize("confirmed", ["", "yes"])
@pytest.mark.parametrize(
    "action",
    ["refresh_now", "ask_to_reconnect", "give_to_another_owner", "disconnect_and_revoke"],
)
def test_an_action_on_what_is_gone_by_now_says_so(
    make_account: Any, client_of_admin: Client, action: str, confirmed: str
) -> None:
    account = make_account()
    chosen = {"action": action, "confirmed": confirmed, "_selected_action": [account.pk]}
    account.delete()
    page = client_of_admin.post(ACCOUNTS, {**chosen, "new_owner": "team:7"}, follow=True)
    told = [str(message) for message in page.context["messages"]]
    assert told == ["The accounts that you chose are no longer in this list; nothing was done."]


@pytest.mark.usefixtures("done_here", "with_address")
@pytest.mark.parametrize("changed", [{"is_active": False}, {"email": ""}])
def test_who_cannot_be_written_to_is_not_counted_as_asked(
    make_account: Any, client_of_admin: Client, user: Any, changed: dict[str, Any]
) -> None:
    ended = make_account(user=user, status="reconnect_required", reason="revoked")
    type(user).objects.filter(pk=user.pk).update(**changed)
    text = act(client_of_admin, "ask_to_reconnect", ended).content.decode()
    assert mail.outbox == []
    assert "0 people are being asked to reconnect." in text
    assert "1 account was left out: it works, or nobody can be written to about it." in text


def test_without_an_address_of_the_site_nobody_is_asked_and_it_is_said(
    make_account: Any, client_of_admin: Client, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "enqueue", lambda *args: pytest.fail("sent"))
    ended = make_account(user=user, status="reconnect_required", reason="revoked")
    text = act(client_of_admin, "ask_to_reconnect", ended).content.decode()
    assert "REDIRECT_BASE_URL" in text


# --- A file -----------------------------------------------------------------------------------


def test_a_filtered_list_is_downloaded_without_any_secret(
    account: ConnectedAccount, client_of_admin: Client, make_account: Any, badgr: FakeProvider
) -> None:
    make_account(label="=HYPERLINK(1)", provider="bitbadges", last_error="status_503")
    sealed = ConnectedAccount.objects.with_token().get(pk=account.pk).token.reveal()
    data = {"action": "download_csv", "select_across": "1", "_selected_action": [account.pk]}
    response = client_of_admin.post(ACCOUNTS, data)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    rows = {row["account"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["ada@example.org"]["owner"] == "ada-lovelace"
    assert rows["ada@example.org"]["status"] == "active"
    assert rows["'=HYPERLINK(1)"]["last_error"] == "status_503"  # no formula for a spreadsheet
    assert sealed not in text
    assert not [secret for secret in badgr.secrets if secret in text]
    response = client_of_admin.post(f"{ACCOUNTS}?provider=bitbadges", data)
    assert "ada@example.org" not in b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]


# --- Many at a time ---------------------------------------------------------------------------


def test_an_action_over_many_says_how_many_and_warns(
    make_account: Any, client_of_admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MANY", 3)
    rows = [make_account() for _ in range(4)]
    chosen = [row.pk for row in rows]
    data: dict[str, Any] = {"action": "refresh_now", "_selected_action": chosen}
    text = client_of_admin.post(ACCOUNTS, data).content.decode()
    assert "4 accounts" in text
    assert "errornote" in text
    data["_selected_action"] = chosen[:1]
    text = client_of_admin.post(ACCOUNTS, data).content.decode()
    assert "1 account" in text
    assert "errornote" not in text


def test_many_accounts_are_refreshed_in_turn_and_not_by_a_task_each(
    make_account: Any, client_of_admin: Client, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks, "enqueue", lambda task, *args: sent.append((task.name, *args)))
    monkeypatch.setattr(actions, "MANY", 2)
    rows = [make_account(refresh_at=now + timedelta(days=1)) for _ in range(3)]
    never = make_account(refresh_at=None)
    text = act(client_of_admin, "refresh_now", *rows, never).content.decode()
    assert sent == [("connected_accounts.refresh_due_accounts",)]
    assert ConnectedAccount.objects.due_for_refresh(timezone.now()).count() == 3
    assert "3 accounts are due now" in text


# --- Revocations again ------------------------------------------------------------------------


def test_revocations_that_wait_are_tried_again_at_once(
    account: ConnectedAccount, client_of_admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks, "enqueue", lambda task, *args: sent.append(task.name))
    later = timezone.now() + timedelta(days=1)
    open_ones = [
        revocation(account, outcome=outcome, next_attempt_at=later)
        for outcome in ("pending", "given_up")
    ]
    over = revocation(account, outcome="revoked", next_attempt_at=None)
    chosen = [row.pk for row in (*open_ones, over)]
    data = {"action": "try_again", "_selected_action": chosen}
    text = client_of_admin.post(f"{BASE}revocation/", data, follow=True).content.decode()
    due = Revocation.objects.due(timezone.now())
    assert sorted(due.values_list("pk", flat=True)) == sorted(row.pk for row in open_ones)
    assert sent == ["connected_accounts.revoke_pending_tokens"]
    assert "2 revocations are tried again" in text


def test_who_may_only_look_at_revocations_tries_none_again(
    account: ConnectedAccount, django_user_model: Any
) -> None:
    later = timezone.now() + timedelta(days=1)
    row = revocation(account, next_attempt_at=later)
    client = staff(django_user_model, "view_revocation")
    data = {"action": "try_again", "_selected_action": [row.pk]}
    client.post(f"{BASE}revocation/", data)
    assert Revocation.objects.get().next_attempt_at == later


# --- Pauses by hand ---------------------------------------------------------------------------


def test_staff_pause_a_provider_and_resume_it(
    account: ConnectedAccount, client_of_admin: Client, badgr: FakeProvider
) -> None:
    expire(account)
    set_row(account, refresh_at=timezone.now())
    page = f"{BASE}providerstate/badgr/pause/"
    assert page in client_of_admin.get(ACCOUNTS).content.decode()
    assert "Nothing is refreshed" in client_of_admin.get(page).content.decode()
    assert pauses.pause_of("badgr", timezone.now()) == ""
    assert client_of_admin.post(page).status_code == 302
    before = len(badgr.requests)
    assert drain("badgr").refreshed == 0
    with pytest.raises(ProviderUnavailable) as refused:
        get_access_token(account)
    assert refused.value.code == "paused"
    assert len(badgr.requests) == before
    far = timezone.now() + timedelta(days=365)
    assert pauses.pause_of("badgr", far) == "by_hand"
    [trouble] = troubles(health(timezone.now()))
    assert trouble == "badgr: paused by hand; resume it in the admin."
    page = page.replace("pause", "resume")
    assert page in client_of_admin.get(ACCOUNTS).content.decode()
    assert client_of_admin.post(page).status_code == 302
    assert drain("badgr").refreshed == 1
    assert LogEntry.objects.count() == 2


def test_no_success_or_refusal_ends_a_pause_by_hand(
    account: ConnectedAccount, client_of_admin: Client
) -> None:
    client_of_admin.post(f"{BASE}providerstate/badgr/pause/")
    now = timezone.now()
    pauses.note_success("badgr", now=now)
    pauses.pause("badgr", "invalid_client", now=now)
    pauses.resume("badgr")
    assert ProviderState.objects.get().pause_reason == "by_hand"
    assert pauses.pause_of("badgr", now + timedelta(days=365)) == "by_hand"


def test_a_pause_asks_for_the_permission_and_for_a_provider_that_is_there(
    client_of_admin: Client, django_user_model: Any
) -> None:
    page = f"{BASE}providerstate/badgr/pause/"
    assert staff(django_user_model, "view_providerstate").post(page).status_code == 403
    assert client_of_admin.post(page.replace("badgr", "unheard")).status_code == 404
    assert not ProviderState.objects.exists()
