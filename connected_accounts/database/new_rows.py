"""Rows that are stored by statements that are written out: see ``tables``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import models, router, transaction

from connected_accounts.database.tables import Table


def insert_one(
    model: type[models.Model],
    values: Mapping[str, Any],
    *,
    using: str | None = None,
    unless: tuple[type[models.Model], Mapping[str, Any]] | None = None,
) -> bool:
    """Store a row whose key nobody asks for afterwards; return whether it was stored. Fields that
    are not named are NULL.

    ``unless`` is a model and conditions, each equal to a plain value: where it has a row that meets
    them, nothing is stored. Looking and storing are one statement.
    """
    table = Table(model, using)
    parameters = table.stored(values)
    columns, places = ", ".join(table.columns(values)), ", ".join(["%s"] * len(values))
    source = f"VALUES ({places})"
    if unless is not None:
        other, held = Table(unless[0], table.using), unless[1]
        found = f"SELECT 1 FROM {other.name} WHERE {' AND '.join(other.equals(held))}"  # noqa: S608
        # MariaDB takes a WHERE only after a FROM.
        source = f"SELECT {places} FROM (SELECT 1) AS one WHERE NOT EXISTS ({found})"  # noqa: S608
        parameters += other.stored(held)
    with table.connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table.name} ({columns}) {source}", parameters)
        return bool(cursor.rowcount)


# A row that is stored with another: its model, its values, and its fields for the other's key.
Dependent = tuple[type[models.Model], Mapping[str, Any], tuple[str, ...]]


def can_insert_together(models_of_rows: Iterable[type[models.Model]]) -> bool:
    """Whether ``insert_together`` can store rows of these models: they are in one database."""
    return len({router.db_for_write(model) for model in models_of_rows}) == 1


def insert_together(
    model: type[models.Model],
    values: Mapping[str, Any],
    dependents: Sequence[Dependent],
    *,
    unique: Sequence[str],
    fewer_than: tuple[int, Mapping[str, Any]],
) -> Any:
    """Store a row and its dependents, all or none: in one statement on PostgreSQL, elsewhere in one
    for each, in a transaction. Return the row's key.

    None where nothing was stored: a row with the same ``unique`` fields is there (elsewhere than on
    PostgreSQL that is an IntegrityError), or not fewer than so many that meet the conditions.
    """
    table, (limit, counted) = Table(model), fewer_than
    count = f"SELECT count(*) FROM {table.name} WHERE {' AND '.join(table.equals(counted))}"  # noqa: S608
    # MariaDB takes a WHERE only after a FROM.
    first = (
        f"INSERT INTO {table.name} ({', '.join(table.columns(values))}) "  # noqa: S608
        f"SELECT {', '.join(['%s'] * len(values))} FROM (SELECT 1) AS one WHERE ({count}) < %s"
    )
    parameters = [*table.stored(values), *table.stored(counted), limit]
    if table.connection.vendor == "postgresql":
        conflict = f"ON CONFLICT ({', '.join(table.columns(unique))}) DO NOTHING"
        return _insert_at_once(table, f"{first} {conflict}", parameters, dependents)
    with transaction.atomic(using=table.using), table.connection.cursor() as cursor:
        cursor.execute(first, parameters)
        if not cursor.rowcount:
            return None
        key = cursor.lastrowid
        for kind, known, keys in dependents:
            insert_one(kind, {**dict.fromkeys(keys, key), **known}, using=table.using)
    return key


def _insert_at_once(
    table: Table, first: str, parameters: list[Any], dependents: Sequence[Dependent]
) -> Any:
    """Run the INSERT of a row with those of its dependents, as one statement."""
    key = table.quote(str(table.model._meta.pk.column))
    steps = [f"new AS ({first} RETURNING {key} AS pk)"]
    for number, (kind, known, keys) in enumerate(dependents):
        other = Table(kind, table.using)
        columns = other.columns([*keys, *known])
        read = ["pk"] * len(keys) + ["%s"] * len(known)
        steps.append(
            f"with_{number} AS (INSERT INTO {other.name} ({', '.join(columns)}) "  # noqa: S608
            f"SELECT {', '.join(read)} FROM new)"
        )
        parameters += other.stored(known)
    with table.connection.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(steps)} SELECT pk FROM new", parameters)  # noqa: S608
        found = cursor.fetchone()
    return found[0] if found else None
