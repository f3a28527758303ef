"""What may fail and harm nothing: receivers of signals, hooks of providers, asking for more."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import Client
from django.utils import timezone

from connected_accounts import signals
from connected_accounts.exceptions import ConnectedAccountsError, UnexpectedResponse
from connected_accounts.models import ConnectedAccount, Revocation, Status
from connected_accounts.providers.badgr import Badgr
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import Answer, BadGateway, FakeProvider, Timeout
from tests.journeys import connect, finish, start, stored

pytestmark = pytest.mark.django_db
SIGNALS = [value for value in vars(signals).values() if isinstance(value, Signal)]


# Receivers.


@pytest.fixture
def called() -> Iterator[list[Signal]]:
    """Every signal has a receiver that raises; those that were called."""
    called: list[Signal] = []

    def raises(signal: Signal, **kwargs: Any) -> None:
        called.append(signal)
        raise RuntimeError("the site's receiver")

    for signal in SIGNALS:
        signal.connect(raises)
    yield called
    for signal in SIGNALS:
        signal.disconnect(raises)


def test_receivers_that_raise_stop_nothing(
    client_of_ada: Client, badgr: FakeProvider, called: list[Signal]
) -> None:
    account = connect(client_of_ada, badgr)
    refresh(account)
    assert get_access_token(account) == badgr.grants[0].access_token
    badgr.advance(hours=23)
    refresh_due_accounts.apply()
    assert get_access_token(account) == badgr.grants[0].access_token
    badgr.script("token", Answer(503))
    with pytest.raises(ConnectedAccountsError):
        refresh(account)
    badgr.withdraw()
    with pytest.raises(ConnectedAccountsError):
        refresh(account)
    account.refresh_from_db()
    assert (account.status, account.reason) == (Status.RECONNECT_REQUIRED, "revoked")
    client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    assert not ConnectedAccount.objects.exists()
    assert called.count(signals.account_refreshed) == 2
    assert {id(signal) for signal in called} >= {
        id(signals.account_connected),
        id(signals.account_refreshed),
        id(signals.refresh_failed),
        id(signals.reconnect_required),
    }


def test_a_receiver_that_raises_leaves_a_disconnect_done(
    account: ConnectedAccount, called: list[Signal], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        disconnect(account)
    assert signals.account_disconnected in called
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().outcome == "pending"


# Hooks.


def raises(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("canary-of-the-hook")


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("prepare_token_request", None),
        ("parse_token_response", None),
        ("classify_error", Answer(400, {"error": "invalid_grant"})),
        ("request_headers", None),
    ],
)
def test_a_hook_that_raises_costs_its_account_a_try_and_no_other_anything(
    account: ConnectedAccount,
    bob: Any,
    badgr: FakeProvider,
    bitbadges: FakeProvider,
    connected_account: Any,
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    answer: Any,
) -> None:
    other = connected_account("bitbadges", bob)
    due = timezone.now() - timedelta(seconds=1)
    ConnectedAccount.objects.update(refresh_at=due)
    before = stored(account)
    with monkeypatch.context() as patched:
        patched.setattr(Badgr, hook, raises)
        if answer:
            badgr.script("token", answer)
        refresh_due_accounts.apply()
    row = ConnectedAccount.objects.get(pk=account.pk)
    assert (row.status, row.lease_until) == (Status.ACTIVE, None)
    if hook != "request_headers":  # which has no part in a refresh everywhere
        assert row.failure_count == 1
        assert stored(account) == before
    assert "canary" not in row.last_error
    assert ConnectedAccount.objects.get(pk=other.pk).refreshed_at is not None
    if hook != "parse_token_response":  # after which the provider has rotated what we have not
        refresh(account)
        assert get_access_token(account) == badgr.grants[0].access_token


# Upgrades.


@pytest.fixture
def asks_for_more(provider_settings: Any) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])


@pytest.mark.usefixtures("asks_for_more")
@pytest.mark.parametrize("way", ["denied", "other account", "token fault", "identity fault"])
def test_an_upgrade_that_fails_keeps_the_old_token(
    client_of_ada: Client, badgr: FakeProvider, way: str
) -> None:
    account = connect(client_of_ada, badgr)
    before, scopes = stored(account), account.scopes_granted
    url = start(client_of_ada, scope="rw:backpack")
    subject = "somebody-else" if way == "other account" else "ada"
    back = badgr.authorize(url, subject=subject, deny=way == "denied")
    if way == "token fault":
        badgr.script("token", BadGateway())
    if way == "identity fault":
        badgr.script("identity", Timeout())
    finish(client_of_ada, back)

    account.refresh_from_db()
    assert (stored(account), account.scopes_granted) == (before, scopes)
    assert account.status == Status.ACTIVE
    assert get_access_token(account) == before["access_token"]


@pytest.mark.usefixtures("asks_for_more")
def test_fewer_scopes_than_asked_are_stored_and_shown(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    connect(client_of_ada, badgr)
    url = start(client_of_ada, scope="rw:backpack")
    finish(client_of_ada, badgr.authorize(url, subject="ada", scopes=["r:profile"]))

    account = ConnectedAccount.objects.get()
    assert account.scopes_granted == ["r:profile"]
    assert "rw:backpack" in account.scopes_requested
    page = client_of_ada.get("/connections/").content.decode()
    granted, _, missing = page.partition("Asked for, and not granted:")
    assert '<li title="r:profile">' in granted
    assert 'title="r:backpack"' not in granted
    for scope in ("r:backpack", "rw:backpack"):
        assert f'title="{scope}"' in missing


def test_scopes_under_other_names_are_not_said_to_be_missing(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    ConnectedAccount.objects.filter(pk=account.pk).update(
        scopes_granted=["https://badgr.example/profile", "https://badgr.example/backpack"]
    )
    assert "not granted" not in client_of_ada.get("/connections/").content.decode()


def test_the_error_of_a_hook_is_one_of_ours(
    account: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Badgr, "parse_token_response", raises)
    with pytest.raises(UnexpectedResponse) as caught:
        refresh(account)
    assert "canary-of" not in str(caught.value) + caplog.text
