"""Rows that other transactions have locked or changed: not waiting for ever, and trying again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from django.db import (
    DatabaseError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
)

TRIES: Final = 5
NOT_IN_LINE: Final = ("40001", "40P01", 1213)  # serialization failure, deadlock; MySQL's deadlock
T = TypeVar("T")


@contextmanager
def short_lock_waits(seconds: int) -> Iterator[None]:
    """On this thread's connection, give up waiting for a lock after ``seconds``: OperationalError.

    The connection may be a pooled one: what was set is set back. SQLite has its own ``timeout``.
    """
    before = None
    if connection.vendor == "postgresql":
        _execute(f"SET lock_timeout = '{int(seconds)}s'")
    elif connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            [before] = cursor.fetchone()
        _execute(f"SET innodb_lock_wait_timeout = {int(seconds)}")
    try:
        yield
    finally:
        with suppress(Error):  # a connection that is gone has nothing set
            if connection.vendor == "postgresql":
                _execute("RESET lock_timeout")
            elif before is not None:
                _execute(f"SET innodb_lock_wait_timeout = {int(before)}")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def retried(work: Callable[[], T]) -> T:
    """Run a transaction, and again where the database could not bring it in line with another, as
    it may at REPEATABLE READ: a row that changed, or one that is there and was not seen."""
    for _ in range(TRIES):
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            again = isinstance(error, IntegrityError) or is_out_of_line(error)
            if connection.in_atomic_block or not again:
                raise
    return work()


def is_out_of_line(error: Error) -> bool:
    """Whether the database could not bring the transaction in line with another: it is over."""
    return _code(error) in NOT_IN_LINE


def is_lock_timeout(error: DatabaseError | InterfaceError) -> bool:
    """Whether a lock was waited for in vain: PostgreSQL's 55P03, MySQL's 1205."""
    return _code(error) in ("55P03", 1205)


def _code(error: Error) -> object:
    """PostgreSQL's SQLSTATE, or MySQL's number."""
    cause = error.__cause__
    number = cause.args[0] if cause is not None and cause.args else None
    return getattr(cause, "sqlstate", None) or number
