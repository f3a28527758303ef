"""Getting an answer to disk: a rotated refresh token exists nowhere else until this succeeds."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, TypeVar

from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.utils import timezone

from connected_accounts.accounts import ConnectedAccount, Reason
from connected_accounts.exceptions import ProviderUnavailable, Undecryptable
from connected_accounts.fields import open_document, seal_document
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Sealed, Secret, forgetful
from connected_accounts.services.grants import grant_values
from connected_accounts.services.locks import is_lock_timeout, short_lock_waits
from connected_accounts.services.revocation import revoke_orphan

logger = logging.getLogger("connected_accounts")

PATIENCE: Final = 20.0  # seconds until the broker is asked to carry the grant
RESERVE: Final = 10.0  # seconds of the lease that are left to the broker, however many wait
LAST_PATIENCE: Final = 300.0  # seconds behind the lease, while there is no broker either
PAUSE: Final = 0.5
LOCK_WAIT: Final = 5  # seconds
# What a database raises that is not there, or takes no writes: an InternalError, at a fail-over.
AWAY: Final = (OperationalError, InterfaceError, InternalError)
T = TypeVar("T")


# Gives a sealed grant to the broker: (account id, generation, sealed text). Set when the app is
# ready, so that the services need not know Celery.
carry: Callable[[int, int, str], None] | None = None


def in_sites_transaction() -> bool:
    """Whether a transaction is open here that is not a test case's own."""
    blocks = connection.atomic_blocks
    return bool(blocks) and not any(getattr(block, "_from_testcase", False) for block in blocks)


def after_commit(send: Callable[[], Any]) -> None:
    """Send a signal at once, or after the site's transaction where the refresh is part of it."""
    if in_sites_transaction():
        transaction.on_commit(send)
    else:
        send()


def outside_transaction(work: Callable[[], T]) -> T:
    """Run ``work`` so that what it writes is committed at once, whatever transaction is open here.

    A site's view may run in a transaction (``ATOMIC_REQUESTS``): a refresh inside it would hold the
    transaction open over a network call, hide the lease from other processes, and lose the rotated
    token if the view fails. It is done on a connection of its own then. SQLite has one writer, so
    there it stays inside; a test case's own transaction is nobody's to leave.
    """
    if not in_sites_transaction() or connection.vendor == "sqlite":
        return work()
    with ThreadPoolExecutor(1, "connected-accounts-refresh") as pool:
        return pool.submit(_work_apart, work).result()


def _work_apart(work: Callable[[], T]) -> T:
    """On this thread's own connection. A row that the site's own transaction has locked cannot be
    waited for: that transaction waits for us."""
    try:
        with short_lock_waits(LOCK_WAIT):
            return work()
    except OperationalError:
        pass
    finally:
        connections.close_all()
    raise ProviderUnavailable("busy", sent=False)


def patiently(write: Callable[[], T], ends: float) -> T:
    """Run a write again while the database cannot be reached. Raises what it last raised."""
    while True:
        try:
            return write()
        except AWAY as error:
            if is_lock_timeout(error) or connection.in_atomic_block or time.monotonic() > ends:
                raise
            connection.close()
            time.sleep(PAUSE)


def store_grant(
    account: ConnectedAccount,
    values: dict[str, Any],
    provider: Provider,
    endpoints: Endpoints,
    document: Mapping[str, Any],
    *,
    lease_ends: float,
) -> bool:
    """Store a refreshed grant while the row is ours. False: it is not, and the grant is withdrawn
    if a disconnect was faster.

    Raises OperationalError where the row is locked for longer than the connection waits.

    When the database stays away the grant goes to the broker, sealed, and ProviderUnavailable
    (``database_away``) is raised. While neither is there it is kept, and both are tried.
    """

    def write() -> bool:
        return account.mark_refreshed(**values) or _after_losing(
            account, values, provider, endpoints, document
        )

    ends = min(time.monotonic() + PATIENCE, lease_ends - RESERVE)
    gives_up = max(time.monotonic(), lease_ends) + LAST_PATIENCE
    while True:
        try:
            return patiently(write, ends)
        except AWAY as error:
            if is_lock_timeout(error):
                raise
        # Outside the except block: the database's error would hold the statement.
        if _hand_over(account, {**document, "sent_at": values["refreshed_at"].isoformat()}):
            break
        if connection.in_atomic_block or time.monotonic() > gives_up:
            logger.critical(
                "refreshed grant lost, database and broker away: account=%s", account.pk
            )
            break
        time.sleep(PAUSE)
    raise ProviderUnavailable("database_away")


def _hand_over(account: ConnectedAccount, document: Mapping[str, Any]) -> bool:
    """Give the grant to the broker, sealed. False: it did not take it."""
    if carry is None:
        return False
    sealed = seal_document(dict(document), account.seal_id)
    try:
        carry(account.pk, account.generation, sealed.reveal())
    except Exception as error:
        logger.error("broker away: account=%s: %s", account.pk, type(error).__name__)
        return False
    return True


def _after_losing(
    account: ConnectedAccount,
    values: Mapping[str, Any],
    provider: Provider,
    endpoints: Endpoints,
    document: Mapping[str, Any],
) -> bool:
    row = (
        ConnectedAccount.objects.current()
        .filter(pk=account.pk)
        .values("seal_id", "generation", "refreshed_at", "lease_holder")
        .first()
    )
    if row is None or row["seal_id"] != account.seal_id:
        logger.warning("late refresh withdrawn: account=%s", account.pk)
        revoke_orphan(
            provider, endpoints, account, document, subject=account.subject, at=timezone.now()
        )
        return False
    # A COMMIT whose answer was lost: the row already holds what we meant to write.
    return bool(
        row["generation"] == account.generation and row["refreshed_at"] == values["refreshed_at"]
    )


@forgetful
def store_sealed(account_id: int, generation: int, sealed: str) -> bool:
    """Store a grant that went through the broker, unless its account got a newer one meanwhile.

    Attempts made since could only replay the spent token; the end they may have come to
    (``rotation_lost``) is undone. The next generation fences off one that is under way.
    """
    accounts = ConnectedAccount.objects.current()
    account = accounts.filter(pk=account_id, generation__gte=generation).first()
    if account is None or account.reason not in ("", Reason.ROTATION_LOST):
        return False
    try:
        document = open_document(Sealed(sealed), account.seal_id)
        sent_at = datetime.fromisoformat(document.pop("sent_at"))
    except Undecryptable as error:
        account.mark_undecryptable(error.code, at=timezone.now())
        return False
    except (KeyError, ValueError):
        return False
    if account.refreshed_at is not None and account.refreshed_at >= sent_at:
        return False
    token = TokenResponse(
        access_token=Secret(document["access_token"]),
        expires_in=document.get("expires_in"),
        refresh_token_expires_in=document.get("refresh_token_expires_in"),
    )
    values = grant_values(
        get_provider(account.provider),
        token,
        document,
        seal_id=account.seal_id,
        sent_at=sent_at,
        known_end=account.refresh_token_expires_at,
    )
    generation = account.generation + 1
    return bool(account.mark_refreshed(**values, refreshed_at=sent_at, generation=generation))
