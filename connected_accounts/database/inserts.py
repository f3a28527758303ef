"""Rows that are stored beside something greater: each stands or falls by itself.

Also what a new row meets behind a promoted logical replica, which was sent rows and no sequences:
there the sequence gives out primary keys that are taken.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from django.db import Error, IntegrityError, connections, models, router, transaction

from connected_accounts.database.locks import codes_of, is_out_of_line

logger = logging.getLogger("connected_accounts")

UNIQUE_VIOLATION: Final = "23505"
T = TypeVar("T")
M = TypeVar("M", bound=models.Model)


def insert_in_step(
    model: type[models.Model], insert: Callable[[], T], *, using: str | None = None
) -> T:
    """Run ``insert``, which stores rows of ``model``; where the table's sequence is behind its
    rows, set it forward and run it once more. Any other IntegrityError is raised, and leaves a
    transaction that is open here as it was."""
    alias = using or router.db_for_write(model)
    try:
        return _run(insert, alias)
    except IntegrityError as error:
        if UNIQUE_VIOLATION not in codes_of(error):
            raise
        if not _set_forward(model, alias):
            raise
    return _run(insert, alias)


def insert_apart(
    model: type[models.Model], insert: Callable[[], Any], lost: str, *, using: str | None = None
) -> bool:
    """Run ``insert`` so that its failure is nobody else's; return whether it went well. Else a
    critical line says what is ``lost``; whatever the transaction around it stored is kept.

    Raises the database's error only where that transaction is over anyhow.
    """
    alias = using or router.db_for_write(model)
    try:
        insert_in_step(model, insert, using=alias)
    except Error as error:
        if _is_over(error, alias):
            raise
        logger.critical("not stored: %s: %s", lost, type(error).__name__)
        return False
    return True


def insert_all_apart(rows: Sequence[M], lost: str, *, using: str | None = None) -> list[M]:
    """The same for rows of one model; return those that could not be stored. Each row that cannot
    be is ``lost`` alone."""
    if not rows:
        return []
    model = type(rows[0])
    alias = using or router.db_for_write(model)
    manager = model._default_manager.using(alias)
    try:
        insert_in_step(model, lambda: manager.bulk_create(rows), using=alias)
    except Error as error:
        if _is_over(error, alias):
            raise
    else:
        return []
    left = []
    for row in rows:
        row.pk, row._state.adding = None, True
        save = partial(row.save, force_insert=True, using=alias)
        if not insert_apart(model, save, lost, using=alias):
            row.pk = None
            left.append(row)
    return left


def _is_over(error: Error, alias: str) -> bool:
    """Whether the transaction that is open here cannot be committed any more."""
    outer = connections[alias]
    over = outer.needs_rollback or outer.closed_in_transaction or is_out_of_line(error)
    return bool(outer.in_atomic_block and over)


def _run(insert: Callable[[], T], alias: str) -> T:
    if not connections[alias].in_atomic_block:
        return insert()
    with transaction.atomic(using=alias):  # a savepoint
        return insert()


def _set_forward(model: type[models.Model], alias: str) -> bool:
    """Let the sequence go on behind the newest row; False where it is there already."""
    connection, meta = connections[alias], model._meta
    table, key = connection.ops.quote_name(meta.db_table), str(getattr(meta.pk, "column", "id"))
    newest = f"SELECT max({connection.ops.quote_name(key)}) AS pk FROM {table}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(own.name, newest.pk) "  # noqa: S608  # names of our own
            f"FROM ({newest}) AS newest, (SELECT pg_get_serial_sequence(%s, %s) AS name) AS own "
            "WHERE newest.pk > COALESCE(pg_sequence_last_value(own.name::regclass), 0)",
            [table, key],
        )
        moved = cursor.fetchone() is not None
    if moved:
        logger.error("the sequence of %s was behind its rows and was set forward", meta.db_table)
    return moved
