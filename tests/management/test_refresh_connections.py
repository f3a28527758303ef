"""``refresh_connections``: what beat and the workers do, in one process and without a broker."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from connected_accounts.management.commands import refresh_connections
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Revocation
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider
from connected_accounts.testing.faults import Answer

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("refresh_connections", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def due(account: ConnectedAccount) -> None:
    ConnectedAccount.objects.filter(pk=account.pk).update(
        refresh_at=timezone.now() - timedelta(minutes=1)
    )


def test_one_round_refreshes_withdraws_and_deletes_what_has_served(
    account: ConnectedAccount,
    badgr: FakeProvider,
    make_account: Callable[..., ConnectedAccount],
    bob: Any,
) -> None:
    due(account)
    disconnect(make_account(bob, access_token="a", refresh_token="r"))
    old = timezone.now() - timedelta(days=3)
    AuthorizationRequest.objects.update(expires_at=old)
    assert AuthorizationRequest.objects.exists()
    said = run()
    assert said == "1 refreshed, 0 failed, 1 revocations tried\n"
    assert ConnectedAccount.objects.get(pk=account.pk).refreshed_at is not None
    assert not Revocation.objects.filter(outcome="pending").exists()
    assert not AuthorizationRequest.objects.exists()
    assert run() == ""
    assert current_app.conf.task_always_eager is False


@pytest.mark.django_db(transaction=True)
def test_mails_are_sent_in_the_same_round(
    account: ConnectedAccount,
    badgr: FakeProvider,
    mailoutbox: list[Any],
    app_settings: Callable[..., None],
) -> None:
    app_settings(REDIRECT_BASE_URL="https://site.example", RECONNECT_MAIL=True)
    badgr.script("token", Answer(400, json={"error": "invalid_grant"}))
    due(account)
    assert run() == "0 refreshed, 1 failed, 0 revocations tried\n"
    assert [message.to for message in mailoutbox] == [["ada@site.example"]]


def test_an_alias_with_wrong_settings_does_not_keep_the_others(
    account: ConnectedAccount, provider_settings: Callable[..., None]
) -> None:
    due(account)
    provider_settings("bitbadges", OPTIONS={"no_such_option": 1})
    said = run()
    assert "bitbadges: cannot be refreshed" in said
    assert "Run manage.py check." in said
    assert "1 refreshed" in said


@pytest.mark.django_db(transaction=True)
def test_a_loop_goes_on_after_a_database_error_and_ends_at_sigterm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds: list[int] = []

    def drain(alias: str, **options: Any) -> Any:
        rounds.append(1)
        if len(rounds) == 1:
            raise OperationalError("SELECT secret")
        if len(rounds) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return refresh_connections.Drained()

    monkeypatch.setattr(refresh_connections, "drain", drain)
    handler = signal.getsignal(signal.SIGTERM)
    said = run("--loop", "--every", "0.01")
    assert said == (
        "A round every 0.01 seconds, until Ctrl-C.\nThis round ended early: OperationalError.\n"
    )
    assert len(rounds) > 1
    assert signal.getsignal(signal.SIGTERM) is handler


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(CommandError, match="above 0"):
        run("--loop", "--every", "0")
