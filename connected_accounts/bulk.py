"""Many rows, each with values and conditions of its own, in one transaction and one round trip.

``bulk_update`` knows no conditions, and the ORM builds a statement anew for each row; where a
hundred grants a second are stored that is most of the work.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, models, router, transaction

Row = tuple[Mapping[str, Any], Mapping[str, Any]]


def update_all(model: type[models.Model], rows: Sequence[Row]) -> bool:
    """Update each row that meets its conditions; return whether all did, else nothing is changed.

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
