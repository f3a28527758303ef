"""Settings with which PostgreSQL keeps the tables that every refresh writes.

With room in a page for the next version of a row, a claim writes no index; and what is dead is
taken away long before it is a fifth of the table, PostgreSQL's own measure.
"""

from collections.abc import Sequence
from typing import Any, Final

from django.core import checks
from django.db import connections

_VACUUM: Final = {"autovacuum_vacuum_scale_factor": "0.02"}
PARAMETERS: Final = {
    "connected_accounts_connectedaccount": {"fillfactor": "85", **_VACUUM},
    # Of its short rows a full page soon has room: with a fillfactor PostgreSQL would tidy the page
    # up, and log that, at nearly each look.
    "connected_accounts_ledgerentry": _VACUUM,
}


def set_parameters(apps: Any, schema_editor: Any) -> None:
    """For a migration; elsewhere than on PostgreSQL nothing."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table in PARAMETERS:
        name = schema_editor.quote_name(table)
        schema_editor.execute(f"ALTER TABLE {name} SET ({_values(table)})")


def _values(table: str) -> str:
    return ", ".join(f"{name} = {value}" for name, value in PARAMETERS[table].items())


def check_storage(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """W032 (``--database``): a table has lost what the migration set, whatever the values: those
    are the site's."""
    return [
        checks.Warning(
            f"The table {table} in the database {alias!r} is kept with PostgreSQL's defaults, "
            "under which it and its indexes grow with each refresh.",
            hint=f"ALTER TABLE {table} SET ({_values(table)});",
            id="connected_accounts.W032",
        )
        for alias in databases or ()
        if connections[alias].vendor == "postgresql"
        for table in PARAMETERS
        if _lacks_parameters(connections[alias], table)
    ]


def _lacks_parameters(connection: Any, table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reloptions FROM pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        found = cursor.fetchone()
    if found is None:
        return False
    return not {option.partition("=")[0] for option in found[0] or ()}.issuperset(PARAMETERS[table])
