"""A refresh that something got ahead of: a disconnect, new settings, another process."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.provider_state import pauses
from connected_accounts.refresh import on_demand
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import finish, start, stored

pytestmark = pytest.mark.django_db


def test_a_disconnect_wins_over_a_refresh_in_flight(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connected_accounts.refresh import outcomes

    settle = outcomes.settle

    def disconnect_and_settle(attempt: Any, outcome: Any) -> Any:
        disconnect(ConnectedAccount.objects.get(pk=account.pk))
        return settle(attempt, outcome)

    monkeypatch.setattr(outcomes, "settle", disconnect_and_settle)
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert not ConnectedAccount.objects.exists()
    # The old grant as it was, and the late one, are both withdrawn.
    assert Revocation.objects.filter(outcome="pending").count() == 2


def test_a_reconnect_wins_over_a_refresh_in_flight(
    account: ConnectedAccount,
    client_of_ada: Client,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from connected_accounts.refresh import outcomes

    settle = outcomes.settle

    def reconnect_and_settle(attempt: Any, outcome: Any) -> Any:
        params = badgr.authorize(start(client_of_ada), subject="ada")
        assert finish(client_of_ada, params).status_code == 303
        return settle(attempt, outcome)

    monkeypatch.setattr(outcomes, "settle", reconnect_and_settle)
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    newest = badgr.grants[-1]
    assert stored(account)["access_token"] == newest.access_token
    # The grant that was replaced, and the late answer to its refresh, go with the newest.
    revoke_pending()
    assert [grant.is_alive for grant in badgr.grants] == [True, True]
    disconnect(ConnectedAccount.objects.get())
    revoke_pending()
    assert [grant.is_alive for grant in badgr.grants] == [False, False]


def test_a_lost_key_changes_no_status_and_bringing_it_back_heals(
    account: ConnectedAccount, badgr: FakeProvider, settings: Any
) -> None:
    good = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = ["YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="]
    with pytest.raises(Undecryptable):
        refresh(account)
    assert (account.status, account.last_error) == ("active", "undecryptable")
    assert account.refresh_at > timezone.now()
    with pytest.raises(Undecryptable):
        get_access_token(account)
    settings.FIELD_ENCRYPTION_KEY = good
    refresh(account)
    assert (account.last_error, account.failure_count) == ("", 0)


def test_a_changed_host_gets_no_token(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "eu"})
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "endpoints_changed"
    assert len(badgr.sent_to("token")) == 1


def test_a_changed_client_id_ends_the_grant_without_asking(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", CLIENT_ID="another-app")
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "credentials_rejected"
    assert len(badgr.sent_to("token")) == 1


def test_a_provider_taken_out_of_settings_is_client_rejected(
    account: ConnectedAccount, app_settings: Any
) -> None:
    app_settings(PROVIDERS={})
    with pytest.raises(ClientRejected):
        refresh(account)
    assert account.status == "active"


def test_a_deleted_account_needs_the_person(account: ConnectedAccount) -> None:
    copy = ConnectedAccount.objects.get()
    disconnect(account)
    for use in (refresh, get_access_token):
        with pytest.raises(ReauthorizationRequired) as caught:
            use(copy)
        assert caught.value.code == "disconnected"


def test_a_stale_copy_learns_why_its_refresh_is_refused(account: ConnectedAccount) -> None:
    ConnectedAccount.objects.transition(status="reconnect_required", reason="revoked")
    assert account.status == "active"
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert (account.status, account.reason) == ("reconnect_required", "revoked")


def test_who_waits_does_not_repeat_a_request_with_wrong_credentials(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_is_refused(*args: Any, **kwargs: Any) -> list[Any]:
        pauses.pause("badgr", "invalid_client")
        return []

    monkeypatch.setattr(on_demand, "claim", another_is_refused)
    with pytest.raises(ClientRejected) as caught:
        refresh(account)
    assert caught.value.code == "invalid_client"
    assert len(badgr.sent_to("token")) == 1
