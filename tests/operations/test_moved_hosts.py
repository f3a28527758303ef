"""A provider's hosts change in settings: no token goes there before an operator says yes."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError
from django.test import Client

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.models.bound_tokens import change_facts
from connected_accounts.operations.endpoints import confirm_endpoints, moved
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_session, refresh
from connected_accounts.signals import reconnect_required
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect
from tests.management.test_operator_commands import run

pytestmark = pytest.mark.django_db

EU = {"OPTIONS": {"region": "eu"}}
FINGERPRINT = {"endpoint_fingerprint"}
EU_HOSTS = "https://api.eu.badgr.io"


@pytest.fixture
def accounts(client_of_ada: Client, badgr: FakeProvider) -> list[ConnectedAccount]:
    return [connect(client_of_ada, badgr, subject=f"person-{n}") for n in range(3)]


@pytest.fixture
def moved_away(accounts: Any, provider_settings: Any) -> Any:
    """Ada's accounts, and the Badgr of another region in settings. Whatever is sent there fails
    the test: the fake does not stand for that host."""
    provider_settings("badgr", **EU)
    return accounts


def test_a_session_sends_no_bearer_to_a_host_that_settings_changed_to(
    moved_away: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    asked = len(badgr.requests)
    with pytest.raises(ReauthorizationRequired) as caught:
        get_session(moved_away[0]).get("/v2/backpack/assertions")
    assert caught.value.code == "endpoints_changed"
    assert len(badgr.requests) == asked
    assert not badgr.unexpected


def test_an_account_whose_host_moved_is_marked_at_its_first_use_and_told_of_once(
    moved_away: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    told: list[str] = []

    def receive(reason: str, **kwargs: Any) -> None:
        told.append(reason)

    reconnect_required.connect(receive)
    try:
        for _ in range(2):
            with pytest.raises(ReauthorizationRequired):
                get_session(moved_away[0]).get("/v2/backpack/assertions")
    finally:
        reconnect_required.disconnect(receive)
    row = ConnectedAccount.objects.get(pk=moved_away[0].pk)
    assert (row.status, row.reason) == ("reconnect_required", "endpoints_changed")
    assert told == ["endpoints_changed"]
    assert ConnectedAccount.objects.active().count() == 2


def test_a_session_made_before_the_account_moved_sends_nothing_to_the_old_host(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    session = get_session(accounts[0])
    ConnectedAccount.objects.transition(endpoint_fingerprint="made at another host")
    asked = len(badgr.requests)
    with pytest.raises(ReauthorizationRequired):
        session.get("/v2/backpack/assertions")
    assert len(badgr.requests) == asked


def test_a_401_is_not_followed_by_the_token_of_another_host(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    session = get_session(accounts[0])
    asked = len(badgr.sent_to("api"))
    badgr.script("api", Answer(401, json={}))
    original = session._renew

    def renew(failed: Any) -> Any:
        ConnectedAccount.objects.transition(endpoint_fingerprint="made at another host")
        assert original is not None
        return original(failed)

    session._renew = renew
    with pytest.raises(ReauthorizationRequired):
        session.get("/v2/backpack/assertions")
    assert len(badgr.sent_to("api")) == asked + 1


def test_the_command_shows_the_hosts_and_takes_no_for_no(
    moved_away: list[ConnectedAccount], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    before = list(ConnectedAccount.objects.values())
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was done"):
        run("confirm_site", "--endpoints", "badgr")
    assert list(ConnectedAccount.objects.values()) == before


def test_after_a_yes_tokens_go_to_the_new_hosts_and_what_had_ended_is_refreshed(
    moved_away: list[ConnectedAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, owed, idle = moved_away
    with pytest.raises(ReauthorizationRequired):
        refresh(ended)
    disconnect(owed)
    revoke_pending()
    assert Revocation.objects.get().last_error == "endpoints_changed"
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    said = run("confirm_site", "--endpoints", "badgr")
    assert f"3 tokens would go to {EU_HOSTS}" in said
    assert "badgr: 3 confirmed." in said
    assert asked == ["Are these the hosts of badgr? [y/N] "]
    ended.refresh_from_db()
    assert (ended.status, ended.reason, ended.last_error) == ("active", "", "")
    assert ConnectedAccount.objects.due_for_refresh(ended.refresh_at).get() == ended
    with FakeProvider("badgr") as there:
        there.script("token", Answer(200, json=new_tokens()))
        refresh(ended)
        there.script("api", Answer(200, json={}))
        assert get_session(idle).get("/v2/backpack/assertions").status_code == 200
        Revocation.objects.update(next_attempt_at=ended.connected_at)
        revoke_pending()
        assert len(there.sent_to("revocation")) == 1
    assert run("confirm_site", "--endpoints", "badgr") == "badgr: nothing waits for a yes.\n"


@pytest.mark.django_db(transaction=True)
def test_a_refresh_under_way_is_stored_when_its_hosts_are_confirmed_meanwhile(
    accounts: list[ConnectedAccount], badgr: FakeProvider, meanwhile: Any
) -> None:
    account = accounts[0]
    rows = ConnectedAccount.objects.filter(pk=account.pk)

    def confirm() -> None:
        before, after = account.endpoint_fingerprint, "f" * 64
        change_facts([account], lambda: rows.transition(endpoint_fingerprint=after), FINGERPRINT)
        assert before != after

    meanwhile(confirm)
    refresh(account)
    assert account.endpoint_fingerprint == "f" * 64
    stored = rows.with_token().get().open_token()
    assert stored["refresh_token"] in {grant.refresh_token for grant in badgr.grants}
    assert not Revocation.objects.exists()


def test_a_token_whose_key_is_away_keeps_its_hosts_until_that_is_back(
    moved_away: list[ConnectedAccount], settings: Any
) -> None:
    keys = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    assert "badgr: 0 confirmed." in run("confirm_site", "--endpoints", "badgr", "--no-input")
    settings.FIELD_ENCRYPTION_KEY = keys
    assert "badgr: 3 confirmed." in run("confirm_site", "--endpoints", "badgr", "--no-input")
    assert all(row.open_token() for row in ConnectedAccount.objects.with_token())


def new_tokens() -> dict[str, Any]:
    return {"access_token": "new", "token_type": "Bearer", "refresh_token": "newer"}


def test_it_confirms_one_provider_and_only_what_had_to_do_with_hosts(
    moved_away: list[ConnectedAccount], client_of_ada: Client, bitbadges: FakeProvider
) -> None:
    other = connect(client_of_ada, bitbadges, "bitbadges", subject="bb1ada")
    withdrawn = moved_away[0]
    ConnectedAccount.objects.filter(pk=withdrawn.pk).transition(
        status="reconnect_required", reason="revoked"
    )
    ConnectedAccount.objects.filter(pk=other.pk).transition(endpoint_fingerprint="elsewhere")
    assert "badgr: 2 confirmed." in run("confirm_site", "--endpoints", "badgr", "--no-input")
    withdrawn.refresh_from_db()
    assert (withdrawn.status, withdrawn.reason) == ("reconnect_required", "revoked")
    other.refresh_from_db()
    assert other.endpoint_fingerprint == "elsewhere"


def test_hosts_that_came_up_after_the_question_are_not_confirmed(
    moved_away: list[ConnectedAccount], provider_settings: Any, now: Any
) -> None:
    shown = set(moved("badgr").hosts)
    provider_settings("badgr", OPTIONS={"region": "ca"})
    assert confirm_endpoints("badgr", hosts=shown, now=now) == 0
    assert sum(moved("badgr").hosts.values()) == 3


def test_an_alias_that_settings_do_not_have_is_said_so(db: None) -> None:
    with pytest.raises(CommandError, match="nobody"):
        run("confirm_site", "--endpoints", "nobody")
