"""A provider that takes a spent refresh token once more for a while, and says so."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ProviderUnavailable, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh.drain import drain
from connected_accounts.services import refresh
from connected_accounts.testing import Answer, DropAnswer, FakeProvider
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


def test_without_a_declared_window_a_lost_answer_is_not_replayed_at_once(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us"})
    badgr.script("token", DropAnswer())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    assert refreshes(badgr) == 1


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
