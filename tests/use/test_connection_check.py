"""Testing a connection: one cheap call, and words for whatever comes back."""

from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import Answer, FakeProvider
from connected_accounts.use.connection_check import CheckOutcome, check_connection
from connected_accounts.web import throttle
from connected_accounts.web.check_results import RESULTS
from tests.journeys import connect, expire, set_row

pytestmark = pytest.mark.django_db(transaction=True)


def press(client: Client, account: ConnectedAccount) -> str:
    response = client.post(f"/connections/{account.pk}/test/")
    assert response.status_code == 200
    text: str = response.content.decode()
    return text


def test_every_outcome_has_words() -> None:
    assert set(RESULTS) == set(CheckOutcome)


def test_a_good_connection_is_asked_once_whose_it_is(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    before = len(badgr.requests)
    assert "The connection works" in press(client_of_ada, account)
    assert len(badgr.requests) == before + 1


def test_a_token_that_has_run_out_is_refreshed_first(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    expire(account)
    assert check_connection(account) is CheckOutcome.WORKS
    assert len(badgr.sent_to("token")) == 2


def test_a_permission_withdrawn_there_is_found_out_and_offers_to_reconnect(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    badgr.advance(minutes=1)
    badgr.withdraw()
    text = press(client_of_ada, account)
    assert "The permission has ended" in text
    assert f"/connections/{account.pk}/reconnect/" in text
    assert ConnectedAccount.objects.get().reason == "revoked"


def test_a_service_that_is_down_leaves_the_connection_as_it_is(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    badgr.unavailable()
    assert "nothing for you to do" in press(client_of_ada, account)
    assert ConnectedAccount.objects.get().status == "active"


def test_an_answer_for_another_account_is_no_success(account: ConnectedAccount) -> None:
    set_row(account, subject="somebody-else")
    assert check_connection(account) is CheckOutcome.OTHER_ACCOUNT


def test_a_provider_that_names_nobody_is_asked_for_the_status(
    client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    assert check_connection(account) is CheckOutcome.WORKS
    bitbadges.script("identity", Answer(200, {"success": True, "signedIn": False}))
    assert check_connection(account) is CheckOutcome.REFUSED


def test_what_cannot_be_opened_is_for_the_site_to_mend(
    account: ConnectedAccount, settings: Any
) -> None:
    set_row(account, token=None)
    assert check_connection(account) is CheckOutcome.SITE_FAULT


def test_testing_again_and_again_is_limited(
    account: ConnectedAccount, client_of_ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "TESTS", throttle.Limit("trial", 0))
    response = client_of_ada.post(f"/connections/{account.pk}/test/")
    assert (response.status_code, "Retry-After" in response) == (429, True)
