"""Storing a refreshed grant: a rotated refresh token exists nowhere else until this succeeds."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.apps import apps
from django.db import connection
from django.utils import timezone

from connected_accounts.database.locks import is_lock_timeout
from connected_accounts.database.transactions import (
    DATABASE_UNAVAILABLE,
    RETRY_EVERY,
    retry_while_unavailable,
)
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount
from connected_accounts.models.bound_tokens import BOUND, BOUND_TO_ACCOUNT
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.refresh.carried_grant import UNDONE, carried_document
from connected_accounts.revoke.disconnect import revoke_orphan
from connected_accounts.sealing import seal_carried, seal_document
from connected_accounts.secret import SecretFields

logger = logging.getLogger("connected_accounts")

PATIENCE: Final = 20.0  # seconds until the broker is asked to carry the grant
RESERVE: Final = 10.0  # seconds of the lease that are left to the broker, however many wait
LAST_PATIENCE: Final = 300.0  # seconds behind the lease, while there is no broker either


def store_grant(
    account: ConnectedAccount,
    values: dict[str, Any],
    provider: Provider,
    endpoints: Endpoints,
    document: SecretFields,
    *,
    lease_ends: float,
) -> bool:
    """Store a refreshed grant while the row is ours, or was put back by somebody else since.
    False: it is not, and the grant is withdrawn if a disconnect or a reconnect was faster.

    Raises OperationalError where the row is locked for longer than the connection waits, as long as
    it can be tried again within the lease.

    When the database stays away, or the row locked, the grant goes to the broker, sealed, and
    ProviderUnavailable (``database_away``) is raised. While neither is there it is kept, and both
    are tried.
    """

    def write() -> bool:
        return account.mark_refreshed(**values) or _explain_lost_update(
            account, values, provider, endpoints, document
        )

    ends = patience_ends(lease_ends)
    gives_up = max(time.monotonic(), lease_ends) + LAST_PATIENCE
    carried = carried_document(account, document, values["refreshed_at"])
    stored = _write_until(write, ends)
    while stored is None and not _hand_over(account, carried):
        if connection.in_atomic_block or time.monotonic() > gives_up:
            logger.critical(
                "refreshed grant lost, database and broker away: account=%s", account.pk
            )
            break
        time.sleep(RETRY_EVERY)
        stored = _write_until(write, ends)
    if stored is None:
        raise ProviderUnavailable("database_away")
    return stored


def patience_ends(lease_ends: float) -> float:
    """Until when, of ``time.monotonic()``, a database that is away is waited for."""
    return min(time.monotonic() + PATIENCE, lease_ends - RESERVE)


def _write_until(write: Callable[[], bool], ends: float) -> bool | None:
    """The value of ``write``; None where the database stays away, or the row locked until ``ends``.
    Before that, raises OperationalError where the row is locked."""
    try:
        return retry_while_unavailable(write, ends)
    except DATABASE_UNAVAILABLE as error:
        if is_lock_timeout(error) and time.monotonic() < ends:
            raise
    return None  # the database's error, which would hold the statement, is gone by now


def _hand_over(account: ConnectedAccount, document: SecretFields) -> bool:
    """Give the grant to the broker, sealed. False: it did not take it."""
    app: Any = apps.get_app_config("connected_accounts")  # which knows Celery
    sealed = seal_carried(document, account.seal_id)
    try:
        app.carry_grant(account.pk, account.generation, sealed.reveal())
    except Exception as error:
        logger.error("broker away: account=%s: %s", account.pk, type(error).__name__)
        return False
    return True


def _explain_lost_update(
    account: ConnectedAccount,
    values: dict[str, Any],
    provider: Provider,
    endpoints: Endpoints,
    document: SecretFields,
) -> bool:
    rows = ConnectedAccount.objects.current().filter(pk=account.pk)
    row = rows.values("seal_id", "generation", "refreshed_at", "reason", *BOUND).first()
    if row is not None:
        meant = (account.seal_id, account.generation, values["refreshed_at"])
        if (row["seal_id"], row["generation"], row["refreshed_at"]) == meant:
            return True  # a COMMIT whose answer was lost
        if _follow_facts(account, values, row, document) and account.mark_refreshed(**values):
            return True
        if account.mark_refreshed(put_back=True, **values):
            logger.warning("a row that was put back has its grant again: account=%s", account.pk)
            return True
        if LedgerEntry.objects.holder_of(account.seal_id) == account.pk and row["reason"] in UNDONE:
            return False  # another attempt is on its way, or was faster
    logger.warning("late refresh withdrawn: account=%s", account.pk)
    revoke_orphan(
        provider, endpoints, account, document, subject=account.subject, at=timezone.now()
    )
    return False


def _follow_facts(
    account: ConnectedAccount,
    values: dict[str, Any],
    row: Mapping[str, Any],
    document: SecretFields,
) -> bool:
    """Seal the grant for what its row is by now: it was given to another owner, or its hosts were
    confirmed. Whether there is a difference."""
    same_grant = row["seal_id"] == account.seal_id and row["generation"] == account.generation
    facts = {name: row[name] for name in (BOUND if same_grant else BOUND_TO_ACCOUNT)}
    if facts == {name: getattr(account, name) for name in facts}:
        return False
    account.take_over(facts)
    values["token"] = seal_document(document, account)
    return True
