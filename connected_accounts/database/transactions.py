"""Transactions of the site around ours, and a database that cannot be reached for a while."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any, Final, TypeVar

from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)

from connected_accounts.database.connections import Bound
from connected_accounts.database.locks import is_lock_timeout
from connected_accounts.exceptions import ConfigurationError, ProviderUnavailable

logger = logging.getLogger("connected_accounts")

RETRY_EVERY: Final = 0.5
LOCK_WAIT: Final = 5  # seconds
# What a database raises that is not there, or takes no writes: an InternalError, at a fail-over.
DATABASE_UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)
T = TypeVar("T")


def in_sites_transaction() -> bool:
    """Whether a transaction is open here that is not a test case's own."""
    blocks = connection.atomic_blocks
    return bool(blocks) and not any(getattr(block, "_from_testcase", False) for block in blocks)


def is_done_apart() -> bool:
    """Whether ``outside_transaction`` takes its work to a connection of its own here."""
    return in_sites_transaction() and connection.vendor != "sqlite"


# While work is done apart: what is to be sent on the site's own connection, once it is done.
_left_to_send: ContextVar[list[Callable[[], Any]] | None] = ContextVar("left_to_send", default=None)


def after_commit(send: Callable[[], Any]) -> None:
    """Send a signal at once, in the site's own thread; after the site's transaction where what it
    tells of is part of that."""
    left = _left_to_send.get()
    if left is not None:
        left.append(send)
    elif in_sites_transaction():
        transaction.on_commit(send)
    else:
        send()


def outside_transaction(work: Callable[[], T]) -> T:
    """Run ``work`` so that what it writes is committed at once, whatever transaction is open here.

    A site's view may run in a transaction (``ATOMIC_REQUESTS``): a refresh inside it would hold the
    transaction open over a network call, hide the lease from other processes, and lose the rotated
    token if the view fails. It is done on a connection of its own then, which is prepared as this
    one is. SQLite has one writer, so there it stays inside; a test case's own transaction is
    nobody's to leave.

    Raises ConfigurationError where that connection cannot be prepared so, and ProviderUnavailable
    (``no_connection``, ``busy``) where there is none, or it would wait for this one.
    """
    if not is_done_apart():
        return work()
    bound, left = Bound(), list[Callable[[], Any]]()
    here = copy_context()  # what the site keeps in context variables, such as the language
    here.run(_left_to_send.set, left)
    try:
        with ThreadPoolExecutor(1, "connected-accounts-refresh") as pool:
            try:
                done = pool.submit(here.run, _work_apart, work, bound)
            except RuntimeError:  # no thread can be started
                raise ProviderUnavailable("no_connection", sent=False) from None
            return done.result()
    finally:
        for send in left:
            # In a savepoint: a receiver's failed statement must not fail the site's transaction.
            with suppress(DatabaseError), transaction.atomic():
                send()


def _work_apart(work: Callable[[], T], bound: Bound) -> T:
    """On this thread's own connection. A row that the site's own transaction has locked cannot be
    waited for: that transaction waits for us."""
    code = "no_connection"
    try:
        with bound.on_this_thread(LOCK_WAIT):
            code = "busy"
            return work()
    except OperationalError:
        pass
    except ProgrammingError as error:
        logger.error("connection of its own: %s", type(error.__cause__).__name__)
        raise ConfigurationError(
            "other_tables",
            "A token is refreshed on a connection of its own, because a transaction is open here; "
            "that connection may not use the tables. Let CONNECTED_ACCOUNTS['PREPARE_CONNECTION'] "
            "prepare it as the site's is, or call this outside of the transaction.",
        ) from None
    finally:
        connections.close_all()
    raise ProviderUnavailable(code, sent=False)


def close_unusable_connection() -> None:
    """After an error, let the next statement open a new connection if this one is gone. Not inside
    a transaction, which would be lost with it: whoever opened it decides."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


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
