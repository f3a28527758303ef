"""The outbox: a grant is withdrawn at the provider until that is true."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.revoke import outbox
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, refresh
from connected_accounts.testing import Answer, ConnectionRefused, DropAnswer, FakeProvider, Timeout
from tests.journeys import connect

pytestmark = pytest.mark.django_db


def later(**delta: Any) -> Any:
    return timezone.now() + timedelta(**delta)


def kinds() -> list[str]:
    return list(Event.objects.order_by("pk").values_list("kind", flat=True))


def test_the_outbox_withdraws_the_grant_and_keeps_no_token(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    disconnect(account)
    tasks.revoke_pending_tokens.apply().get()
    row = Revocation.objects.get()
    assert (row.outcome, row.attempts, row.token, row.next_attempt_at) == ("revoked", 1, None, None)
    assert not badgr.grants[0].is_alive
    assert kinds() == ["connected", "disconnected", "revoked"]
    tasks.revoke_pending_tokens.apply().get()
    assert len(badgr.sent_to("revocation")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        ConnectionRefused(),
        Timeout(),
        DropAnswer(),
        Answer(500, body="<html>"),
        Answer(503),
        Answer(401, json={"error": "invalid_client"}),
        Answer(302, headers={"Location": "https://elsewhere.example/"}),
    ],
)
def test_a_revocation_that_fails_is_tried_again_until_it_is_true(
    account: ConnectedAccount, badgr: FakeProvider, fault: Any
) -> None:
    disconnect(account)
    badgr.script("revocation", fault, fault)
    assert revoke_pending() == 1
    row = Revocation.objects.get()
    assert (row.outcome, row.attempts) == ("pending", 1)
    assert row.last_error
    assert timezone.now() < row.next_attempt_at < later(minutes=2)
    assert revoke_pending() == 0
    assert revoke_pending(now=later(minutes=3)) == 1
    assert revoke_pending(now=later(minutes=10)) == 1
    assert Revocation.objects.get().outcome == "revoked"


def test_retry_after_is_honoured(account: ConnectedAccount, badgr: FakeProvider) -> None:
    disconnect(account)
    badgr.script("revocation", Answer(503, headers={"Retry-After": "1800"}))
    revoke_pending()
    assert Revocation.objects.get().next_attempt_at > later(minutes=29)


@pytest.mark.parametrize("status", [404, 405])
def test_an_endpoint_that_is_not_there_is_unsupported_and_said_so(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider, status: int
) -> None:
    disconnect(account)
    badgr.script("revocation", Answer(status), Answer(status))
    revoke_pending()
    assert Revocation.objects.get().outcome == "unsupported"
    page = client_of_ada.get("/connections/").content.decode()
    assert "offers no way to withdraw the permission from here" in page


def test_a_lost_key_keeps_the_revocation_waiting_for_it(
    account: ConnectedAccount, badgr: FakeProvider, settings: Any
) -> None:
    disconnect(account)
    good = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = ["YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="]
    revoke_pending()
    revoke_pending(now=later(minutes=2))
    row = Revocation.objects.get()
    assert (row.outcome, row.last_error, row.attempts) == ("pending", "undecryptable", 2)
    assert kinds()[-2:] == ["disconnected", "undecryptable"], "said once, not at each attempt"
    assert Event.objects.latest("pk").detail == "key_missing"
    settings.FIELD_ENCRYPTION_KEY = good
    revoke_pending(now=later(minutes=10))
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"OPTIONS": {"region": "eu"}}, "endpoints_changed"),
        ({"CLIENT_ID": "another"}, "client_id_changed"),
    ],
)
def test_a_token_goes_to_no_other_host_or_client(
    account: ConnectedAccount,
    badgr: FakeProvider,
    provider_settings: Any,
    change: dict[str, Any],
    code: str,
) -> None:
    disconnect(account)
    provider_settings("badgr", **change)
    revoke_pending()
    assert Revocation.objects.get().last_error == code
    assert not badgr.sent_to("revocation")


def test_a_provider_taken_out_of_settings_waits(
    account: ConnectedAccount, badgr: FakeProvider, app_settings: Any
) -> None:
    disconnect(account)
    app_settings(PROVIDERS={})
    revoke_pending()
    assert Revocation.objects.get().last_error == "unknown_provider"


def test_a_copy_of_the_database_does_not_end_the_originals_grants(
    account: ConnectedAccount, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(SITE_ID="production")
    refresh(account)
    app_settings(SITE_ID="staging")
    disconnect(account)
    revoke_pending()
    assert Revocation.objects.get().last_error == "other_site"
    assert badgr.grants[0].is_alive


def test_bitbadges_gone_already_counts_as_withdrawn(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    bitbadges.withdraw()
    disconnect(account)
    revoke_pending()
    assert Revocation.objects.get().outcome == "already_gone"


def test_purge_deletes_what_has_served_and_keeps_what_is_owed(
    account: ConnectedAccount, badgr: FakeProvider, client_of_ada: Client
) -> None:
    from connected_accounts.operations.retention import purge_old

    disconnect(account)
    second = connect(client_of_ada, badgr)
    revoke_pending()
    disconnect(second)
    assert purge_old(timezone.now(), timedelta(days=90)) == 0
    # Two authorization requests, all five events, one finished revocation.
    assert purge_old(later(days=91), timedelta(days=90)) == 8
    assert Revocation.objects.get().outcome == "pending"
    tasks.purge.apply().get()


def test_a_round_waits_while_no_provider_has_a_slot_free(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect(account)
    looks: list[str] = []
    monkeypatch.setattr(outbox, "POLL", 0.05)
    monkeypatch.setattr(outbox, "reserve_slots", lambda *args, **kwargs: looks.append("") or [])
    assert revoke_pending(seconds=0.3) == 0
    assert 1 < len(looks) <= 7


def test_where_no_thread_can_be_started_a_round_ends_and_the_next_goes_on(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect(account)
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", no_thread)
        revoke_pending()
    row = Revocation.objects.get()
    assert (row.outcome, badgr.sent_to("revocation")) == ("pending", [])
    revoke_pending(now=later(minutes=6))
    row.refresh_from_db()
    assert row.outcome == "revoked"


def no_thread(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
