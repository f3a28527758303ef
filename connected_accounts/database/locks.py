"""Rows that other transactions have locked or changed: telling what happened, and trying again."""

from collections.abc import Callable
from typing import Final, TypeVar

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection

TRIES: Final = 5
NOT_IN_LINE: Final = ("40001", "40P01", 1213)  # serialization failure, deadlock; MySQL's deadlock
T = TypeVar("T")


def retried(work: Callable[[], T]) -> T:
    """Run a transaction, and again where the database could not bring it in line with another, as
    it may at REPEATABLE READ: a row that changed, or one that is there and was not seen."""
    for _ in range(TRIES):
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            again = isinstance(error, IntegrityError) or not _codes(error).isdisjoint(NOT_IN_LINE)
            if connection.in_atomic_block or not again:
                raise
    return work()


def is_lock_timeout(error: DatabaseError | InterfaceError) -> bool:
    """Whether a lock was waited for in vain: PostgreSQL's 55P03, MySQL's 1205."""
    return not _codes(error).isdisjoint(("55P03", 1205))


def _codes(error: DatabaseError | InterfaceError) -> set[object]:
    """PostgreSQL's SQLSTATE, or MySQL's number. (A driver of MySQL may know a SQLSTATE, too.)"""
    cause = error.__cause__
    return {getattr(cause, "sqlstate", None), *(cause.args[:1] if cause else ())}
