"""The site's client refused for one account: one answer is not believed about all of them."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.models import ConnectedAccount, Event, ProviderState
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.refresh import on_demand
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token, refresh
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import Answer, FakeProvider, connect_account
from tests.journeys import change_token_answers, expire, set_row, stored

pytestmark = pytest.mark.django_db


def refuse(fake: FakeProvider, *dead: str, status: int, **answer: Any) -> None:
    change_token_answers(
        fake,
        lambda seen, own: (
            Answer(status, **answer) if seen.fields.get("refresh_token") in dead else own(seen)
        ),
    )


@pytest.fixture
def two(ada: Any, bob: Any, badgr: FakeProvider) -> tuple[ConnectedAccount, ConnectedAccount]:
    badgr.behaviour.expires_in = 3600
    first = connect_account(badgr, ada, subject="ada")
    badgr.advance(minutes=2)
    return first, connect_account(badgr, bob, subject="bob")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, {"json": {"error": "unauthorized_client"}}),
        (401, {"json": {"error": "invalid_client"}}),
        (401, {"body": "Unauthorized"}),
    ],
)
def test_one_persons_dead_grant_stops_nobody_else_and_ends(
    two: Any, badgr: FakeProvider, status: int, said: dict[str, Any]
) -> None:
    account, other = two
    dead = stored(account)["refresh_token"]
    refuse(badgr, dead, status=status, **said)
    for _ in range(24 * 4):
        badgr.advance(minutes=15)
        refresh_due_accounts.apply()
        assert get_access_token(other)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "credentials_rejected")
    assert badgr.presentations[dead] < 30
    assert not Event.objects.filter(kind="client_rejected").exists()


def test_a_second_account_that_is_refused_too_pauses_the_provider(
    two: Any, badgr: FakeProvider
) -> None:
    for account in two:
        assert get_or_create_state("badgr").pause_reason == ""
        badgr.script("token", Answer(401, json={"error": "invalid_client"}))
        with pytest.raises(ClientRejected):
            refresh(account)
    assert ProviderState.objects.get().pause_reason == "invalid_client"
    assert Event.objects.filter(kind="client_rejected").count() == 1


def test_the_same_account_refused_again_pauses_nobody_and_tells_the_admins(
    two: Any, badgr: FakeProvider
) -> None:
    for _ in range(3):
        badgr.script("token", Answer(401, json={"error": "invalid_client"}))
        with pytest.raises(ClientRejected):
            refresh(two[0])
    assert ProviderState.objects.get().pause_reason == ""
    assert two[0].status == "active"
    assert Event.objects.filter(kind="client_rejected").count() == 1


def test_two_dead_grants_leave_the_probe_to_an_account_that_was_not_refused(
    two: Any, badgr: FakeProvider, django_user_model: Any
) -> None:
    dead = [stored(account)["refresh_token"] for account in two]
    badgr.advance(minutes=15)
    third = connect_account(badgr, django_user_model.objects.create(username="c"), subject="c")
    refuse(badgr, *dead, status=403, json={"error": "unauthorized_client"})
    expire(third)
    for account in two:
        expire(account)
        with pytest.raises(ClientRejected):
            refresh(account)
    assert ProviderState.objects.get().pause_reason == "unauthorized_client"
    badgr.advance(minutes=15)
    for account in two:  # their backoff is over, but the probe is not theirs
        set_row(account, refresh_at=timezone.now())
        with pytest.raises(ProviderUnavailable):
            get_access_token(account)
    set_row(third, refresh_at=timezone.now())
    assert drain("badgr").refreshed == 1
    assert ProviderState.objects.get().pause_reason == ""
    for _ in range(24 * 4):
        badgr.advance(minutes=15)
        refresh_due_accounts.apply()
        assert get_access_token(third)
    for account in two:
        account.refresh_from_db()
        assert account.reason == "credentials_rejected"


def test_where_no_other_account_comes_a_refused_one_is_the_probe_one_pause_later(
    two: Any, badgr: FakeProvider
) -> None:
    badgr.script("token", *[Answer(401, json={"error": "invalid_client"})] * 2)
    for account in two:
        with pytest.raises(ClientRejected):
            refresh(account)
    badgr.advance(minutes=16)
    assert drain("badgr").refreshed == 0
    badgr.advance(minutes=15)
    assert drain("badgr").refreshed == 1
    assert drain("badgr").refreshed == 1


# --- The probe ----------------------------------------------------------------------------------


@pytest.fixture(params=["outage", "refusing", "invalid_client"])
def pause_is_over(request: Any, badgr: FakeProvider) -> ProviderState:
    get_or_create_state("badgr")
    ProviderState.objects.update(
        pause_reason=request.param,
        paused_until=timezone.now() - timedelta(seconds=1),
        failures_in_a_row=14,
    )
    return ProviderState.objects.get()


@pytest.fixture
def due(make_account: Any) -> ConnectedAccount:
    account: ConnectedAccount = make_account()
    expire(account)
    return account


def nothing_to_refresh_with(account: ConnectedAccount, make_account: Any) -> ConnectedAccount:
    other: ConnectedAccount = make_account(refresh_token=None)
    return other


def moved(account: ConnectedAccount, make_account: Any) -> ConnectedAccount:
    set_row(account, endpoint_fingerprint="another")
    return account


def in_other_hands(account: ConnectedAccount, make_account: Any) -> ConnectedAccount:
    rows = ConnectedAccount.objects.filter(pk=account.pk)
    assert rows.claim([account.pk], holder=account.seal_id, seconds=60, now=timezone.now())
    return account


def undecryptable(account: ConnectedAccount, make_account: Any) -> ConnectedAccount:
    other: ConnectedAccount = make_account(access_token="x")
    set_row(other, seal_id=account.seal_id)
    return other


@pytest.mark.parametrize(
    "unsendable", [nothing_to_refresh_with, moved, in_other_hands, undecryptable]
)
def test_a_request_that_is_not_sent_leaves_the_probe_to_the_next(
    unsendable: Any,
    pause_is_over: ProviderState,
    due: ConnectedAccount,
    make_account: Any,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(on_demand, "PATIENCE_FOR_OTHERS", -100.0)
    account = unsendable(due, make_account)
    expire(account)
    with pytest.raises(Exception):  # noqa: B017, PT011  # one of several, and none is sent
        get_access_token(account)
    assert badgr.sent_to("token") == []
    now = ProviderState.objects.get()
    assert (now.paused_until, now.failures_in_a_row) == (pause_is_over.paused_until, 14)
    healthy = make_account()
    expire(healthy)
    tokens = {"access_token": "new", "refresh_token": "newer", "expires_in": 3600}
    badgr.script("token", Answer(200, json=tokens))
    assert get_access_token(healthy) == "new"
    assert ProviderState.objects.get().pause_reason == ""


def test_a_probe_that_was_sent_and_failed_is_not_given_back(
    pause_is_over: ProviderState, due: ConnectedAccount, badgr: FakeProvider
) -> None:
    badgr.unavailable()
    with pytest.raises(ProviderUnavailable):
        get_access_token(due)
    assert ProviderState.objects.get().paused_until > timezone.now() + timedelta(minutes=1)


def test_a_drain_that_crashes_before_it_sends_gives_the_probe_back(
    pause_is_over: ProviderState,
    due: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from connected_accounts.refresh import drain as module

    def crash(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    set_row(due, refresh_at=timezone.now())
    monkeypatch.setattr(module._Drain, "run", crash)
    with pytest.raises(RuntimeError):
        drain("badgr")
    assert ProviderState.objects.get().paused_until == pause_is_over.paused_until


def test_a_dead_grant_that_comes_first_does_not_cost_the_healthy_ones_a_pause(
    pause_is_over: ProviderState, due: ConnectedAccount, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "eu"})  # other hosts than it was connected at
    with pytest.raises(ReauthorizationRequired):
        get_access_token(due)
    assert due.pk is not None
    assert ConnectedAccount.objects.get(pk=due.pk).reason == "endpoints_changed"
