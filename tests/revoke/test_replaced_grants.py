"""What a new grant does to the old one: what the answer does not say is kept, what it replaces is
withdrawn at the disconnect, and what a refused attempt brought is withdrawn at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import AuthorizationDenied, ConnectedAccountsError
from connected_accounts.models import ConnectedAccount, Event, Kind, Outcome, Revocation
from connected_accounts.models.history import Cause
from connected_accounts.operations.health import health
from connected_accounts.operations.retention import purge_old
from connected_accounts.refresh import outcomes
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, disconnect_all, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from tests.journeys import connect, set_row, stored
from tests.named_server import name_server, with_fields

pytestmark = pytest.mark.django_db

Fakes = Callable[..., FakeProvider]


def alive(fake: FakeProvider) -> list[bool]:
    return [grant.is_alive for grant in fake.grants]


# --- What is not said was not taken away


@pytest.mark.parametrize("how", ["connect", "reconnect", "more scopes"])
def test_a_refresh_token_that_is_not_given_twice_is_kept(
    settings: Any, fake_provider: Fakes, ada: Any, how: str
) -> None:
    name_server(settings, "google", SCOPES=["openid"], OPTIONAL_SCOPES=["calendar"])
    fake = fake_provider("google", expires_in=3600, rotates=False, refresh_token_expires_in=86400)
    first = connect_account(fake, ada)
    kept, ends = stored(first)["refresh_token"], first.refresh_token_expires_at
    fake.behaviour.omit_refresh_token = True
    with_fields(fake, refresh_token_expires_in=...)
    again = connect_account(
        fake,
        ada,
        account=first if how == "reconnect" else None,
        scopes=["calendar"] if how == "more scopes" else (),
    )
    assert again.pk == first.pk
    assert stored(again)["refresh_token"] == kept
    assert again.refresh_at is not None
    assert again.refresh_token_expires_at == ends
    assert not Revocation.objects.exists()
    disconnect(again)
    revoke_pending()
    assert [sent.fields["token"] for sent in fake.sent_to("revocation")] == [kept]


def test_a_label_that_is_not_said_again_is_kept(
    settings: Any, fake_provider: Fakes, ada: Any
) -> None:
    name_server(settings, "shy")
    fake = fake_provider("shy")
    connect_account(fake, ada, label="ada@example.org")
    assert connect_account(fake, ada, label="").label == "ada@example.org"
    assert connect_account(fake, ada, label="new@example.org").label == "new@example.org"


ENDED: dict[str, dict[str, Any]] = {
    "reconnect_required": {"status": "reconnect_required", "reason": "revoked"},
    "run_out": {"refresh_token_expires_at": timezone.now() - timedelta(days=1)},
    "other_client": {"client_id": "another"},
    "other_hosts": {"endpoint_fingerprint": "f" * 64},
}


@pytest.mark.parametrize("why", ENDED)
def test_a_refresh_token_that_is_not_good_any_more_is_not_kept(
    settings: Any, fake_provider: Fakes, ada: Any, why: str
) -> None:
    name_server(settings, "google")
    fake = fake_provider("google", expires_in=3600, rotates=False)
    first = connect_account(fake, ada)
    set_row(first, **ENDED[why])
    fake.behaviour.omit_refresh_token = True
    assert stored(connect_account(fake, ada))["refresh_token"] is None


def test_a_kept_refresh_token_that_may_be_spent_is_known_to_be(
    settings: Any, fake_provider: Fakes, ada: Any
) -> None:
    name_server(settings, "google")
    fake = fake_provider("google", expires_in=3600)
    since = timezone.now() - timedelta(minutes=1)
    first = connect_account(fake, ada)
    set_row(first, attempt_started_at=since)
    fake.behaviour.omit_refresh_token = True
    assert connect_account(fake, ada).attempt_started_at == since
    fake.behaviour.omit_refresh_token = False
    assert connect_account(fake, ada).attempt_started_at is None


# --- What is replaced


@pytest.mark.parametrize("how", ["connect", "reconnect"])
@pytest.mark.parametrize("end", ["disconnect", "disconnect_all", "delete_user"])
def test_a_replaced_grant_lives_until_the_disconnect_and_not_longer(
    client_of_ada: Client, ada: Any, badgr: FakeProvider, how: str, end: str
) -> None:
    first = connect_account(badgr, ada)
    account = first
    for _ in range(2):
        account = connect_account(badgr, ada, account=first if how == "reconnect" else None)
    revoke_pending(now=timezone.now() + timedelta(days=40))
    purge_old(timezone.now() + timedelta(days=900), timedelta(days=1))
    assert alive(badgr) == [True, True, True]
    assert [row.revocations_waiting for row in health(timezone.now())][:1] == [0]
    assert "Recently disconnected" not in client_of_ada.get("/connections/").content.decode()
    if end == "disconnect":
        disconnect(account)
    elif end == "disconnect_all":
        assert list(disconnect_all(ConnectedAccount.objects.all()))[-1] == 1
    else:
        ada.delete()
    assert set(Revocation.objects.values_list("outcome", flat=True)) == {Outcome.PENDING}
    revoke_pending()
    assert alive(badgr) == [False, False, False]
    causes = Revocation.objects.values_list("cause", flat=True)
    assert sorted(causes) == ["disconnected", "replaced", "replaced"]


def test_the_person_is_told_once_of_a_disconnect_and_of_an_older_grant_that_lives_on(
    client_of_ada: Client, ada: Any, badgr: FakeProvider
) -> None:
    connect_account(badgr, ada)
    disconnect(connect_account(badgr, ada))
    page = client_of_ada.get("/connections/").content.decode()
    assert page.count("is being withdrawn") == 1
    older = Revocation.objects.get(cause=Cause.REPLACED)
    Revocation.objects.filter(pk=older.pk).update(
        attempts=1, outcome=Outcome.GIVEN_UP, next_attempt_at=timezone.now() + timedelta(days=1)
    )
    revoke_pending()
    page = client_of_ada.get("/connections/").content.decode()
    assert (page.count("was withdrawn"), page.count("could not be withdrawn")) == (1, 1)
    Revocation.objects.filter(pk=older.pk).update(outcome=Outcome.REVOKED)
    assert "could not be withdrawn" not in client_of_ada.get("/connections/").content.decode()


def test_nothing_is_held_that_nobody_could_withdraw_or_that_has_run_out(
    settings: Any, fake_provider: Fakes, ada: Any
) -> None:
    name_server(settings, "without", {"revocation_endpoint": None})
    without = fake_provider("without")
    name_server(settings, "brief")
    brief = fake_provider("brief", omit_refresh_token=True, expires_in=60)
    for _ in range(2):
        connect_account(without, ada)
    connect_account(brief, ada)
    brief.advance(minutes=2)
    connect_account(brief, ada)
    assert not Revocation.objects.exists()


def test_an_access_token_without_an_end_is_held_too(
    settings: Any, fake_provider: Fakes, ada: Any
) -> None:
    name_server(settings, "indico")
    fake = fake_provider("indico", omit_refresh_token=True, expires_in=0)
    connect_account(fake, ada)
    disconnect(connect_account(fake, ada))
    revoke_pending()
    assert alive(fake) == [False, False]


def test_a_replaced_grant_whose_key_is_missing_is_held_unopened(
    settings: Any, ada: Any, badgr: FakeProvider
) -> None:
    from cryptography.fernet import Fernet

    account = connect_account(badgr, ada)
    keys = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    again = connect_account(badgr, ada)
    assert again.pk == account.pk
    settings.FIELD_ENCRYPTION_KEY = [
        *settings.FIELD_ENCRYPTION_KEY,
        *(keys if isinstance(keys, list) else [keys]),
    ]
    disconnect(again)
    revoke_pending()
    assert alive(badgr) == [False, False]


def test_a_refresh_that_a_new_grant_overtook_is_held_as_well(
    ada: Any, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = connect_account(badgr, ada)
    settle = outcomes.settle

    def reconnect_and_settle(attempt: Any, outcome: Any) -> Any:
        connect_account(badgr, ada)
        return settle(attempt, outcome)

    monkeypatch.setattr(outcomes, "settle", reconnect_and_settle)
    with pytest.raises(ConnectedAccountsError):
        refresh(account)
    revoke_pending()
    assert alive(badgr) == [True, True]
    disconnect(ConnectedAccount.objects.get())
    revoke_pending()
    assert alive(badgr) == [False, False]


# --- What was never used


def test_a_connect_that_was_refused_withdraws_what_it_brought(
    ada: Any, bob: Any, client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada, subject="ada")
    connect_account(badgr, bob, subject="bob")
    with pytest.raises(AuthorizationDenied):
        connect_account(badgr, ada, subject="bob", account=account)
    assert Revocation.objects.get().cause == Cause.UNUSED
    assert "Recently disconnected" not in client_of_ada.get("/connections/").content.decode()
    revoke_pending()
    assert alive(badgr) == [True, True, False]
    assert "Recently disconnected" not in client_of_ada.get("/connections/").content.decode()
    assert not Event.objects.filter(kind__in=(Kind.REVOKED, Kind.GIVEN_UP)).exists()


def test_where_one_revocation_ends_all_the_others_account_goes_on(
    settings: Any, fake_provider: Fakes, ada: Any, bob: Any
) -> None:
    name_server(settings, "whole", {"revokes_whole_authorization": True})
    fake = fake_provider("whole")
    account = connect_account(fake, ada, subject="ada")
    connect_account(fake, bob, subject="bob")
    with pytest.raises(AuthorizationDenied):
        connect_account(fake, ada, subject="bob", account=account)
    assert not Revocation.objects.exists()


def test_what_could_be_one_with_an_account_of_the_same_owner_waits_for_its_end(
    ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada, subject="ada")
    other = connect_account(badgr, ada, subject="grace")
    with pytest.raises(AuthorizationDenied):
        connect_account(badgr, ada, subject="grace", account=account)
    revoke_pending()
    assert alive(badgr) == [True, True, True]
    disconnect(other)
    revoke_pending()
    assert alive(badgr) == [True, False, False]


def test_a_reconnect_whose_identity_was_not_told_ends_nothing_that_works(
    ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada)
    badgr.script("identity", Answer(503))
    with pytest.raises(ConnectedAccountsError):
        connect_account(badgr, ada, account=account)
    revoke_pending()
    assert alive(badgr) == [True, True]
    disconnect(account)
    revoke_pending()
    assert alive(badgr) == [False, False]


# --- Another connection of the same account


@pytest.mark.parametrize("elsewhere", ["newer", "older", "ended"])
def test_who_lost_the_grant_to_another_connection_is_told_so(
    settings: Any,
    fake_provider: Fakes,
    ada: Any,
    bob: Any,
    client_of_ada: Client,
    elsewhere: str,
) -> None:
    name_server(settings, "workers")
    fake = fake_provider("workers")
    if elsewhere == "older":
        connect_account(fake, bob)
        fake.advance(minutes=1)
    account = connect_account(fake, ada)
    fake.advance(minutes=1)
    if elsewhere != "older":
        connect_account(fake, bob)
    if elsewhere == "ended":
        set_row(ConnectedAccount.objects.for_user(bob).get(), status="reconnect_required")
    for grant in fake.grants:
        grant.revoke()
    with pytest.raises(ConnectedAccountsError) as caught:
        refresh(account)
    expected = "replaced" if elsewhere == "newer" else "revoked"
    assert (caught.value.code, account.reason) == (expected, expected)
    page = client_of_ada.get("/connections/").content.decode()
    assert ("another connection of the same account took its place" in page) is (
        elsewhere == "newer"
    )


def test_reconnecting_ends_the_reason(ada: Any, client_of_ada: Client, badgr: FakeProvider) -> None:
    account = connect(client_of_ada, badgr)
    set_row(account, status="reconnect_required", reason="replaced")
    assert connect(client_of_ada, badgr).reason == ""
