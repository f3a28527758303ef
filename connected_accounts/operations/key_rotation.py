"""Sealing what is stored with the newest key, beside live refreshes.

A value is written only where the column still holds what was read (compare and swap on the
ciphertext), so that a refresh that was faster is never undone. Values that the newest key has
sealed already are not read again: an interrupted run goes on where it stopped.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, cast

from django.db import connections, models, router, transaction

from connected_accounts.database.batches import in_batches
from connected_accounts.database.locks import retried
from connected_accounts.exceptions import Undecryptable
from connected_accounts.operations.keys_in_use import SEALED, count_by_key, sealed_rows
from connected_accounts.sealing import column_bytes, encryption_keys, head_of, key_id, reseal

BATCH: Final = 500
_Swap = tuple[bytes, int, bytes]  # new, primary key, old


@dataclass
class Rekeyed:
    """The figures of a run: values by the key that sealed them before it, and how many were
    resealed.

    ``to_do`` were not sealed with the newest key, and ``seen`` of them have been looked at.
    ``busy`` are those that changed at the same moment; the next run gets them. ``unreadable`` are
    those whose key is missing or that are damaged.
    """

    by_key: Counter[str] = field(default_factory=Counter)
    to_do: int = 0
    seen: int = 0
    resealed: int = 0
    busy: int = 0
    unreadable: int = 0


def rekey(*, dry_run: bool = False) -> Iterator[Rekeyed]:
    """Seal everything with the first key; yields the figures so far after each batch."""
    newest = key_id(encryption_keys()[0])
    head = head_of(newest)
    figures = Rekeyed(by_key=count_by_key())
    figures.to_do = sum(figures.by_key.values()) - figures.by_key[newest]
    yield figures
    for model, column in SEALED:
        old = sealed_rows(model, column).exclude(sealed_by=head).values_list("pk", column)
        for rows in in_batches(old, BATCH, pk_of=itemgetter(0)):
            _rekey_batch(model, column, rows, figures, dry_run)
            yield figures


def _rekey_batch(
    model: type[models.Model], column: str, rows: list[Any], figures: Rekeyed, dry_run: bool
) -> None:
    fresh: list[_Swap] = []
    for pk, sealed in rows:
        try:
            new = reseal(sealed)
            fresh.append((column_bytes(new.reveal()), pk, column_bytes(sealed.reveal())))
        except Undecryptable:
            figures.unreadable += 1
    figures.seen += len(rows)
    if fresh and not dry_run:
        written = retried(lambda: _swap(model, column, fresh))
        figures.resealed += written
        figures.busy += len(fresh) - written


def _swap(model: type[models.Model], column: str, fresh: list[_Swap]) -> int:
    """Write (new, pk, old), each where the column still is the old; return how many were."""
    alias = router.db_for_write(model)
    connection, meta = connections[alias], cast(Any, model._meta)
    table, pk, name = map(
        connection.ops.quote_name, (meta.db_table, meta.pk.column, meta.get_field(column).column)
    )
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        if connection.features.has_select_for_update_skip_locked:
            # Never waits for a row that somebody holds, so that it is in nobody's deadlock.
            rows = model._base_manager.using(alias).filter(pk__in=[pk for _, pk, _ in fresh])
            rows = rows.order_by().select_for_update(skip_locked=True)
            free = set(rows.values_list("pk", flat=True))
            fresh = [row for row in fresh if row[1] in free]
        if not fresh:
            return 0
        if connection.vendor == "postgresql":
            cursor.execute(
                f"UPDATE {table} SET {name} = fresh.new "  # noqa: S608  # names of our own
                "FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[]) AS fresh (new, pk, old) "
                f"WHERE {table}.{pk} = fresh.pk AND {table}.{name} = fresh.old",
                list(map(list, zip(*fresh, strict=True))),
            )
        else:
            statement = f"UPDATE {table} SET {name} = %s WHERE {pk} = %s AND {name} = %s"  # noqa: S608
            cursor.executemany(statement, fresh)
        return int(cursor.rowcount)
