"""What the provider's answer to a refresh makes of the account."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from connected_accounts import signals
from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event, ProviderState, Revocation
from connected_accounts.provider_state import outages, pauses
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh import on_demand
from connected_accounts.refresh.attempts import claim
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import (
    OMITTED,
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    Timeout,
)
from tests.journeys import connect, expire, stored

pytestmark = pytest.mark.django_db


class Received:
    """What a signal was sent with."""

    def __init__(self, signal: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.signal = signal
        signal.connect(self.note)

    def note(self, **kwargs: Any) -> None:
        self.calls.append(kwargs)


@pytest.fixture
def received() -> Any:
    made: list[Received] = []

    def listen(signal: Any) -> Received:
        made.append(Received(signal))
        return made[-1]

    yield listen
    for one in made:
        one.signal.disconnect(one.note)


def test_refresh_updates_the_account_in_place(
    account: ConnectedAccount, badgr: FakeProvider, received: Any
) -> None:
    heard = received(signals.account_refreshed)
    before = account.expires_at
    refresh(account)
    assert account.refreshed_at is not None
    assert account.expires_at > before
    assert account.generation == 1
    assert (account.lease_holder, account.lease_until, account.attempt_started_at) == (None,) * 3
    assert [call["account"] for call in heard.calls] == [account]
    # A hundred refreshes a second write no event.
    assert list(Event.objects.values_list("kind", flat=True)) == ["connected"]


def test_a_refresh_names_no_scope_unless_told_to(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    """Authlib narrows a grant for good to what a refresh names; node-oauth spends the token that it
    refuses for its scope."""
    refresh(account)
    assert "scope" not in badgr.sent_to("token")[-1].fields
    provider_settings("badgr", OPTIONS={"region": "us", "refresh_request_fields": ("scope",)})
    refresh(account)
    assert badgr.sent_to("token")[-1].fields["scope"] == "r:profile r:backpack"


def test_an_answer_without_a_refresh_token_keeps_the_old_one(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    old = stored(account)
    badgr.behaviour.omit_refresh_token = True
    refresh(account)
    assert stored(account)["refresh_token"] == old["refresh_token"]
    assert stored(account)["access_token"] != old["access_token"]
    assert account.refresh_at is not None


def test_a_grant_withdrawn_at_the_provider_needs_the_person_once(
    account: ConnectedAccount, badgr: FakeProvider, received: Any
) -> None:
    heard = received(signals.reconnect_required)
    badgr.withdraw()
    for _ in range(3):
        with pytest.raises(ReauthorizationRequired) as caught:
            refresh(account)
        assert caught.value.code == "revoked"
    assert (account.status, account.reason, account.refresh_at) == (
        "reconnect_required",
        "revoked",
        None,
    )
    assert [call["reason"] for call in heard.calls] == ["revoked"]
    assert len(badgr.sent_to("token")) == 2
    assert Event.objects.filter(kind="reconnect_required").count() == 1
    with pytest.raises(ReauthorizationRequired):
        get_access_token(account)


def test_a_lost_answer_is_replayed_and_its_end_is_called_rotation_lost(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("token", DropAnswer(), DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert account.status == "active"
    assert account.attempt_started_at is not None
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == account.reason == "rotation_lost"


@pytest.mark.parametrize("fault", [ConnectionRefused(), Answer(429, json={}), Answer(400, json={})])
def test_a_request_that_was_not_acted_on_is_no_replay_later(
    account: ConnectedAccount, badgr: FakeProvider, fault: Any
) -> None:
    badgr.script("token", fault)
    with pytest.raises((ProviderUnavailable, UnexpectedResponse)):
        refresh(account)
    assert account.attempt_started_at is None
    badgr.withdraw()
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "revoked"


@pytest.mark.parametrize(
    "faults",
    [
        [Timeout(), Timeout()],  # which is asked again at once
        [Answer(502, body="<html>")],
        [Answer(200, body="<html>")],
        [Answer(200, json={})],
    ],
)
def test_an_unknown_answer_is_remembered_as_an_open_attempt(
    account: ConnectedAccount, badgr: FakeProvider, faults: list[Any]
) -> None:
    badgr.script("token", *faults)
    with pytest.raises((ProviderUnavailable, UnexpectedResponse)):
        refresh(account)
    began = account.attempt_started_at
    assert began is not None
    badgr.script("token", ConnectionRefused())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert account.attempt_started_at == began
    refresh(account)
    assert account.attempt_started_at is None


def test_rejected_client_credentials_of_two_accounts_pause_the_provider_and_end_neither(
    account: ConnectedAccount, badgr: FakeProvider, make_account: Any
) -> None:
    for one in (account, make_account()):
        badgr.script("token", Answer(401, json={"error": "invalid_client"}))
        with pytest.raises(ClientRejected):
            refresh(one)
        assert (one.status, one.failure_count, one.last_error) == ("active", 1, "invalid_client")
    assert ProviderState.objects.get().paused_until > timezone.now()
    assert Event.objects.filter(kind="client_rejected").count() == 1
    expire(account)
    with pytest.raises(ProviderUnavailable):
        get_access_token(account)
    refresh(account)
    assert ProviderState.objects.get().paused_until is None


def test_an_answer_for_another_account_ends_the_grant_and_that_answers_too(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    bitbadges.grants[0].subject = "bb1somebodyelse"
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "identity_changed"
    assert Revocation.objects.get().subject == "bb1somebodyelse"
    assert stored(account)["access_token"] != bitbadges.grants[0].access_token


def test_an_answer_that_spells_the_account_otherwise_ends_nothing(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    answer = {"access_token": "new", "refresh_token": "newer", "address": "0xother"}
    bitbadges.script("token", Answer(200, json=answer))
    refresh(account)
    assert stored(account)["access_token"] == "new"


def test_a_failure_told_with_status_200_is_understood(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    bitbadges.script("token", Answer(200, json={"errorMessage": "Refresh token expired."}))
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "refresh_token_expired"


def test_scopes_that_a_refresh_changes_are_stored_and_told(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.grants[0].scopes = ("r:profile",)
    refresh(account)
    refresh(account)
    assert account.scopes_granted == ["r:profile"]
    assert [e.detail for e in Event.objects.filter(kind="scopes_changed")] == ["r:profile"]


def test_a_known_end_of_the_refresh_token_is_kept_when_an_answer_has_none(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    bitbadges.behaviour.refresh_token_expires_in = 7200
    account = connect(client_of_ada, bitbadges, "bitbadges")
    ends = account.refresh_token_expires_at
    bitbadges.behaviour.omit_refresh_token = True
    bitbadges.behaviour.refresh_token_expires_in = OMITTED
    refresh(account)
    assert account.refresh_token_expires_at == ends
    assert account.refresh_at < ends


def test_an_account_known_by_its_older_spelling_stays_connected(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    ConnectedAccount.objects.filter(pk=account.pk).update(subject="cosmos1abc")
    account.refresh_from_db()
    both = {"bitbadgesAddress": "bb1new", "cosmosAddress": "cosmos1abc"}
    bitbadges.script(
        "token", Answer(200, json={"access_token": "new", "refresh_token": "newer", **both})
    )
    refresh(account)
    assert (account.status, account.subject) == ("active", "cosmos1abc")


def test_where_no_thread_can_be_started_a_refresh_is_given_back_and_blames_nobody(
    account: ConnectedAccount, badgr: FakeProvider, no_thread_to_ask: None
) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        refresh(account)
    assert (caught.value.code, caught.value.sent) == ("no_thread", False)
    assert (account.lease_holder, account.attempt_started_at) == (None, None)
    assert not ProviderState.objects.exclude(failures_in_a_row=0).exists()
    assert len(badgr.sent_to("token")) == 1  # which connected it


def away(*args: Any, **kwargs: Any) -> Any:
    """In place of a function that asks the database."""
    raise OperationalError("server closed the connection")


@pytest.mark.parametrize(
    ("owner", "name"), [(pauses, "note_success"), (outages, "note_failure")], ids=["good", "bad"]
)
def test_what_cannot_be_noted_of_the_provider_changes_no_outcome(
    account: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    """The database goes away for a moment, right behind the storing."""
    monkeypatch.setattr(owner, name, away)
    if owner is pauses:
        refresh(account)
        assert account.refreshed_at is not None
        return
    badgr.script("token", Answer(503))
    with pytest.raises(ProviderUnavailable):
        refresh(account)


def test_a_claim_of_nothing_takes_nothing(badgr: FakeProvider) -> None:
    assert claim([], get_provider("badgr"), now=timezone.now()) == []


@pytest.mark.parametrize(
    ("owner", "name"), [(on_demand, "wait_for_slot"), (outages, "state_of")], ids=["slot", "turn"]
)
def test_a_database_away_before_anything_is_sent_leaves_no_lease(
    account: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    expire(account)
    monkeypatch.setattr(owner, name, away)
    with pytest.raises(OperationalError):
        get_access_token(account)
    row = ConnectedAccount.objects.get()
    assert (row.lease_holder, row.attempt_started_at) == (None, None)


def test_a_hook_that_ends_its_thread_keeps_nobody_waiting(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*args: Any) -> Any:
        raise SystemExit

    monkeypatch.setattr(Badgr, "prepare_token_request", leave)
    with pytest.raises(UnexpectedResponse, match="hook_failed"):
        refresh(account)
    assert account.lease_holder is None
