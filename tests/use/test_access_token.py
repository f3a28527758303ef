"""An access token that is good for a while yet: get_access_token and get_session."""

import sqlite3
import traceback
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import (
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.services import (
    aget_access_token,
    arefresh,
    get_access_token,
    get_access_token_of,
    get_session,
    refresh,
)
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect, expire, run, set_row, stored

pytestmark = pytest.mark.django_db


def test_a_fresh_token_costs_one_query_and_no_request(
    account: ConnectedAccount, badgr: FakeProvider, django_assert_num_queries: Any
) -> None:
    requests = len(badgr.requests)
    with django_assert_num_queries(1):
        token = get_access_token(account)
    assert token == stored(account)["access_token"]
    assert len(badgr.requests) == requests


def test_a_fresh_token_of_a_user_and_an_alias_costs_one_query(
    account: ConnectedAccount, ada: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        token = get_access_token_of(ada, "badgr")
    assert token == stored(account)["access_token"]


def test_the_newest_account_that_is_active_gives_the_token_of_a_user(
    make_account: Any, user: Any
) -> None:
    for number in range(3):
        newest = make_account(user, access_token=f"token-{number}")
    make_account(access_token="another's")
    make_account(None, access_token="the site's")
    set_row(newest, status="reconnect_required", reason="revoked")
    assert get_access_token_of(user, "badgr") == "token-1"
    assert get_access_token_of(None, "badgr") == "the site's"


def test_without_an_active_account_a_user_has_no_token(make_account: Any, user: Any) -> None:
    with pytest.raises(ReauthorizationRequired, match="disconnected"):
        get_access_token_of(user, "badgr")
    ended = make_account(user)
    set_row(ended, status="reconnect_required", reason="revoked")
    with pytest.raises(ReauthorizationRequired, match="revoked"):
        get_access_token_of(user, "badgr")


def test_a_users_token_that_expires_is_refreshed_first(account: ConnectedAccount, ada: Any) -> None:
    old = stored(account)["access_token"]
    expire(account, seconds=59)
    assert get_access_token_of(ada, "badgr") == stored(account)["access_token"] != old


@pytest.mark.parametrize(
    "values",
    [
        {"status": "reconnect_required", "reason": "revoked"},
        {"revision": 7},  # the ledger knows another
        {"seal_id": uuid.uuid4()},
        {"owner_key": "team:7"},
        {"provider": "bitbadges"},
        {"subject_digest": "0" * 43},
        {"client_id": "another"},
        {"endpoint_fingerprint": "0" * 64},
    ],
    ids=lambda values: next(iter(values)),
)
@pytest.mark.parametrize("is_fully_loaded", [True, False])
def test_no_token_comes_of_a_row_whose_facts_are_others(
    is_fully_loaded: bool, values: dict[str, Any], make_account: Any, user: Any
) -> None:
    account = make_account(user)
    if not is_fully_loaded:
        account = ConnectedAccount.objects.only("pk").get()
    set_row(account, **values)
    with pytest.raises((ReauthorizationRequired, Undecryptable)):
        get_access_token(account)


def test_no_token_comes_of_an_account_whose_owner_is_inactive(make_account: Any, user: Any) -> None:
    account = make_account(user)
    user.is_active = False
    user.save()
    with pytest.raises(ProviderUnavailable, match="owner_inactive"):
        get_access_token(account)


@pytest.mark.django_db(transaction=True)
def test_a_look_that_is_out_of_line_with_another_transaction_is_taken_again(
    make_account: Any, user: Any
) -> None:
    account, asked = make_account(user, access_token="a"), []

    def first_fails(execute: Any, *query: Any) -> Any:
        asked.append(query)
        if len(asked) > 1:
            return execute(*query)
        busy = sqlite3.OperationalError("database is locked")
        busy.sqlite_errorname = "SQLITE_BUSY"
        raise OperationalError("database is locked") from busy

    with connection.execute_wrapper(first_fails):
        assert get_access_token(account) == "a"
    asked.clear()
    # A transaction around it is the site's to repeat.
    fails = pytest.raises(OperationalError)
    with transaction.atomic(), connection.execute_wrapper(first_fails), fails:
        get_access_token(account)
    assert len(asked) == 1


@pytest.mark.parametrize("way", ["given by SQL", "copied", "inactive"])
def test_no_token_comes_of_a_row_that_may_not_be_used(
    way: str, make_account: Any, user: Any, django_user_model: Any
) -> None:
    account = make_account(user)
    if way == "given by SQL":
        other = django_user_model.objects.create(username="other")
        set_row(account, user_id=other.pk)
    elif way == "copied":
        set_row(account, revision=7)
    else:
        user.is_active = False
        user.save()
    with pytest.raises((ReauthorizationRequired, ProviderUnavailable)):
        get_access_token_of(user, "badgr")


def test_within_a_minute_of_expiry_the_token_is_refreshed_first(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    old = stored(account)
    expire(account, seconds=59)
    token = get_access_token(account)
    assert token not in (old["access_token"], "")
    assert token == stored(account)["access_token"]
    assert stored(account)["refresh_token"] != old["refresh_token"]
    assert badgr.presentations[old["refresh_token"]] == 1


def test_a_minute_and_more_before_expiry_nothing_is_asked(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    expire(account, seconds=65)
    get_access_token(account)
    assert len(badgr.sent_to("token")) == 1


def test_an_unknown_expiry_never_refreshes(account: ConnectedAccount, badgr: FakeProvider) -> None:
    set_row(account, expires_at=None)
    get_access_token(account)
    assert len(badgr.sent_to("token")) == 1


def test_tokens_shorter_than_the_margin_are_not_refreshed_at_every_use(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    badgr.behaviour.expires_in = 20
    account = connect(client_of_ada, badgr)
    for _ in range(5):
        get_access_token(account)
    assert len(badgr.sent_to("token")) == 2


def test_a_refresh_that_fails_leaves_a_token_that_is_still_valid(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    expire(account, seconds=30)
    badgr.unavailable()
    assert get_access_token(account) == stored(account)["access_token"]
    account.refresh_from_db()
    assert (account.status, account.failure_count, account.last_error) == (
        "active",
        1,
        "status_503",
    )
    assert timedelta(seconds=55) < account.refresh_at - timezone.now() < timedelta(seconds=75)


def test_in_backoff_nothing_is_sent(account: ConnectedAccount, badgr: FakeProvider) -> None:
    expire(account)
    badgr.unavailable()
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            get_access_token(account)
    assert len(badgr.sent_to("token")) == 2
    badgr.available()
    with pytest.raises(ProviderUnavailable):
        get_access_token(account)
    refresh(account)  # whatever the backoff says
    assert account.failure_count == 0
    assert get_access_token(account) == stored(account)["access_token"]


def test_without_a_refresh_token_the_access_token_is_used_to_its_end(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    badgr.behaviour.omit_refresh_token = True
    account = connect(client_of_ada, badgr)
    assert account.refresh_at == account.expires_at  # when its end is noticed
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert account.status == "active"
    expire(account, seconds=20)
    assert get_access_token(account)
    expire(account)
    with pytest.raises(ReauthorizationRequired):
        get_access_token(account)
    account.refresh_from_db()
    assert account.reason == "refresh_token_expired"


def test_the_session_renews_a_refused_token_once_and_repeats_the_call(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    old = stored(account)["access_token"]
    badgr.advance(minutes=1)
    badgr.expire_access_tokens()
    response = get_session(account).get("/v2/users/self")
    assert response.status_code == 200
    assert stored(account)["access_token"] != old
    assert len(badgr.sent_to("token")) == 2


def test_a_401_that_stays_is_given_to_the_caller(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.advance(minutes=1)
    badgr.script("identity", Answer(401), Answer(401))
    assert get_session(account).get("/v2/users/self").status_code == 401
    assert len(badgr.sent_to("token")) == 2


def test_a_session_whose_token_was_renewed_elsewhere_takes_that_one(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    from connected_accounts.secret import Secret
    from connected_accounts.use.tokens import renewed_token

    old = Secret(stored(account)["access_token"])
    refresh(account)
    assert renewed_token(account, old).reveal() == stored(account)["access_token"]
    assert len(badgr.sent_to("token")) == 2


@pytest.mark.django_db(transaction=True)
def test_the_asynchronous_forms_do_the_same(account: ConnectedAccount, badgr: FakeProvider) -> None:
    async def use() -> str:
        await arefresh(account)
        return await aget_access_token(account)

    assert run(use()) == stored(account)["access_token"]


def test_no_frame_of_a_failed_refresh_holds_a_token(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    expire(account)
    badgr.script("token", Answer(503))
    with pytest.raises(ProviderUnavailable) as caught:
        get_access_token(account)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(shown.format())
    assert not [secret for secret in badgr.secrets if secret in text]
