"""Rows that other transactions have locked or changed: telling what happened, and trying again."""

import random
import time
import traceback
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any, Final, Self, TypeVar

from django.db import DatabaseError, Error, IntegrityError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

TRIES: Final = 8
PATIENCE: Final = 10  # seconds for which a conflict is tried more often: a code may be spent
PAUSE: Final = 0.01  # seconds before the second try, more before each of the next ones
NOT_IN_LINE: Final = (
    *("40001", "40P01"),  # PostgreSQL's serialization failure, and its deadlock
    1213,  # MySQL's deadlock
    1467,  # one over the next key of a table, which MySQL and MariaDB call a key not read
    1020,  # MariaDB's row that changed since it was read
    *("SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT"),  # the one writer is another
)
T = TypeVar("T")


def retried(work: Callable[[], T]) -> T:
    """Run a transaction, and again where the database could not bring it in line with another, as
    it may at REPEATABLE READ: a row that changed, or one that is there and was not seen. What a
    callback of the site's raises behind its commit is raised at once."""
    return _repeated(work, lambda error: isinstance(error, IntegrityError) or is_out_of_line(error))


class statements_retried(ContextDecorator):  # in lower case, as a context manager is named
    """On this thread's connection, run a statement again that is a transaction by itself and that
    the database could not bring in line with another: it has changed nothing."""

    def _recreate_cm(self) -> Self:
        return type(self)()  # one for each call of a decorated function

    def __enter__(self) -> None:
        wrappers = connection.execute_wrappers
        self.entered = None if _retry in wrappers else wrappers
        if self.entered is not None:
            self.entered.append(_retry)

    def __exit__(self, *raised: object) -> None:
        if self.entered is not None:
            self.entered.remove(_retry)


def _retry(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    if many or context["connection"].in_atomic_block:
        return execute(sql, params, many, context)
    return _repeated(lambda: execute(sql, params, many, context), is_out_of_line)


def _repeated(work: Callable[[], T], again: Callable[[DatabaseError], bool]) -> T:
    ends, number = time.monotonic() + PATIENCE, 0
    while True:
        number += 1
        try:
            return work()
        except DatabaseError as error:
            if connection.in_atomic_block or is_committed(error) or not again(error):
                raise
            is_late = isinstance(error, IntegrityError) or time.monotonic() >= ends
            if number >= TRIES and is_late:
                raise
        # Of several that are in each other's way, not all at the same moment again.
        longest = PAUSE * 2 ** min(number - 1, TRIES - 1)
        time.sleep(random.uniform(0, longest))  # noqa: S311  # no secret


def is_committed(error: Exception) -> bool:
    """Whether an ``on_commit`` callback raised it: Django lets that through, behind the commit."""
    callbacks = BaseDatabaseWrapper.run_and_clear_commit_hooks.__code__
    return any(frame.f_code is callbacks for frame, _ in traceback.walk_tb(error.__traceback__))


def is_out_of_line(error: Error) -> bool:
    """Whether the database could not bring the transaction in line with another: it is over."""
    return not codes_of(error).isdisjoint(NOT_IN_LINE)


def is_lock_timeout(error: DatabaseError | InterfaceError) -> bool:
    """Whether a lock was waited for in vain: PostgreSQL's 55P03, MySQL's 1205."""
    return not codes_of(error).isdisjoint(("55P03", 1205))


def codes_of(error: Error) -> set[object]:
    """PostgreSQL's SQLSTATE, which is psycopg2's ``pgcode``, MySQL's number, or SQLite's name. (A
    driver of MySQL may know a SQLSTATE, too.)"""
    cause = error.__cause__
    names = (getattr(cause, name, None) for name in ("sqlstate", "pgcode", "sqlite_errorname"))
    return {*names, *(cause.args[:1] if cause else ())}
