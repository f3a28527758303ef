"""Rows that are changed by statements that are written out: see ``tables``. Of many rows at once
numbers, UUIDs and moments are stored without their fields' preparation, which would leave them as
they are.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import repeat
from operator import is_
from typing import Any, Final
from uuid import UUID

from django.db import connections, models, transaction

from connected_accounts.database.compiled import (
    Compiled,
    array_text,
    compiled_update,
    load_times_faster,
)
from connected_accounts.database.tables import Counterpart, Table

Row = tuple[Mapping[str, Any], Mapping[str, Any]]
# Values that the preparation of a field leaves as they are, on PostgreSQL.
_OF_ITS_KIND: Final[Mapping[type, type]] = {
    models.BigAutoField: int,
    models.PositiveBigIntegerField: int,
    models.UUIDField: UUID,
    models.DateTimeField: datetime,  # with a zone
}


def update_all(model: type[models.Model], rows: Sequence[Row]) -> bool:
    """Update each row that meets its conditions, all in one transaction and one round trip; return
    whether all did, else nothing is changed, nor by a transaction around it. (``bulk_update`` knows
    no conditions.)

    A row is its new values and its conditions, by field name, each equal to a plain value; the
    same names in every row.
    """
    table = Table(model)
    whole = transaction.atomic(using=table.using, savepoint=False)
    with whole, table.connection.cursor() as cursor:
        if table.connection.vendor == "postgresql" and len(rows) > 1:
            cursor.execute(*_update_from_values(table, rows))
        else:
            sets, where = (table.equals(names) for names in rows[0])
            statement = f"UPDATE {table.name} SET {', '.join(sets)} WHERE {' AND '.join(where)}"  # noqa: S608
            stored = [[*table.stored(values), *table.stored(held)] for values, held in rows]
            cursor.executemany(statement, stored)
        if cursor.rowcount == len(rows):
            return True
        transaction.set_rollback(True, using=table.using)
    return False


def _update_from_values(table: Table, rows: Sequence[Row]) -> tuple[str, list[Any]]:
    """One UPDATE of many rows from arrays, one for each column in which they differ. PostgreSQL
    plans it once, where ``executemany`` has it plan each row."""
    named: list[str] = []
    arrays: list[str] = []
    lists: list[Any] = []  # of texts, for the most part

    def equals(part: int) -> tuple[list[str], list[Any]]:
        texts: list[str] = []
        scalars: list[Any] = []
        for name, first in rows[0][part].items():
            (column,), field = table.columns([name]), table.field(name)
            given = [row[part][name] for row in rows]
            kinds = {*map(type, given)}
            same_text = kinds == {str} and given.count(first) == len(given)
            if same_text or all(map(is_, given, repeat(first))):
                texts.append(f"{column} = %s")
                scalars += table.stored({name: first})
                continue
            new = f"v{len(named)}"
            texts.append(f"{column} = held.{new}")
            named.append(new)
            # Without its length: a cast to that would cut, where storing refuses.
            arrays.append(f"%s::{field.db_type(table.connection).partition('(')[0]}[]")
            if kinds != {_OF_ITS_KIND.get(type(field))} or _has_no_zone(given):
                given = [field.get_db_prep_save(one, table.connection) for one in given]
            lists.append(array_text(given))
        return texts, scalars

    sets, new = equals(0)
    where, same = equals(1)
    # Their own columns are named with the table in WHERE only: SET takes none.
    where = [f"{table.name}.{text}" for text in where]
    statement = (
        f"UPDATE {table.name} SET {', '.join(sets)} "  # noqa: S608  # names of our own
        f"FROM unnest({', '.join(arrays)}) AS held ({', '.join(named)}) "
        f"WHERE {' AND '.join(where)}"
    )
    return statement, [*new, *lists, *same]


def _has_no_zone(values: Sequence[Any]) -> bool:
    return type(values[0]) is datetime and any(one.tzinfo is None for one in values)


def can_return(using: str) -> bool:
    """Whether UPDATE can return the rows that it changed: on PostgreSQL and on SQLite from 3.35."""
    connection = connections[using]
    return connection.vendor in ("postgresql", "sqlite") and bool(
        connection.features.can_return_rows_from_bulk_insert
    )


def update_returning(
    rows: "models.QuerySet[Any]", values: Mapping[str, Any], true_unless: Mapping[str, str]
) -> list[Any]:
    """Update the rows, and return them as they are by then, whole; see ``read_one`` for
    ``true_unless``. Only where ``can_return`` says so."""
    return run_returning(rows.model, rows.db, compiled_update(rows, values), {}, true_unless)


def run_returning(
    model: type[models.Model],
    using: str,
    update: Compiled,
    values: Mapping[str, Any],
    true_unless: Mapping[str, str],
) -> list[Any]:
    """Run an UPDATE with these values; see ``update_returning``."""
    table = Table(model, using)
    names = [field.name for field in model._meta.concrete_fields]
    read = [*table.columns(names), *map(table.true_unless, true_unless.values())]
    with table.connection.cursor() as cursor:
        load_times_faster(table.connection, cursor)
        cursor.execute(f"{update.statement} RETURNING {', '.join(read)}", update.bound(values))
        found = cursor.fetchall()
    return list(table.loaded(names, [*true_unless], found))


def update_and_read(
    model: type[models.Model],
    values: Mapping[str, Any],
    conditions: Mapping[str, Any],
    *,
    key: str,
    existing: Mapping[str, Counterpart],
    filled: Mapping[str, type[models.Model]],
) -> Any:
    """Update the one row that meets the conditions, and return it, whole; None where there is none.

    In the conditions None stands for NULL, and ``field__gt`` for a value that is less than the
    field's. ``existing`` names attributes that say whether the row has a counterpart, and
    ``filled`` such that say whether a table has any row. Where UPDATE cannot return the row, it is
    read by its unique ``key``.
    """
    table = Table(model)
    where, held = table.meets(conditions)
    changed = f"UPDATE {table.name} SET {', '.join(table.equals(values))}"  # noqa: S608
    statement = f"{changed} WHERE {' AND '.join(where)}"
    parameters = [*table.stored(values), *held]
    returning = can_return(table.using)
    names = [field.name for field in model._meta.concrete_fields]
    others = [Table(other, table.using).name for other in filled.values()]
    told = [*map(table.exists, existing.values()), *map("EXISTS (SELECT 1 FROM {})".format, others)]
    read = ", ".join([*table.columns(names), *told])
    if returning:
        statement += f" RETURNING {read}"
    with table.connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        if not returning:
            if not cursor.rowcount:
                return None
            (same,) = table.equals([key])
            known = table.stored({key: conditions[key]})
            cursor.execute(f"SELECT {read} FROM {table.name} WHERE {same}", known)  # noqa: S608
        return next(iter(table.loaded(names, [*existing, *filled], cursor.fetchall())), None)


def update_one(
    model: type[models.Model],
    values: Mapping[str, Any],
    conditions: Mapping[str, Any],
    *,
    increment: str,
) -> bool:
    """Update the row that meets the conditions, and count one of its columns up."""
    table = Table(model)
    (counted,) = table.columns([increment])
    sets = [*table.equals(values), f"{counted} = {counted} + 1"]
    where = " AND ".join(table.equals(conditions))
    statement = f"UPDATE {table.name} SET {', '.join(sets)} WHERE {where}"  # noqa: S608
    with table.connection.cursor() as cursor:
        cursor.execute(statement, [*table.stored(values), *table.stored(conditions)])
        return bool(cursor.rowcount)
