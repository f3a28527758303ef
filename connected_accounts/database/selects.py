"""Rows that are read by statements that are written out: see ``tables``."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import connections, models, router

from connected_accounts.database.compiled import Compiled
from connected_accounts.database.tables import Counterpart, Table, converted


def read_one(
    model: type[models.Model],
    pk: int,
    names: Sequence[str],
    *,
    true_unless: Mapping[str, str] | None = None,
    agreeing: Mapping[str, Counterpart] | None = None,
) -> Any:
    """The row with this key, with these fields loaded; None where there is none.

    ``true_unless`` names attributes that are true unless a column of a related row says otherwise:
    ``{"owner_is_active": "user__is_active"}``; ``agreeing`` those that are true unless the row of a
    counterpart differs.
    """
    found = read_all(model, {"id": pk}, names, true_unless or {}, agreeing or {})
    return found[0] if found else None


def read_compiled(
    model: type[models.Model],
    select: Callable[[str], Compiled],
    given: Mapping[str, Any],
    names: Sequence[str],
) -> list[Any] | None:
    """The values of these fields in the one row of a SELECT, and what is behind them as the driver
    gives it; None where there is none. No instance is made of it, where a token is read at each
    request.

    ``select`` makes the statement, of the database's alias; ``given`` is for its parameters.
    """
    using = router.db_for_write(model)
    connection = connections[using]
    compiled = _written(select, using, connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(compiled.statement, compiled.stored(given, connection))
        row = cursor.fetchone()
    return None if row is None else converted(model, connection, names, row)


@lru_cache(maxsize=16)
def _written(select: Callable[[str], Compiled], using: str, vendor: str) -> Compiled:
    """The statement, made once: in tests an alias may be another kind of database later."""
    return select(using)


def read_all(
    model: type[models.Model],
    conditions: Mapping[str, Any],
    names: Sequence[str] = (),
    true_unless: Mapping[str, str] | None = None,
    agreeing: Mapping[str, Counterpart] | None = None,
    *,
    limit: int | None = None,
) -> list[Any]:
    """The rows that meet the conditions, newest first and at most ``limit``, from the database that
    is written to; all their fields, or the key and those named."""
    table, true_unless, agreeing = Table(model), true_unless or {}, agreeing or {}
    every = [field.name for field in model._meta.concrete_fields]
    read = [name for name in every if name in {"id", *names}] if names else every
    rows = _select(table, conditions, read, true_unless, agreeing, limit=limit)
    return list(table.loaded(read, [*true_unless, *agreeing], rows))


def _select(
    table: Table,
    conditions: Mapping[str, Any],
    names: Sequence[str],
    true_unless: Mapping[str, str],
    agreeing: Mapping[str, Counterpart],
    *,
    limit: int | None,
) -> list[Any]:
    statement = _selection(
        table.model,
        table.using,
        (*conditions,),
        (*names,),
        (*true_unless.values(),),
        (*agreeing.values(),),
    ) + (f" LIMIT {limit}" if limit else "")
    with table.connection.cursor() as cursor:
        cursor.execute(statement, table.stored(conditions))
        return list(cursor.fetchall())


@lru_cache(maxsize=64)
def _selection(
    model: type[models.Model],
    using: str,
    conditions: tuple[str, ...],
    names: tuple[str, ...],
    true_unless: tuple[str, ...],
    agreeing: tuple[Counterpart, ...],
) -> str:
    table = Table(model, using)
    read = table.columns(names)
    read += map(table.true_unless, true_unless)
    read += map(table.agrees, agreeing)
    where = " AND ".join(table.equals(conditions))
    columns, key = ", ".join(read), table.quote("id")
    return f"SELECT {columns} FROM {table.name} WHERE {where} ORDER BY {key} DESC"  # noqa: S608
