"""Which keys the stored values need: counted by the ids that they carry, none of them opened."""

from collections import Counter
from typing import Any, Final

from django.db import connections, models, router
from django.db.models.functions import Substr

from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    ProviderClient,
    Revocation,
)
from connected_accounts.sealing import HEAD, encryption_keys, key_id, key_id_of

SEALED: Final[tuple[tuple[type[models.Model], str], ...]] = (
    (ConnectedAccount, "token"),
    (Revocation, "token"),
    (AuthorizationRequest, "code_verifier"),
    (AuthorizationRequest, "dpop_key"),
    (ProviderClient, "client_secret"),
)
DAMAGED: Final = "damaged"


def outdated_columns(using: str) -> list[str]:
    """The sealed columns that a database lacks, or has as text: the first migration was another
    then."""
    connection, found = connections[using], []
    for model, column in SEALED:
        table = model._meta.db_table
        with connection.cursor() as cursor:
            described = connection.introspection.get_table_description(cursor, table)
        types = {
            one.name: connection.introspection.get_field_type(one.type_code, one)
            for one in described
            if one.name == column
        }
        # MariaDB's driver has one type for both.
        if (connection.vendor == "mysql" and types) or types == {column: "BinaryField"}:
            continue
        found.append(f"{table}.{column}")
    return found


def sealed_rows(model: type[models.Model], column: str, using: str | None = None) -> Any:
    """The rows with a sealed value; ``sealed_by`` are the bytes that tell its key."""
    rows = model._default_manager.using(using or router.db_for_write(model))
    head = Substr(column, 1, HEAD, output_field=models.BinaryField())
    return rows.filter(**{f"{column}__isnull": False}).annotate(sealed_by=head)


def count_by_key(using: str | None = None) -> Counter[str]:
    """The number of values that each key has sealed, by its id; ``damaged`` are those that carry
    none."""
    counts: Counter[str] = Counter()
    for model, column in SEALED:
        rows = sealed_rows(model, column, using)
        for head, count in rows.values_list("sealed_by").annotate(models.Count("pk")):
            counts[key_id_of(head) or DAMAGED] += count
    return counts


def missing_keys(counts: Counter[str]) -> Counter[str]:
    """The part of ``counts`` that no key of the setting opens."""
    known = set(map(key_id, encryption_keys()))
    return Counter({name: count for name, count in counts.items() if name not in known})
