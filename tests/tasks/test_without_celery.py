"""A site that has no Celery app: nothing is sent to a broker, and what would be sent is done."""

import subprocess
import sys
from datetime import timedelta
from typing import Any

import celery
import kombu
import pytest
from django.core import checks
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.schedule import BEAT_SCHEDULE
from connected_accounts.services import refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import set_row

ENTRY = {
    "BACKEND": "connected_accounts.providers.badgr.Badgr",
    "CLIENT_ID": "client",
    "CLIENT_SECRET": "client-secret",
}


@pytest.fixture(autouse=True)
def no_celery_app(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Celery's own, as where a site makes none; and no broker is called."""
    apart = celery.Celery("default", set_as_current=False)
    monkeypatch.setattr(tasks, "current_app", apart)
    del settings.CELERY_BROKER_URL
    del settings.CELERY_BEAT_SCHEDULE

    def called(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("a broker was called")

    monkeypatch.setattr(kombu.Connection, "connect", called)
    monkeypatch.setattr(kombu.Connection, "default_channel", property(called))


def test_celerys_own_app_is_known_by_its_name() -> None:
    code = "import celery; print(celery.current_app.main)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "default\n"


def ids(settings: Any) -> list[str]:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": ENTRY}}
    found = checks.run_checks(tags=["connected_accounts"])
    return [str(message.id).removeprefix("connected_accounts.") for message in found]


def test_no_check_asks_it_for_a_schedule(settings: Any) -> None:
    assert ids(settings) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_BROKER_URL", "redis://127.0.0.1/0"),
        ("CELERY_BEAT_SCHEDULE", BEAT_SCHEDULE),
        ("CELERY_BEAT_SCHEDULE", {"hourly": {"task": "hourly", "schedule": 3600}}),
    ],
)
def test_settings_for_an_app_that_was_not_made_are_a_warning(
    settings: Any, name: str, value: Any
) -> None:
    setattr(settings, name, value)
    assert ids(settings) == ["W028"]
    (message,) = checks.run_checks(tags=["connected_accounts"])
    assert name in message.msg
    assert "refresh_connections" in str(message.hint)


@pytest.mark.django_db(transaction=True)
def test_a_mail_is_sent_by_whoever_finds_that_a_connection_ended(
    account: ConnectedAccount, badgr: FakeProvider, mailoutbox: list[Any], app_settings: Any
) -> None:
    app_settings(REDIRECT_BASE_URL="https://site.example", RECONNECT_MAIL=True)
    badgr.withdraw()
    with pytest.raises(Exception, match="connect"):
        refresh(account)
    assert [message.to for message in mailoutbox] == [["ada@site.example"]]


@pytest.mark.django_db(transaction=True)
def test_a_revocation_waits_for_the_next_round(
    account: ConnectedAccount, client_of_ada: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    assert "not sent" not in caplog.text
    assert Revocation.objects.get().outcome == "pending"
    call_command("refresh_connections")
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.django_db(transaction=True)
def test_staff_have_an_account_refreshed_by_the_next_round(
    account: ConnectedAccount, admin_client: Client, badgr: FakeProvider, now: Any
) -> None:
    set_row(account, refresh_at=timezone.now() + timedelta(days=1), failure_count=3)
    page = admin_client.post(
        "/admin/connected_accounts/connectedaccount/",
        {"action": "refresh_now", "_selected_action": [account.pk], "confirmed": "yes"},
        follow=True,
    )
    assert "1 account is due now" in page.content.decode()
    call_command("refresh_connections")
    row = ConnectedAccount.objects.get()
    assert row.refreshed_at is not None
    assert row.failure_count == 0
