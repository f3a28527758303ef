"""What a site gets for its own tests: fixtures, a clock, faults, and a suite for its providers."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.utils import timezone

from connected_accounts.exceptions import ProviderUnavailable, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.oauth2 import transport
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import (
    Answer,
    BadGateway,
    FakeProvider,
    TooManyRequests,
    UnexpectedRequest,
    connect_account,
)
from connected_accounts.testing.conformance import CodeContract, RevocationCases
from connected_accounts.testing.conformance.code import CodeCases
from tests.docs.doc_pages import ROOT


def run_pytest(*arguments: str, cwd: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys, pytest\n{before}\nsys.exit(pytest.main({[*arguments]!r}))"
    mine = ("PYTEST_", "DJANGO_", "CONNECTED_ACCOUNTS_", "DATABASE_URL", "CELERY_BROKER_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240)


# A project that uses none of it.


def test_a_project_without_django_is_not_disturbed(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n"
        "def test_nothing_is_loaded():\n"
        "    assert 'connected_accounts.testing.plugin' in sys.modules\n"
        "    ours = [m for m in sys.modules if m.startswith('connected_accounts.')]\n"
        "    assert len(ours) == 2, ours\n"
    )
    done = run_pytest("-q", "-p", "no:django", "-W", "error", "test_plain.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


# The fixtures.


def test_a_fake_is_entered_until_the_test_ends_and_the_same_when_asked_again(
    fake_provider: Any,
) -> None:
    badgr = fake_provider("badgr", expires_in=90)

    assert fake_provider("badgr") is badgr
    assert badgr.behaviour.expires_in == 90
    with pytest.raises(ValueError, match="there already"):
        fake_provider("badgr", expires_in=91)


@pytest.mark.django_db
def test_an_account_is_connected_by_the_real_flow(
    ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada, subject="ada-1", granted=["r:profile"])

    assert (account.user, account.subject, account.scopes_granted) == (ada, "ada-1", ["r:profile"])
    assert [sent.endpoint for sent in fake_provider("badgr").requests] == ["token", "identity"]
    assert get_access_token(account) == fake_provider("badgr").grants[0].access_token
    again = connected_account("badgr", ada, subject="ada-1", account=account)
    assert again.pk == account.pk
    assert connected_account("badgr", ada, subject="ada-2").pk != account.pk


# Several aliases of one service, as a site has for two sets of scopes.


@pytest.fixture
def two_of_google(settings: Any) -> None:
    client = {"CLIENT_ID": "of-people", "CLIENT_SECRET": "secret-1"}
    other = {"CLIENT_ID": "of-files", "CLIENT_SECRET": "secret-2"}
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {
            "people": {"SERVICE": "google", **client},
            "files": {"SERVICE": "google", **other},
            "more": {"SERVICE": "google", **client, "SCOPES": ["openid", "email"]},
        }
    }


@pytest.mark.django_db
@pytest.mark.usefixtures("two_of_google")
@pytest.mark.parametrize("others", [("files",), ("more",), ("files", "more")])
def test_fakes_at_the_same_host_each_get_what_is_theirs(
    ada: Any, fake_provider: Any, connected_account: Any, others: tuple[str, ...]
) -> None:
    fakes = {alias: fake_provider(alias) for alias in ("people", *others)}
    for alias, fake in fakes.items():
        account = connected_account(alias, ada)
        refresh(account)
        fake.script("api", Answer(json={"of": alias}))
        url = "https://www.googleapis.com/drive/v3/files"
        assert get_session(account).get(url).json() == {"of": alias}
        disconnect(account)
    revoke_pending_tokens.apply()
    for fake in fakes.values():
        endpoints = [sent.endpoint for sent in fake.requests]
        assert endpoints == ["token", "identity", "token", "api", "revocation"]


@pytest.mark.django_db
@pytest.mark.usefixtures("two_of_google")
def test_without_a_code_or_token_it_is_the_client_that_tells(settings: Any) -> None:
    for entry in settings.CONNECTED_ACCOUNTS["PROVIDERS"].values():
        entry["OPTIONS"] = {"grant_type": "client_credentials", "identity_source": "none"}
    with FakeProvider("people") as people, FakeProvider("files") as files:
        account = connect_account(people, None)
    assert account.provider == "people"
    assert (len(people.sent_to("token")), files.requests) == (1, [])


@pytest.mark.django_db
def test_a_fake_that_is_there_already_may_be_entered_again(ada: Any, fake_provider: Any) -> None:
    with fake_provider("badgr") as badgr:
        account = connect_account(badgr, ada)
        with pytest.raises(UnexpectedRequest), badgr:
            transport.fetch(requests.Request("GET", "https://elsewhere.example/"))
        badgr.unexpected.clear()
    refresh(account)
    assert len(badgr.sent_to("token")) == 2


# Time, and what can go wrong.


@pytest.mark.django_db
def test_time_passes_for_the_provider_and_for_what_is_stored(
    ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account, other = connected_account("badgr", ada), connected_account("bitbadges", ada)
    badgr = fake_provider("badgr")
    token, ends = get_access_token(account), account.expires_at
    badgr.script("api", TooManyRequests())
    assert get_session(account).get("v2/backpack/assertions").headers["Retry-After"] == "60"

    badgr.advance(hours=23, minutes=59, seconds=30)

    row = ConnectedAccount.objects.get(pk=account.pk)
    assert ends - row.expires_at == timedelta(hours=23, minutes=59, seconds=30)
    assert badgr.grants[0].access_token == token
    badgr.advance(seconds=31)
    assert badgr.grants[0].access_token != token
    assert get_access_token(account) not in (token, "")
    assert ConnectedAccount.objects.get(pk=other.pk).expires_at == other.expires_at


@pytest.mark.django_db
def test_a_refresh_token_ends_when_its_life_is_over(
    ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    badgr = fake_provider("badgr", refresh_token_expires_in=100_000)
    account = connected_account("badgr", ada)
    badgr.advance(seconds=100_001)

    with pytest.raises(ReauthorizationRequired):
        refresh(account)


@pytest.mark.django_db
@pytest.mark.parametrize(("fault", "status"), [(TooManyRequests(120), 429), (BadGateway(), 502)])
def test_a_fault_is_what_its_name_says(
    ada: Any, fake_provider: Any, connected_account: Any, fault: Any, status: int
) -> None:
    account = connected_account("badgr", ada)
    fake_provider("badgr").script("token", fault)

    with pytest.raises(ProviderUnavailable) as caught:
        refresh(account)

    assert caught.value.status == status
    if status == 429:
        assert account.refresh_at >= timezone.now() + timedelta(seconds=110)


# The suite for providers.


def like_medals(**attributes: Any) -> type:
    values = {"alias": "medals", "outcome_of_unknown": Outcome.REVOKED, **attributes}
    return type("TestMedals", (CodeContract, RevocationCases), values)


@pytest.mark.parametrize(
    "attributes",
    [
        {"test_a_dead_refresh_token_must_be_connected_again": None},
        {"test_a_revoked_grant_is_done_with": lambda self: None},
        {"__test__": False},
        {"pytestmark": pytest.mark.skip(reason="some day")},
        {"pytestmark": [pytest.mark.xfail]},
    ],
)
def test_a_suite_without_all_cases_of_its_contract_cannot_be_defined(
    attributes: dict[str, Any],
) -> None:
    with pytest.raises(TypeError, match="TestMedals"):
        like_medals(**attributes)


def test_a_case_that_was_taken_out_of_the_contract_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert like_medals(test_of_its_own=lambda self: None)
    monkeypatch.delattr(CodeCases, "test_a_refresh_replaces_both_tokens")
    with pytest.raises(TypeError, match="test_a_refresh_replaces_both_tokens"):
        like_medals()


# A site that uses all of it.


def test_the_example_site_is_tested_without_a_connection() -> None:
    no_network = (
        "import socket\n"
        "def refuse(*args): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse"
    )
    suite = ROOT / "example_project" / "tests"
    done = run_pytest("-q", "-c", f"{suite}/pytest.ini", str(suite), cwd=ROOT, before=no_network)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "skipped" not in done.stdout
