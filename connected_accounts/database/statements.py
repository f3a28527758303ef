"""Statements that are written out, where the ORM would spend more on building them than the
database on running them: storing a hundred grants a second, reading a token at each request.

Every value passes its field's own preparation, so sealed columns take sealed text only here too;
in many rows at once, but for numbers, UUIDs and moments, which it would leave as they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from operator import is_
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connections, models, router, transaction

from connected_accounts.database.compiled import (
    Compiled,
    array_text,
    compiled_update,
    load_times_faster,
)

Row = tuple[Mapping[str, Any], Mapping[str, Any]]
# Another model, the field by which its row is found, and pairs of its fields and those of ours that
# they equal.
Counterpart = tuple[type[models.Model], str, tuple[tuple[str, str], ...]]
# Values that the preparation of a field leaves as they are, on PostgreSQL.
_OF_ITS_KIND: Final[Mapping[type, type]] = {
    models.BigAutoField: int,
    models.PositiveBigIntegerField: int,
    models.UUIDField: UUID,
    models.DateTimeField: datetime,  # with a zone
}
# By connection, for its converters may be methods of its own.
_CONVERTERS: Final = WeakKeyDictionary[Any, dict[Any, list[tuple[int, Any, Any]]]]()


class _Table:
    """The names and values of one model, as the database that is written to takes them."""

    def __init__(self, model: type[models.Model], using: str | None = None) -> None:
        self.model, self.using = model, using or router.db_for_write(model)
        self.connection = connections[self.using]
        self.quote = self.connection.ops.quote_name
        self.name = self.quote(model._meta.db_table)
        self.field: Any = model._meta.get_field

    def columns(self, names: Iterable[str]) -> list[str]:
        return [self.quote(self.field(name).column) for name in names]

    def related(self, path: str) -> str:
        """A column of the row that a foreign key leads to: ``user__is_active``."""
        key, _, name = path.partition("__")
        (column,) = self.columns([key])
        other = _Table(self.field(key).related_model, self.using)
        (found,), pk = other.columns([name]), other.quote(str(other.model._meta.pk.column))
        return f"(SELECT {found} FROM {other.name} WHERE {pk} = {self.name}.{column})"  # noqa: S608

    def true_unless(self, path: str) -> str:
        return f"COALESCE({self.related(path)}, TRUE)"

    def agrees(self, counterpart: Counterpart) -> str:
        """Whether no row of the counterpart says otherwise."""
        model, by, equal = counterpart
        other = _Table(model, self.using)
        pairs = [(by, by), *equal]
        found, *same = [
            f"{other.name}.{other.columns([theirs])[0]} = {self.name}.{self.columns([ours])[0]}"
            for theirs, ours in pairs
        ]
        differs = f"NOT COALESCE({' AND '.join(same)}, FALSE)"
        return f"NOT EXISTS (SELECT 1 FROM {other.name} WHERE {found} AND {differs})"  # noqa: S608

    def exists(self, counterpart: Counterpart) -> str:
        """Whether there is such a row of the counterpart."""
        model, by, equal = counterpart
        other = _Table(model, self.using)
        same = [
            f"{other.name}.{other.columns([theirs])[0]} = {self.name}.{self.columns([ours])[0]}"
            for theirs, ours in ((by, by), *equal)
        ]
        return f"EXISTS (SELECT 1 FROM {other.name} WHERE {' AND '.join(same)})"  # noqa: S608

    def equals(self, names: Iterable[str]) -> list[str]:
        return [f"{column} = %s" for column in self.columns(names)]

    def meets(self, conditions: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        """Conditions (see ``update_and_read``) and their parameters."""
        texts, parameters = [], []
        for name, value in conditions.items():
            field, _, greater = name.partition("__")
            (column,) = self.columns([field])
            texts.append(
                f"{column} IS NULL" if value is None else f"{column} {'>' if greater else '='} %s"
            )
            parameters += [] if value is None else self.stored({field: value})
        return texts, parameters

    def stored(self, values: Mapping[str, Any]) -> list[Any]:
        return [self.field(n).get_db_prep_save(v, self.connection) for n, v in values.items()]

    def loaded(self, names: Sequence[str], attributes: Sequence[str], rows: Sequence[Any]) -> Any:
        """Instances with these fields, which are in the model's own order, and these attributes
        behind them."""
        attnames = [self.field(name).attname for name in names]
        found = []
        for values in _converted(self.model, self.connection, names, rows):
            one = self.model.from_db(self.using, attnames, values[: len(names)])
            for attribute, value in zip(attributes, values[len(names) :], strict=True):
                setattr(one, attribute, value)
            found.append(one)
        return found


def _converted(
    model: type[models.Model], connection: Any, names: Sequence[str], rows: Sequence[Any]
) -> list[list[Any]]:
    """The values of these fields from rows that begin with their columns. What is behind those are
    truth values."""
    converters = _converters(model, connection, (*names,))
    found = []
    for row in rows:
        values = [*row[: len(names)], *map(bool, row[len(names) :])]
        for place, convert, column in converters:
            values[place] = convert(values[place], column, connection)
        found.append(values)
    return found


def _converters(
    model: type[models.Model], connection: Any, names: tuple[str, ...]
) -> list[tuple[int, Any, Any]]:
    """The conversions of columns to values, with their places; found once for a connection."""
    known = _CONVERTERS.setdefault(connection, {})
    key = (model, names, settings.USE_TZ)
    if key not in known:
        field: Any = model._meta.get_field
        read = [field(name).get_col(model._meta.db_table) for name in names]
        known[key] = [
            (place, convert, column)
            for place, column in enumerate(read)
            for convert in (
                *connection.ops.get_db_converters(column),
                *column.get_db_converters(connection),
            )
        ]
    return known[key]


def _select(
    table: _Table,
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
    table = _Table(model, using)
    read = table.columns(names)
    read += map(table.true_unless, true_unless)
    read += map(table.agrees, agreeing)
    where = " AND ".join(table.equals(conditions))
    columns, key = ", ".join(read), table.quote("id")
    return f"SELECT {columns} FROM {table.name} WHERE {where} ORDER BY {key} DESC"  # noqa: S608


def update_all(model: type[models.Model], rows: Sequence[Row]) -> bool:
    """Update each row that meets its conditions, all in one transaction and one round trip; return
    whether all did, else nothing is changed, nor by a transaction around it. (``bulk_update`` knows
    no conditions.)

    A row is its new values and its conditions, by field name, each equal to a plain value; the
    same names in every row.
    """
    table = _Table(model)
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


def _update_from_values(table: _Table, rows: Sequence[Row]) -> tuple[str, list[Any]]:
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
    table = _Table(model, using)
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
) -> Any:
    """Update the one row that meets the conditions, and return it, whole; None where there is none.

    In the conditions None stands for NULL, and ``field__gt`` for a value that is less than the
    field's. ``existing`` names attributes that say whether the row has a counterpart. Where UPDATE
    cannot return the row, it is read by its unique ``key``.
    """
    table = _Table(model)
    where, held = table.meets(conditions)
    changed = f"UPDATE {table.name} SET {', '.join(table.equals(values))}"  # noqa: S608
    statement = f"{changed} WHERE {' AND '.join(where)}"
    parameters = [*table.stored(values), *held]
    returning = can_return(table.using)
    names = [field.name for field in model._meta.concrete_fields]
    read = ", ".join([*table.columns(names), *map(table.exists, existing.values())])
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
        return next(iter(table.loaded(names, [*existing], cursor.fetchall())), None)


def update_one(
    model: type[models.Model],
    values: Mapping[str, Any],
    conditions: Mapping[str, Any],
    *,
    increment: str,
) -> bool:
    """Update the row that meets the conditions, and count one of its columns up."""
    table = _Table(model)
    (counted,) = table.columns([increment])
    sets = [*table.equals(values), f"{counted} = {counted} + 1"]
    where = " AND ".join(table.equals(conditions))
    statement = f"UPDATE {table.name} SET {', '.join(sets)} WHERE {where}"  # noqa: S608
    with table.connection.cursor() as cursor:
        cursor.execute(statement, [*table.stored(values), *table.stored(conditions)])
        return bool(cursor.rowcount)


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
    """The values of these fields in the one row of a SELECT, and the truth values behind them; None
    where there is none. No instance is made of it, where a token is read at each request.

    ``select`` makes the statement, of the database's alias; ``given`` is for its parameters.
    """
    using = router.db_for_write(model)
    connection = connections[using]
    compiled = _written(select, using, connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(compiled.statement, compiled.stored(given, connection))
        rows = cursor.fetchall()
    return _converted(model, connection, names, rows)[0] if rows else None


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
    table, true_unless, agreeing = _Table(model), true_unless or {}, agreeing or {}
    every = [field.name for field in model._meta.concrete_fields]
    read = [name for name in every if name in {"id", *names}] if names else every
    rows = _select(table, conditions, read, true_unless, agreeing, limit=limit)
    return list(table.loaded(read, [*true_unless, *agreeing], rows))


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
    table = _Table(model, using)
    parameters = table.stored(values)
    columns, places = ", ".join(table.columns(values)), ", ".join(["%s"] * len(values))
    source = f"VALUES ({places})"
    if unless is not None:
        other, held = _Table(unless[0], table.using), unless[1]
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
    table, (limit, counted) = _Table(model), fewer_than
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
    table: _Table, first: str, parameters: list[Any], dependents: Sequence[Dependent]
) -> Any:
    """Run the INSERT of a row with those of its dependents, as one statement."""
    key = table.quote(str(table.model._meta.pk.column))
    steps = [f"new AS ({first} RETURNING {key} AS pk)"]
    for number, (kind, known, keys) in enumerate(dependents):
        other = _Table(kind, table.using)
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
