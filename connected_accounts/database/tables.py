"""The names and values of a model's columns, for statements that are written out where the ORM
would spend more on building them than the database on running them: storing a hundred grants a
second, reading a token at each request.

Every value passes its field's own preparation, so sealed columns take sealed text only here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connections, models, router

# Another model, the field by which its row is found, and pairs of its fields and those of ours that
# they equal.
Counterpart = tuple[type[models.Model], str, tuple[tuple[str, str], ...]]
# By connection, for its converters may be methods of its own.
_CONVERTERS: Final = WeakKeyDictionary[Any, dict[Any, list[tuple[int, Any, Any]]]]()


class Table:
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
        """A column of the row that a foreign key leads to: ``user__is_active``. It may be in the
        table of a model from which that row's inherits."""
        key, _, name = path.partition("__")
        (column,) = self.columns([key])
        model = self.field(key).related_model
        found, value = model._meta.get_field(name), f"{self.name}.{column}"
        for step in model._meta.get_path_to_parent(found.model):
            if not step.join_field.primary_key:  # else it has the same value
                value = self._looked_up(step.join_field, value)
        return self._looked_up(found, value)

    def _looked_up(self, field: Any, key: str) -> str:
        """The column of a field in the row with this key."""
        other, pk = Table(field.model, self.using), field.model._meta.pk.column
        (found,) = other.columns([field.name])
        return f"(SELECT {found} FROM {other.name} WHERE {self.quote(pk)} = {key})"  # noqa: S608

    def true_unless(self, path: str) -> str:
        return f"COALESCE({self.related(path)}, TRUE)"

    def agrees(self, counterpart: Counterpart) -> str:
        """Whether no row of the counterpart says otherwise."""
        name, (found, *same) = self._beside(counterpart)
        differs = f"NOT COALESCE({' AND '.join(same)}, FALSE)"
        return f"NOT EXISTS (SELECT 1 FROM {name} WHERE {found} AND {differs})"  # noqa: S608

    def exists(self, counterpart: Counterpart) -> str:
        """Whether there is such a row of the counterpart."""
        name, same = self._beside(counterpart)
        return f"EXISTS (SELECT 1 FROM {name} WHERE {' AND '.join(same)})"  # noqa: S608

    def _beside(self, counterpart: Counterpart) -> tuple[str, list[str]]:
        """The counterpart's table, and which of its columns equal which of ours: first the one by
        which its row is found."""
        model, by, equal = counterpart
        other = Table(model, self.using)
        theirs, ours = zip((by, by), *equal, strict=True)
        pairs = zip(other.columns(theirs), self.columns(ours), strict=True)
        return other.name, [f"{other.name}.{one} = {self.name}.{mine}" for one, mine in pairs]

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
        behind them, which are truth values."""
        attnames = {self.field(name).attname for name in names}
        found = []
        for row in rows:
            values = converted(self.model, self.connection, names, row)
            one = self.model.from_db(self.using, attnames, values[: len(names)])
            for attribute, value in zip(attributes, values[len(names) :], strict=True):
                setattr(one, attribute, bool(value))
            found.append(one)
        return found


def converted(
    model: type[models.Model], connection: Any, names: Sequence[str], row: Sequence[Any]
) -> list[Any]:
    """A row that begins with the columns of these fields, with their values."""
    values = [*row]
    for place, convert, column in _converters(model, connection, (*names,)):
        values[place] = convert(values[place], column, connection)
    return values


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
