"""Statements that the ORM writes once and that are run many times, on PostgreSQL: building that of
a claim costs more than running it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models.expressions import Expression
from django.db.models.sql import UpdateQuery

from connected_accounts.database.fields import ExactCharField

_PLAIN = (int, float, datetime, UUID)  # whose text PostgreSQL reads as it is
_TEXT_OF: Final[Mapping[type, Callable[[Any], str]]] = {
    int: str,
    datetime: str,
    UUID: attrgetter("hex"),  # UUID's own text takes four times as long
}
# By the fields that are read at each request, the values that their preparation would not change. A
# site's own field may hold something else in Python than in the database.
_LEFT_AS_IT_IS: Final[Mapping[type, type]] = {
    models.AutoField: int,
    models.BigAutoField: int,
    models.CharField: str,
    ExactCharField: str,
}


class Parameter(Expression):
    """A value that is named when a statement is compiled, and given when it is run."""

    def __init__(self, name: str, field: "models.Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name, self.left_as_it_is = name, _LEFT_AS_IT_IS.get(type(field))

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]

    def stored(self, value: Any, connection: Any) -> Any:
        if type(value) is self.left_as_it_is:
            return value
        return self.output_field.get_db_prep_value(value, connection)


class Keys(Parameter):
    """The same for several, in the text of ``array_text``."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return f"%s::{self.output_field.db_type(connection)}[]", [self]


class IsOneOf(models.Func):
    """Whether a column has one of several values."""

    output_field = models.BooleanField()
    template = "%(expressions)s)"
    arg_joiner = " = ANY("

    def __init__(self, column: str, keys: Keys) -> None:
        super().__init__(models.F(column), keys)


class Compiled(NamedTuple):
    """A statement, and its parameters in order: values, or a ``Parameter`` that stands for one."""

    statement: str
    parameters: tuple[Any, ...]

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        return [values[p.name] if isinstance(p, Parameter) else p for p in self.parameters]

    def stored(self, values: Mapping[str, Any], connection: Any) -> list[Any]:
        """The same, as any database takes them."""
        return [
            p.stored(values[p.name], connection) if isinstance(p, Parameter) else p
            for p in self.parameters
        ]


def can_compile(using: str) -> bool:
    return connections[using].vendor == "postgresql"


def compiled_update(rows: "models.QuerySet[Any]", values: Mapping[str, Any]) -> Compiled:
    """The UPDATE of these rows, in which a ``Parameter`` may stand for any value."""
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(dict(values))
    statement, parameters = query.get_compiler(rows.db).as_sql()
    return Compiled(statement, tuple(parameters))


def compiled_select(rows: "models.QuerySet[Any, Any]") -> Compiled:
    """The SELECT of these rows, on any database; a ``Parameter`` may stand for any value."""
    statement, parameters = rows.query.get_compiler(rows.db).as_sql()
    if not can_compile(rows.db):
        return Compiled(statement, tuple(parameters))
    # The driver would write what is the same each time into the text anew each time.
    operations: Any = connections[rows.db].ops
    texts = [
        "%s" if isinstance(p, Parameter) else operations.compose_sql("%s", [p]).replace("%", "%%")
        for p in parameters
    ]
    given = tuple(p for p in parameters if isinstance(p, Parameter))
    return Compiled(statement.replace("%%", "%%%%") % tuple(texts), given)


def run(using: str, compiled: Compiled, values: Mapping[str, Any]) -> int:
    """Run a statement with these values; the number of rows that it changed."""
    with connections[using].cursor() as cursor:
        cursor.execute(compiled.statement, compiled.bound(values))
        return int(cursor.rowcount)


def array_text(values: Iterable[Any]) -> Any:
    """Several values as PostgreSQL writes an array of them, in one text; as the list that they are
    where one is of a type that is not known here. The driver takes the same list apart anew."""
    values = list(values)
    kinds = set(map(type, values))
    if len(kinds) == 1 and (text := _TEXT_OF.get(*kinds)):
        return '{"' + '","'.join(map(text, values)) + '"}'
    try:
        return "{" + ",".join(map(_element, values)) + "}"
    except TypeError:
        return values


def _element(value: Any) -> str:
    """Raises TypeError for what is no number, time, UUID, truth value, text, bytes, JSON or
    None."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, _PLAIN):  # a bool is an int, and PostgreSQL knows "True"
        return f'"{value}"'
    # The driver's wrapper around bytes or JSON: psycopg 3's, or psycopg2's.
    held = getattr(value, "obj", getattr(value, "adapted", value))
    if held is not value and (dumps := getattr(value, "dumps", None)) is not None:
        return _element(dumps(held))
    if isinstance(held, bytes):
        return f'"\\\\x{held.hex()}"'
    raise TypeError(type(value).__name__)


def load_times_faster(connection: Any, cursor: Any) -> None:
    """Have the cursor read times as psycopg does, in C. Django's own way gives the same moments,
    and a row that is claimed has six."""
    adapters = getattr(getattr(cursor, "cursor", None), "adapters", None)
    if adapters is not None and connection.timezone is not None:  # psycopg 3; times have zones
        from psycopg.types.datetime import TimestamptzLoader

        adapters.register_loader("timestamptz", TimestamptzLoader)


def read_values(rows: "models.QuerySet[Any, Any]") -> list[Any]:
    """The rows of a ``values_list`` of keys, texts, numbers and times."""
    if not can_compile(rows.db):
        return list(rows)
    try:
        statement, parameters = rows.query.get_compiler(rows.db).as_sql()
    except EmptyResultSet:
        return []
    with connections[rows.db].cursor() as cursor:
        load_times_faster(connections[rows.db], cursor)
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
