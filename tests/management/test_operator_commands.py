"""The commands for operators: status, new keys, and disconnecting everybody."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Deployment, ProviderState
from connected_accounts.provider_state.pauses import pause
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

pytestmark = pytest.mark.django_db

NEW_KEY = "YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="


@pytest.fixture
def accounts(client_of_ada: Client, badgr: FakeProvider) -> list[ConnectedAccount]:
    return [connect(client_of_ada, badgr, subject=f"person-{n}") for n in range(3)]


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def status(*arguments: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    code = 0
    try:
        call_command("connections_status", "--json", *arguments, stdout=out)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, json.loads(out.getvalue())


# --- connections_status


def test_healthy_connections_are_shown_and_exit_0(accounts: list[ConnectedAccount]) -> None:
    table = run("connections_status")
    assert table.splitlines()[0].split()[:3] == ["provider", "active", "due"]
    assert ["badgr", "3", *"0000000", "-", "-"] in [line.split() for line in table.splitlines()]
    code, document = status()
    assert code == 0
    assert document["troubles"] == []
    assert {row["provider"] for row in document["providers"]} >= {"badgr", "bitbadges"}


def test_what_is_due_failing_ended_and_waiting_is_counted(
    accounts: list[ConnectedAccount],
) -> None:
    late = timezone.now() - timedelta(seconds=300)
    first, second, third = (ConnectedAccount.objects.filter(pk=a.pk) for a in accounts)
    first.update(refresh_at=late, failure_count=2)
    second.transition(status="reconnect_required", reason="revoked", refresh_at=None)
    disconnect(third.get())
    code, document = status()
    [row] = [row for row in document["providers"] if row["provider"] == "badgr"]
    assert 300 <= row.pop("overdue_seconds") <= 330
    assert row.pop("revocation_seconds") <= 30
    assert row == {
        "provider": "badgr",
        "active": 1,
        "due": 1,
        "overdue": 0,
        "failing": 1,
        "reconnect_required": 1,
        "revocations_waiting": 1,
        "revocations_given_up": 0,
        "paused_until": None,
        "pause_reason": "",
        "other_site": False,
        "configured": True,
    }
    assert code == 0
    code, document = status("--max-overdue", "60")
    assert code == 1
    assert {row["provider"]: row["overdue"] for row in document["providers"]}["badgr"] == 1


def test_a_pause_another_site_and_a_missing_provider_exit_1(
    accounts: list[ConnectedAccount], app_settings: Any
) -> None:
    pause("badgr", "invalid_client")
    code, document = status()
    assert (code, len(document["troubles"])) == (1, 1)
    assert "invalid_client" in document["troubles"][0]
    table = StringIO()
    with pytest.raises(SystemExit) as stop:
        call_command("connections_status", stdout=table)
    assert stop.value.code == 1
    assert "invalid_client" in table.getvalue().splitlines()[1]
    ProviderState.objects.update(paused_until=None, pause_reason="")
    Deployment.objects.create(site_id="elsewhere", adopted_at=timezone.now())
    app_settings(SITE_ID="here")
    code, document = status()
    assert (code, document["site"]) == (1, {"here": "here", "database": "elsewhere"})
    assert "the database is 'elsewhere', and this site is 'here'" in document["troubles"][0]
    Deployment.objects.all().delete()
    app_settings(PROVIDERS={})
    code, document = status()
    assert code == 1
    assert "not in settings" in document["troubles"][0]


# --- revoke_all


def test_all_connections_of_a_provider_are_disconnected(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    assert "3 of 3 disconnected" in run("revoke_all", "--provider", "badgr", "--no-input")
    revoke_pending()
    assert not any(grant.is_alive for grant in badgr.grants)


def test_only_those_connected_since_a_moment(accounts: list[ConnectedAccount]) -> None:
    ConnectedAccount.objects.filter(pk=accounts[0].pk).update(
        connected_at=timezone.now() - timedelta(days=30)
    )
    since = (timezone.now() - timedelta(days=2)).date().isoformat()
    run("revoke_all", "--provider", "badgr", "--since", since, "--no-input")
    assert [row.pk for row in ConnectedAccount.objects.all()] == [accounts[0].pk]


def test_it_asks_first_and_takes_no_for_no(
    accounts: list[ConnectedAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was done"):
        run("revoke_all", "--provider", "badgr")
    assert ConnectedAccount.objects.count() == 3


@pytest.mark.parametrize(
    "arguments", [["--provider", "nobody"], ["--provider", "badgr", "--since", "soon"], []]
)
def test_what_makes_no_sense_is_refused(
    accounts: list[ConnectedAccount], arguments: list[str]
) -> None:
    with pytest.raises(CommandError):
        run("revoke_all", "--no-input", *arguments)
    assert ConnectedAccount.objects.count() == 3
