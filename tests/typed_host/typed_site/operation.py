"""Signals, tasks, figures and the stored rows."""

from typing import Any

from connected_accounts.contrib.health_check import Connections
from connected_accounts.contrib.mail import send_reconnect_mail
from connected_accounts.contrib.prometheus import register
from connected_accounts.contrib.sentry import (
    before_send,
    before_send_log,
    before_send_transaction,
)
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Deployment,
    Event,
    Kind,
    Outcome,
    ProviderClient,
    ProviderState,
    Reason,
    Revocation,
    Status,
)
from connected_accounts.signals import (
    account_connected,
    account_disconnected,
    account_refreshed,
    reconnect_required,
    refresh_failed,
)
from connected_accounts.tasks import (
    drain_refreshes,
    mail_reconnect,
    purge,
    refresh_account,
    refresh_due_accounts,
    revoke_pending_tokens,
    store_refresh,
)


def note(sender: type[ConnectedAccount], account: ConnectedAccount, **kwargs: Any) -> None:
    if account.status == Status.RECONNECT_REQUIRED and account.reason == Reason.REVOKED:
        refresh_account.delay(account.pk)


def note_failure(
    sender: type[ConnectedAccount],
    account: ConnectedAccount,
    error: ConnectedAccountsError,
    **kwargs: Any,
) -> None:
    drain_refreshes.delay(account.provider)


def begin() -> Connections:
    for signal in (account_connected, account_refreshed):
        signal.connect(note)
    refresh_failed.connect(note_failure)
    reconnect_required.connect(send_reconnect_mail)
    account_disconnected.connect(note, weak=False)
    register()
    return Connections(max_overdue=900)


def tracked() -> dict[str, Any]:
    return {
        "before_send": before_send,
        "before_send_transaction": before_send_transaction,
        "before_send_log": before_send_log,
    }


def work() -> None:
    for task in (refresh_due_accounts, revoke_pending_tokens, purge):
        task.apply()
    mail_reconnect.delay(1, 1)
    store_refresh.delay(1, 1, "sealed")


def counts() -> dict[str, int]:
    return {
        "open": AuthorizationRequest.objects.count(),
        "clients": ProviderClient.objects.count(),
        "paused": ProviderState.objects.exclude(paused_until=None).count(),
        "databases": Deployment.objects.count(),
        "refused": Event.objects.filter(kind=Kind.REFUSED).count(),
        "owed": Revocation.objects.filter(outcome=Outcome.PENDING).count(),
    }
