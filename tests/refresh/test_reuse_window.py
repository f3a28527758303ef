"""A lost answer is asked for again at once, once: a provider may take a spent refresh token once
more for a while, whether it says so or not."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ProviderUnavailable, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import (
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    connect_account,
)
from tests.journeys import connect, set_row, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider, provider_settings: Any) -> ConnectedAccount:
    provider_settings("badgr", OPTIONS={"region": "us", "reuse_window": 30})
    badgr.behaviour.reuse_window = 30
    return connect(client_of_ada, badgr)


def refreshes(fake: FakeProvider) -> int:
    return sum("refresh_token" in request.fields for request in fake.sent_to("token"))


def test_a_lost_answer_is_asked_for_again_at_once(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("token", DropAnswer())
    refresh(account)
    assert refreshes(badgr) == 2
    assert stored(account)["refresh_token"] == badgr.grants[0].refresh_token
    assert (account.failure_count, account.attempt_started_at) == (0, None)
    refresh(account)
    assert badgr.reuses == 0


@pytest.mark.parametrize("lost", [Answer(502), Answer(200, body="<html>")])
def test_an_answer_that_cannot_be_read_counts_as_lost(
    account: ConnectedAccount, badgr: FakeProvider, lost: Answer
) -> None:
    badgr.script("token", lost)
    refresh(account)
    assert refreshes(badgr) == 2


@pytest.mark.parametrize("refused", [Answer(429), Answer(503), Answer(400, json={"error": "x"})])
def test_what_was_refused_is_not_asked_for_again(
    account: ConnectedAccount, badgr: FakeProvider, refused: Answer
) -> None:
    badgr.script("token", refused)
    with pytest.raises(Exception, match="provider"):
        refresh(account)
    assert refreshes(badgr) == 1


def test_lost_twice_it_is_due_again_after_a_second_and_not_a_minute(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("token", DropAnswer(), DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert refreshes(badgr) == 2
    assert account.refresh_at - timezone.now() < timedelta(seconds=2)
    assert drain("badgr", now=timezone.now() + timedelta(seconds=5)).refreshed == 1
    assert badgr.reuses == 0


def test_outside_the_window_the_wait_is_that_of_any_failure(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    set_row(account, attempt_started_at=timezone.now() - timedelta(seconds=31))
    badgr.script("token", DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert refreshes(badgr) == 1
    assert account.refresh_at - timezone.now() > timedelta(seconds=50)


def test_a_grant_that_is_dead_in_the_replay_was_lost_in_rotation(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.behaviour.reuse_window = 0  # it promised more than it keeps
    badgr.script("token", DropAnswer())
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == account.reason == "rotation_lost"


def test_without_a_declared_window_it_is_asked_for_at_once_too_and_once(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us"})
    badgr.script("token", DropAnswer())
    refresh(account)
    assert (refreshes(badgr), badgr.reuses) == (2, 0)
    badgr.script("token", DropAnswer(), DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert refreshes(badgr) == 4
    assert account.refresh_at - timezone.now() > timedelta(seconds=50)
    badgr.script("token", DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert refreshes(badgr) == 5, "what was asked for twice is no longer in any grace"


def test_a_loss_after_failures_that_reached_nobody_is_asked_for_at_once(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us"})
    badgr.script("token", Answer(503), DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    refresh(account)
    assert (account.failure_count, badgr.reuses) == (0, 0)


def test_who_loses_the_grant_by_anothers_lost_answer_is_not_told_of_a_withdrawal(
    account: ConnectedAccount, bob: Any, badgr: FakeProvider
) -> None:
    """better-auth ends all grants of a person when a spent token comes back."""
    badgr.behaviour.reuse_window = 0
    other = connect_account(badgr, bob, subject="ada")
    stranger = connect_account(badgr, bob, subject="bob")
    badgr.script("token", DropAnswer())
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    badgr.withdraw()
    for one, reason in ((other, "rotation_lost"), (stranger, "revoked")):
        with pytest.raises(ReauthorizationRequired):
            refresh(one)
        assert one.reason == reason


def test_where_it_is_declared_a_lost_answer_is_never_asked_for_again(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us", "replay_lost_answer": False})
    spent = stored(account)["refresh_token"]
    badgr.script("token", DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert account.status == "active"
    assert get_access_token(account) == stored(account)["access_token"]
    for _ in range(30):
        badgr.advance(hours=1)
        drain("badgr")
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "rotation_lost")
    assert badgr.presentations[spent] == 1


def test_the_life_of_a_repeated_answer_is_counted_from_the_first_request(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us"})
    badgr.behaviour.reuse_window = 120
    first = timezone.now()
    badgr.script("token", DropAnswer(), ConnectionRefused())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    badgr.advance(seconds=70)
    refresh(account)
    assert account.expires_at - first < timedelta(seconds=86400 - 70 + 5)
    assert account.refreshed_at >= first


def test_after_a_long_outage_the_life_is_counted_from_the_request_that_was_answered(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us"})
    badgr.behaviour.expires_in = 3600
    badgr.script("token", Answer(502))
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    badgr.advance(hours=2)
    refresh(account)
    assert account.expires_at > timezone.now() + timedelta(minutes=59)


def test_under_a_rate_limit_the_replay_waits_for_a_place_of_its_own(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=50)
    badgr.script("token", DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert refreshes(badgr) == 1
    refresh(account)
    assert badgr.reuses == 0
