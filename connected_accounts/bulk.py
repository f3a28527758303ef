"""Statements that are written out, where the ORM would spend more on building them than the
database on running them: storing a hundred grants a second, and reading a token at each request.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, models, router, transaction

Row = tuple[Mapping[str, Any], Mapping[str, Any]]


def update_all(model: type[models.Model], rows: Sequence[Row]) -> bool:
    """Update each row that meets its conditions, all in one transaction and one round trip; return
    whether all did, else nothing is changed. (``bulk_update`` knows no conditions.)

    A row is its new values and its conditions, by field name, each equal to a plain value; the
    same names in every row.
    """
    connection = connections[router.db_for_write(model)]
    field: Callable[[str], Any] = model._meta.get_field

    def equals(names: Iterable[str]) -> list[str]:
        columns = (field(name).column for name in names)
        return [f"{connection.ops.quote_name(column)} = %s" for column in columns]

    def stored(found: Mapping[str, Any]) -> list[Any]:
        return [field(n).get_db_prep_save(value, connection) for n, value in found.items()]

    values, conditions = rows[0]
    table = connection.ops.quote_name(model._meta.db_table)
    sets, where = ", ".join(equals(values)), " AND ".join(equals(conditions))
    statement = f"UPDATE {table} SET {sets} WHERE {where}"  # noqa: S608  # names of columns only
    parameters = [[*stored(new), *stored(held)] for new, held in rows]
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.executemany(statement, parameters)
        if cursor.rowcount == len(rows):
            return True
        transaction.set_rollback(True, using=connection.alias)
    return False


def read_one(model: type[models.Model], pk: int, names: Sequence[str]) -> Any:
    """The row with this key, from the database that is written to, with these fields loaded; None
    where there is none."""
    using = router.db_for_write(model)
    connection = connections[using]
    key, *columns = _columns(model, ("id", *names), connection)
    table = connection.ops.quote_name(model._meta.db_table)
    statement = f"SELECT {', '.join((key, *columns))} FROM {table} WHERE {key} = %s"  # noqa: S608
    return next(iter(model._default_manager.raw(statement, [pk], using=using)), None)


def _columns(model: type[models.Model], names: Iterable[str], connection: Any) -> list[str]:
    fields: Any = model._meta
    return [connection.ops.quote_name(fields.get_field(name).column) for name in names]
