"""Settings that hold on a connection for a while, and a connection of our own that is set up as
the site's is: its tables, its tenant, its row-level security.

On PostgreSQL it is set within each transaction: a session's settings are forgotten when the
connection is opened anew, and seen by other clients behind a pooler that shares sessions.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.db import Error, connection, router, transaction
from django.utils.module_loading import import_string

from connected_accounts import conf
from connected_accounts.database.locks import statements_retried
from connected_accounts.exceptions import ConfigurationError

Prepare = Callable[[Any], object]

# Before these nothing may be sent: the transaction may have failed, which the first one mends.
_SAVEPOINTS: Final = ("ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT", "SAVEPOINT")


class _BeforeEachStatement:
    """An ``execute_wrapper`` that prepares the connection, in the statement's own transaction;
    ``lasts``: until that ends, so that its other statements need no more."""

    def __init__(self, prepare: Prepare, *, lasts: bool = False) -> None:
        self.prepare, self.lasts, self.busy = prepare, lasts, False
        self.done_in: Any = None  # the outermost block of a transaction

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        one = context["connection"]
        if self.busy or self.is_done(one) or str(sql).startswith(_SAVEPOINTS):
            return execute(sql, params, many, context)
        alone = one.vendor == "postgresql" and not one.in_atomic_block
        whole: AbstractContextManager[Any] = nullcontext()
        if alone:
            whole = transaction.atomic(using=one.alias)
        with whole:
            self.busy = True
            try:
                self.prepare(one)
            finally:
                self.busy = False
            # What is set inside a savepoint is gone when it is rolled back.
            if self.lasts and not alone and one.atomic_blocks and not one.savepoint_ids:
                self.done_in = one.atomic_blocks[0]
            return execute(sql, params, many, context)

    def is_done(self, one: Any) -> bool:
        blocks = one.atomic_blocks
        return bool(blocks) and blocks[0] is self.done_in


@contextmanager
def short_lock_waits(seconds: int) -> Iterator[None]:
    """On this thread's connection, give up waiting for a lock after ``seconds``: OperationalError.

    Holds for whatever connection the thread has meanwhile, and leaves nothing behind on it. SQLite
    has its own ``timeout``.
    """
    if connection.vendor == "postgresql":
        # In a transaction that goes on after us, the wait is set back.
        before = _value("SHOW lock_timeout") if connection.in_atomic_block else None
        try:
            wrapper = _BeforeEachStatement(_waits(f"{int(seconds)}s"), lasts=True)
            with connection.execute_wrapper(wrapper):
                yield
        finally:
            if before is not None:
                with suppress(Error):  # the transaction has failed, and so ends
                    _waits(before)(connection)
    elif connection.vendor == "mysql":
        waits = _MySQLWaits(int(seconds))
        try:
            with connection.execute_wrapper(_BeforeEachStatement(waits.set)):
                yield
        finally:
            waits.set_back()
    else:
        yield


def _waits(setting: str) -> Prepare:
    return lambda one: _set_locally(one, {"lock_timeout": setting})


class _MySQLWaits:
    """MySQL knows no setting for one transaction: it is set once on each connection."""

    def __init__(self, seconds: int) -> None:
        self.seconds, self.before = seconds, 0
        self.on: Any = None

    def set(self, one: Any) -> None:
        if one.connection is not self.on:
            self.before = int(_value("SELECT @@innodb_lock_wait_timeout"))
            _execute(f"SET innodb_lock_wait_timeout = {self.seconds}")
            self.on = one.connection

    def set_back(self) -> None:
        if self.on is not None and connection.connection is self.on:
            with suppress(Error):  # a connection that is gone has nothing set
                _execute(f"SET innodb_lock_wait_timeout = {self.before}")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _value(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def _set_locally(one: Any, values: dict[str, str]) -> None:
    """Set PostgreSQL's parameters until the end of the transaction, in one round trip."""
    calls = ", ".join(["set_config(%s, %s, true)"] * len(values))
    with one.wrap_database_errors, one.connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}", [part for pair in values.items() for part in pair])


class _Tables(NamedTuple):
    """The tables that a connection means by ours."""

    alias: str
    database: str
    table: object


def _tables(one: Any) -> _Tables:
    model = apps.get_model("connected_accounts", "ConnectedAccount")
    name = one.ops.quote_name(model._meta.db_table)
    asked = "SELECT DATABASE(), %s"
    if one.vendor == "postgresql":
        asked = "SELECT current_database(), to_regclass(%s)::oid"
    with one.cursor() as cursor:
        cursor.execute(asked, [name])
        return _Tables(router.db_for_write(model), *cursor.fetchone())


class Bound:
    """All that the site has bound to its connection, taken in its thread for another one."""

    def __init__(self) -> None:
        hook = conf.get("PREPARE_CONNECTION")
        self.prepare: Prepare | None = import_string(hook)(connection) if hook else None
        self.path = _value("SHOW search_path") if connection.vendor == "postgresql" else ""
        self.tables = _tables(connection)

    @contextmanager
    def on_this_thread(self, lock_wait: int) -> Iterator[None]:
        """Give this thread's connection the same, while ``with`` lasts. Raises ConfigurationError
        (``other_tables``) where it means other tables all the same."""
        _leave_pool(connection)
        if self.prepare is not None:
            self.prepare(connection)
        with (
            statements_retried(),
            connection.execute_wrapper(_BeforeEachStatement(self._set)),
            short_lock_waits(lock_wait),
        ):
            if _tables(connection) != self.tables:
                raise ConfigurationError(
                    "other_tables",
                    "A token is refreshed on a connection of its own, because a transaction is "
                    "open here; that connection finds other tables than the site's. Let "
                    "CONNECTED_ACCOUNTS['PREPARE_CONNECTION'] prepare it as the site's is, or "
                    "call this outside of the transaction.",
                )
            yield

    def _set(self, one: Any) -> None:
        if self.prepare is not None:
            self.prepare(one)
        if one.vendor == "postgresql":
            _set_locally(one, {"search_path": self.path})


def _leave_pool(one: Any) -> None:
    """Connect without the site's pool: each request that holds one connection of it and waits for
    another would wait for all others that do the same."""
    options = one.settings_dict["OPTIONS"]
    if options.get("pool"):
        left = {name: value for name, value in options.items() if name != "pool"}
        one.settings_dict = {**one.settings_dict, "OPTIONS": left}


def problems() -> Iterator[conf.Problem]:
    """The faults of ``PREPARE_CONNECTION``, for the system checks."""
    path = conf.get("PREPARE_CONNECTION")
    if path is None:
        return
    try:
        hook = import_string(path)
    except (ImportError, ValueError, TypeError, AttributeError):
        hook = None
    if not callable(hook):
        yield conf.Problem(
            "E023",
            f"CONNECTED_ACCOUNTS['PREPARE_CONNECTION'] {path!r} is not a function that can be "
            "imported.",
            'Write its dotted path, such as "yoursite.tenants.prepare_connection".',
        )
