"""A token that an API refuses: one cure, where there may be one, and the person where there is
none."""

from typing import Any

import pytest

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.challenge import means_dead_token
from connected_accounts.services import get_session, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from connected_accounts.use.connection_check import CheckOutcome, check_connection

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    account = connect_account(badgr, ada)
    badgr.advance(minutes=1)  # a younger token is not taken for dead
    return account


def refreshes(fake: FakeProvider) -> int:
    return sum("refresh_token" in request.fields for request in fake.sent_to("token"))


@pytest.mark.parametrize(
    ("said", "dead"),
    [
        ("", True),
        ("Bearer", True),
        ('Bearer realm="x"', True),
        ('Bearer error="invalid_token", error_description="insufficient_scope"', True),
        ("Bearer error=expired_token", True),
        ('Bearer error="insufficient_scope"', False),
        ('Bearer realm="x", error="insufficient_scope", scope="a b"', False),
        ('Bearer error="insufficient_user_authentication", max_age="5"', False),
        ('DPoP error="use_dpop_nonce"', False),
        ('Bearer error_description="invalid_token"', True),
    ],
)
def test_the_reason_is_read_from_the_challenge(said: str, dead: bool) -> None:
    assert means_dead_token({"WWW-Authenticate": said}) is dead


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_for_another_reason_than_the_token_refreshes_nothing(
    account: ConnectedAccount, badgr: FakeProvider, status: int, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us", "dead_token_statuses": [401, 403]})
    said = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    badgr.script("api", *[Answer(status, json={}, headers=said) for _ in range(20)])
    session = get_session(account)
    assert {session.get("v2/forbidden").status_code for _ in range(20)} == {status}
    assert refreshes(badgr) == 0


def test_a_cure_that_did_not_help_is_not_tried_again_within_the_hour(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("api", *[Answer(401, json={})] * 100)
    session = get_session(account)
    for _ in range(20):
        session.get("v2/forbidden")
    assert refreshes(badgr) == 1
    for _ in range(11):  # almost an hour
        badgr.advance(minutes=5)
        session.get("v2/forbidden")
    assert refreshes(badgr) == 1
    badgr.advance(minutes=6)
    session.get("v2/forbidden")
    assert refreshes(badgr) == 2


def test_a_cure_is_tried_once_in_the_life_of_a_token_that_lives_for_less(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.behaviour.expires_in = 600
    badgr.script("api", *[Answer(401, json={})] * 40)
    session = get_session(account)
    session.get("v2/forbidden")
    badgr.advance(minutes=5)
    session.get("v2/forbidden")
    assert refreshes(badgr) == 1


@pytest.mark.parametrize("came_by", ["connecting", "refreshing"])
def test_a_token_younger_than_a_minute_is_not_what_is_wrong(
    ada: Any, account: ConnectedAccount, badgr: FakeProvider, came_by: str
) -> None:
    if came_by == "connecting":
        account = connect_account(badgr, ada)
    else:
        refresh(account)
    before = refreshes(badgr)
    badgr.script("api", *[Answer(401, json={})] * 3)
    badgr.advance(seconds=59)
    assert get_session(account).get("v2/x").status_code == 401
    assert refreshes(badgr) == before
    badgr.advance(seconds=1)
    get_session(account).get("v2/x")
    assert refreshes(badgr) == before + 1


def test_a_token_that_dies_between_two_refreshes_is_cured(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.expire_access_tokens()
    assert get_session(account).get("v2/users/self").status_code == 200
    badgr.advance(hours=2)
    badgr.expire_access_tokens()
    assert get_session(account).get("v2/users/self").status_code == 200
    assert refreshes(badgr) == 2


# --- 403 ----------------------------------------------------------------------------------------


def test_a_403_of_the_api_is_a_dead_token_where_that_is_declared(
    account: ConnectedAccount, badgr: FakeProvider, provider_settings: Any
) -> None:
    badgr.script("api", Answer(403, json={}))
    assert get_session(account).get("v2/x").status_code == 403
    assert refreshes(badgr) == 0
    provider_settings("badgr", OPTIONS={"region": "us", "dead_token_statuses": [401, 403]})
    badgr.script("api", Answer(403, json={}), Answer(200, json={}))
    assert get_session(account).get("v2/x").status_code == 200
    assert refreshes(badgr) == 1


@pytest.fixture
def without_refresh(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    badgr.behaviour.omit_refresh_token = True
    badgr.behaviour.expires_in = 14 * 86400
    return connect_account(badgr, ada)


def test_the_address_that_said_whose_it_is_means_a_dead_token_by_a_403(
    without_refresh: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("identity", *[Answer(403, json={"status": 403, "message": None})] * 2)
    with pytest.raises(ReauthorizationRequired):
        get_session(without_refresh).get("v2/users/self")
    without_refresh.refresh_from_db()
    assert (without_refresh.status, without_refresh.reason) == ("reconnect_required", "revoked")


def test_calls_that_are_refused_alone_ask_once_a_minute_whether_the_token_is_alive(
    without_refresh: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("api", *[Answer(401, json={})] * 20)
    badgr.requests.clear()
    for _ in range(20):
        with pytest.raises(ReauthorizationRequired, match="no_refresh_token"):
            get_session(without_refresh).get("v2/forbidden")
    assert len(badgr.sent_to("api")) == 20
    assert len(badgr.sent_to("identity")) == 1
    without_refresh.refresh_from_db()
    assert without_refresh.status == "active"


def test_a_broken_cache_keeps_nobody_from_asking(
    without_refresh: ConnectedAccount, badgr: FakeProvider, monkeypatch: Any
) -> None:
    monkeypatch.setattr("connected_accounts.use.tokens.cache", None)
    badgr.script("identity", *[Answer(403, json={})] * 2)
    with pytest.raises(ReauthorizationRequired, match="revoked"):
        get_session(without_refresh).get("v2/users/self")


def test_the_test_of_a_connection_finds_out_too_and_says_so(
    without_refresh: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("identity", *[Answer(403, json={})] * 2)
    assert check_connection(without_refresh) is CheckOutcome.RECONNECT


def test_with_a_refresh_token_a_403_there_is_cured_once(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("identity", Answer(403, json={}))
    assert get_session(account).get("v2/users/self").status_code == 200
    assert refreshes(badgr) == 1
    badgr.script("identity", *[Answer(403, json={})] * 5)
    assert check_connection(account) is CheckOutcome.REFUSED
    assert refreshes(badgr) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "60"},
        {"X-RateLimit-Remaining": "0"},
        {"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
    ],
    ids=repr,
)
def test_a_403_that_says_why_ends_no_connection(
    without_refresh: ConnectedAccount, badgr: FakeProvider, headers: dict[str, str]
) -> None:
    badgr.script("identity", *[Answer(403, json={}, headers=headers)] * 3)
    assert get_session(without_refresh).get("v2/users/self").status_code == 403
    assert check_connection(without_refresh) is CheckOutcome.REFUSED
    without_refresh.refresh_from_db()
    assert without_refresh.status == "active"
