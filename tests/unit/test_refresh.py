"""Keeping a grant fresh, one account at a time: get_access_token, get_session and refresh."""

import traceback
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts import signals
from connected_accounts.exceptions import (
    ClientRejected,
    InvalidState,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import (
    ConnectedAccount,
    Event,
    ProviderState,
    Revocation,
    digest,
)
from connected_accounts.services import (
    aget_access_token,
    arefresh,
    complete_authorization,
    disconnect,
    get_access_token,
    get_session,
    pauses,
    refresh,
    renewal,
    start_authorization,
)
from connected_accounts.services.revocation import revoke_pending
from connected_accounts.testing import (
    OMITTED,
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    Timeout,
)
from tests.journeys import connect, finish, run, start

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    return connect(client_of_ada, badgr)


def set_row(account: ConnectedAccount, **values: Any) -> None:
    ConnectedAccount.objects.filter(pk=account.pk).update(**values)
    account.refresh_from_db()


def expire(account: ConnectedAccount, *, seconds: float = -1) -> None:
    set_row(account, expires_at=timezone.now() + timedelta(seconds=seconds))


def stored(account: ConnectedAccount) -> dict[str, Any]:
    return ConnectedAccount.objects.get(pk=account.pk).open_token()


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


def test_a_fresh_token_costs_one_query_and_no_request(
    account: ConnectedAccount, badgr: FakeProvider, django_assert_num_queries: Any
) -> None:
    requests = len(badgr.requests)
    with django_assert_num_queries(1):
        token = get_access_token(account)
    assert token == stored(account)["access_token"]
    assert len(badgr.requests) == requests


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
    badgr.script("token", DropAnswer())
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
    "fault",
    [Timeout(), Answer(502, body="<html>"), Answer(200, body="<html>"), Answer(200, json={})],
)
def test_an_unknown_answer_is_remembered_as_an_open_attempt(
    account: ConnectedAccount, badgr: FakeProvider, fault: Any
) -> None:
    badgr.script("token", fault)
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


def test_rejected_client_credentials_pause_the_provider_and_touch_no_account(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    before = (account.status, account.refresh_at, account.failure_count, account.last_error)
    for _ in range(2):
        badgr.script("token", Answer(401, json={"error": "invalid_client"}))
        with pytest.raises(ClientRejected):
            refresh(account)
    assert (account.status, account.refresh_at, account.failure_count, account.last_error) == before
    assert ProviderState.objects.get().paused_until > timezone.now()
    assert Event.objects.filter(kind="client_rejected").count() == 1
    expire(account)
    with pytest.raises(ProviderUnavailable):
        get_access_token(account)
    refresh(account)
    assert ProviderState.objects.get().paused_until is None


def test_a_disconnect_wins_over_a_refresh_in_flight(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connected_accounts.services import attempts

    ask = attempts.ask

    def ask_and_disconnect(attempt: Any) -> Any:
        outcome = ask(attempt)
        disconnect(ConnectedAccount.objects.get(pk=account.pk))
        return outcome

    monkeypatch.setattr(attempts, "ask", ask_and_disconnect)
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
    from connected_accounts.services import attempts

    ask = attempts.ask

    def ask_and_reconnect(attempt: Any) -> Any:
        outcome = ask(attempt)
        params = badgr.authorize(start(client_of_ada), subject="ada")
        assert finish(client_of_ada, params).status_code == 303
        return outcome

    monkeypatch.setattr(attempts, "ask", ask_and_reconnect)
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    newest = badgr.grants[-1]
    assert stored(account)["access_token"] == newest.access_token
    # The grant that was replaced, and the late answer to its refresh, are both withdrawn.
    revoke_pending()
    assert [grant.is_alive for grant in badgr.grants] == [False, True]


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


def test_without_a_refresh_token_the_access_token_is_used_to_its_end(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    badgr.behaviour.omit_refresh_token = True
    account = connect(client_of_ada, badgr)
    assert account.refresh_at is None
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
    badgr.expire_access_tokens()
    response = get_session(account).get("/v2/users/self")
    assert response.status_code == 200
    assert stored(account)["access_token"] != old
    assert len(badgr.sent_to("token")) == 2


def test_a_401_that_stays_is_given_to_the_caller(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.script("identity", Answer(401), Answer(401))
    assert get_session(account).get("/v2/users/self").status_code == 401
    assert len(badgr.sent_to("token")) == 2


def test_a_session_whose_token_was_renewed_elsewhere_takes_that_one(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    from connected_accounts.secret import Secret
    from connected_accounts.services.access import renewed_token

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


@pytest.mark.parametrize("secret", ["my-browser-secret", "x" * 64, "é"])
def test_any_browser_secret_binds_a_flow(ada: Any, badgr: FakeProvider, secret: str) -> None:
    url = start_authorization(
        user=ada,
        provider="badgr",
        redirect_uri="https://site.example/callback/",
        browser_secret=secret,
    )
    params = badgr.authorize(url)
    finishing = {"user": ada, "provider": "badgr", "params": params}
    for wrong in ("", "another"):
        with pytest.raises(InvalidState) as caught:
            complete_authorization(browser_secret=wrong, **finishing)
        assert caught.value.code == "other_browser"
    assert complete_authorization(browser_secret=secret, **finishing).created


def test_without_a_browser_secret_nothing_is_started(ada: Any) -> None:
    with pytest.raises(ValueError, match="browser_secret"):
        start_authorization(user=ada, provider="badgr", redirect_uri="x", browser_secret="")


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
    set_row(account, subject="cosmos1abc", subject_digest=digest("cosmos1abc"))
    both = {"bitbadgesAddress": "bb1new", "cosmosAddress": "cosmos1abc"}
    bitbadges.script(
        "token", Answer(200, json={"access_token": "new", "refresh_token": "newer", **both})
    )
    refresh(account)
    assert (account.status, account.subject) == ("active", "cosmos1abc")


def test_a_stale_copy_learns_why_its_refresh_is_refused(account: ConnectedAccount) -> None:
    ConnectedAccount.objects.update(status="reconnect_required", reason="revoked")
    assert account.status == "active"
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert (account.status, account.reason) == ("reconnect_required", "revoked")


def test_the_replaced_grant_is_withdrawn_where_that_ends_no_other(
    client_of_ada: Client, badgr: FakeProvider, bitbadges: FakeProvider
) -> None:
    for fake, alias, alive in ((badgr, "badgr", [False, True]), (bitbadges, "bitbadges", None)):
        connect(client_of_ada, fake, alias)
        connect(client_of_ada, fake, alias)
        revoke_pending()
        assert [grant.is_alive for grant in fake.grants] == (alive or [True, True])


def test_disconnecting_one_object_twice_is_once(account: ConnectedAccount) -> None:
    assert disconnect(account) is not None
    assert disconnect(account) is None


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


def test_who_waits_does_not_repeat_a_request_with_wrong_credentials(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_is_refused(*args: Any, **kwargs: Any) -> list[Any]:
        pauses.pause("badgr", "invalid_client")
        return []

    monkeypatch.setattr(renewal, "claim", another_is_refused)
    with pytest.raises(ClientRejected) as caught:
        refresh(account)
    assert caught.value.code == "invalid_client"
    assert len(badgr.sent_to("token")) == 1
