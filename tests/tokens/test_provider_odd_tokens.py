"""Token answers that are odd but are the only ones there are, and one that is another's.

The table in ``docs/auditors/provider-faults.md`` names these tests.
"""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.services import get_access_token, refresh
from tests.journeys import set_row, stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_connections")]

GOOD = {
    "access_token": "new-access-token",
    "refresh_token": "new-refresh-token",
    "account": "ada-at-the-provider",
}


def answered(account_at: Any, serve: Any, answering: Any, **fields: Any) -> ConnectedAccount:
    """Refresh against an answer with these fields; ``...`` leaves one out."""
    fields = {name: value for name, value in (GOOD | fields).items() if value is not ...}
    account: ConnectedAccount = account_at(serve(answering(json.dumps(fields))).url)
    refresh(account)
    assert (account.status, account.failure_count) == ("active", 0)
    assert stored(account)["access_token"] == "new-access-token"
    return account


def test_a_missing_expires_in_is_not_known_and_nothing_is_due(
    account_at: Any, serve: Any, answering: Any
) -> None:
    account = answered(lambda url: account_at(url, expires_in=None), serve, answering)
    assert (account.expires_at, account.refresh_at) == (None, None)
    assert get_access_token(account) == "new-access-token"


@pytest.mark.parametrize("untold", [..., None, ""])
def test_a_missing_expires_in_leaves_the_life_that_was_told_last(
    account_at: Any, serve: Any, answering: Any, untold: Any
) -> None:
    def outlived(url: str) -> ConnectedAccount:
        account: ConnectedAccount = account_at(url, expires_in=1800)
        set_row(account, expires_at=timezone.now() - timedelta(hours=1))
        return account

    account = answered(outlived, serve, answering, expires_in=untold)
    for _ in range(2):  # and it is told no more
        assert account.expires_at == account.refreshed_at + timedelta(seconds=1800)
        assert account.refreshed_at < account.refresh_at < account.expires_at
        refresh(account)


@pytest.mark.parametrize("life", [0, -5, "0"])
def test_an_expires_in_of_nothing_makes_no_refresh_loop(
    account_at: Any, serve: Any, answering: Any, life: Any
) -> None:
    server = serve(answering(json.dumps(GOOD | {"expires_in": life})))
    account = account_at(server.url)
    refresh(account)
    assert (account.expires_at, account.refresh_at) == (None, None)  # not told, or without end
    for _ in range(20):
        assert get_access_token(account) == "new-access-token"
    assert len(server.requests) == 1


def test_an_expires_in_that_is_a_text_is_a_number(
    account_at: Any, serve: Any, answering: Any
) -> None:
    account = answered(account_at, serve, answering, expires_in="3600")
    life = account.expires_at - timezone.now()
    assert timedelta(minutes=59) < life <= timedelta(hours=1)


def test_an_expires_in_beyond_all_measure_is_ten_years(
    account_at: Any, serve: Any, answering: Any
) -> None:
    account = answered(account_at, serve, answering, expires_in=1e12)
    years = (account.expires_at - timezone.now()).days / 365
    assert 9.9 < years <= 10


@pytest.mark.parametrize("given", [..., "", None])
def test_a_missing_or_empty_refresh_token_keeps_the_old_one(
    account_at: Any, serve: Any, answering: Any, given: Any
) -> None:
    account = answered(account_at, serve, answering, refresh_token=given, expires_in=3600)
    assert stored(account)["refresh_token"] == "stored-refresh-token"
    assert account.refresh_at is not None


def test_a_token_of_another_account_is_not_stored_and_is_withdrawn(
    account_at: Any, serve: Any, answering: Any
) -> None:
    theirs = GOOD | {"account": "somebody-else"}
    account = account_at(serve(answering(json.dumps(theirs))).url)
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == account.reason == "identity_changed"
    assert stored(account)["access_token"] == "stored-access-token"
    assert Revocation.objects.get().subject == "somebody-else"
