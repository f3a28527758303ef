"""Transactions of the site around ours, and a database that cannot be reached for a while."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
    transaction,
)

from connected_accounts.database.locks import is_lock_timeout, short_lock_waits
from connected_accounts.exceptions import ProviderUnavailable

RETRY_EVERY: Final = 0.5
LOCK_WAIT: Final = 5  # seconds
# What a database raises that is not there, or takes no writes: an InternalError, at a fail-over.
DATABASE_UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)
T = TypeVar("T")


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


def retry_while_unavailable(write: Callable[[], T], ends: float) -> T:
    """Run a write again while the database cannot be reached. Raises what it last raised."""
    while True:
        try:
            return write()
        except DATABASE_UNAVAILABLE as error:
            if is_lock_timeout(error) or connection.in_atomic_block or time.monotonic() > ends:
                raise
            connection.close()
            time.sleep(RETRY_EVERY)
