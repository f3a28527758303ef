"""A stored token stays open to its row when a fact changes that its seal is bound to."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import models, router, transaction

from connected_accounts.sealing import rebind

BOUND_TO_ACCOUNT: Final = ("owner_key", "provider", "subject_digest")
BOUND: Final = (*BOUND_TO_ACCOUNT, "client_id", "endpoint_fingerprint")


def bound_facts(row: Any) -> dict[str, Any]:
    """The facts of a row that its token's seal is bound to, besides its ``seal_id``."""
    return {name: getattr(row, name) for name in BOUND}


def change_facts(before: Sequence[Any], change: Callable[[], int], changed: set[str]) -> int:
    """Do ``change``, one UPDATE of rows that were read ``before`` it and of the columns named by
    ``changed``, and seal their tokens for what the rows are by then. Return what it returns.

    Raises Undecryptable where a token cannot be opened; nothing is changed then.
    """
    if not before:
        return change()
    model, using = type(before[0]), router.db_for_write(type(before[0]))
    was = {row.pk: row for row in before}
    with transaction.atomic(using=using):
        count = change()
        if not count:
            return 0
        stored = model._base_manager.using(using).filter(pk__in=was, token__isnull=False)
        for row in stored.defer(None):
            _seal_anew(row, was[row.pk], changed, using)
    return count


def _seal_anew(row: Any, before: Any, changed: set[str], using: str) -> None:
    old = copy.copy(row)  # what was not changed may have been by a reconnect since
    for name in changed.intersection(BOUND):
        setattr(old, name, getattr(before, name))
    if bound_facts(old) != bound_facts(row):
        same: models.QuerySet[Any] = type(row)._base_manager.using(using).filter(pk=row.pk)
        models.QuerySet.update(same, token=rebind(row.token, old, row))
