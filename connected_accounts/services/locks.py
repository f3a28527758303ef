"""Not waiting for ever for a row that another transaction has locked."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, InterfaceError, connection


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
        with suppress(DatabaseError):  # a connection that is gone has nothing set
            if connection.vendor == "postgresql":
                _execute("RESET lock_timeout")
            elif before is not None:
                _execute(f"SET innodb_lock_wait_timeout = {int(before)}")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def is_lock_timeout(error: DatabaseError | InterfaceError) -> bool:
    """Whether a lock was waited for in vain: PostgreSQL's 55P03, MySQL's 1205."""
    cause = error.__cause__
    number = cause.args[0] if cause is not None and cause.args else None
    return getattr(cause, "sqlstate", None) == "55P03" or number == 1205
