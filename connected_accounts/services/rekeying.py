"""Sealing what is stored with the newest key, beside live refreshes.

A row is written only if nothing happened to it since it was read, and never while somebody holds
its lease. What is sealed with the newest key already is passed over, so that an interrupted run
goes on where it stopped.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import models

from connected_accounts.accounts import FREE
from connected_accounts.exceptions import Undecryptable
from connected_accounts.fields import encryption_keys, key_id, key_of, reseal
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    ProviderClient,
    Revocation,
)

BATCH: Final = 500
# Each sealed column, and what else must be as it was read for the row to be written.
SEALED: Final[tuple[tuple[type[models.Model], str, str], ...]] = (
    (ConnectedAccount, "token", "generation"),
    (Revocation, "token", "seal_id"),
    (AuthorizationRequest, "code_verifier", "nonce_digest"),
    (ProviderClient, "client_secret", "seal_id"),
)


@dataclass
class Rekeyed:
    """What a run found: values by the key that sealed them before it, and what became of them.

    ``busy`` are rows that a refresh had in its hands; the next run gets them. ``unreadable`` are
    those whose key is missing or that are damaged.
    """

    by_key: Counter[str] = field(default_factory=Counter)
    resealed: int = 0
    busy: int = 0
    unreadable: int = 0


def rekey(*, dry_run: bool = False) -> Iterator[Rekeyed]:
    """Seal everything with the first key; yields the figures so far after each batch."""
    figures = Rekeyed()
    newest = key_id(encryption_keys()[0])
    yield figures
    for model, column, version in SEALED:
        last = 0
        while rows := _batch(model, column, version, last):
            last = rows[-1][0]
            for row in rows:
                _rekey_row(model, column, version, row, newest, figures, dry_run)
            yield figures


def _batch(model: type[models.Model], column: str, version: str, after: int) -> list[Any]:
    free = FREE if model is ConnectedAccount else models.Q(pk__isnull=False)
    is_free = models.Case(models.When(free, then=models.Value(True)), default=models.Value(False))
    rows = model._default_manager.filter(pk__gt=after, **{f"{column}__isnull": False})
    found = rows.annotate(is_free=is_free).order_by("pk")
    return list(found.values_list("pk", column, version, "is_free")[:BATCH])


def _rekey_row(
    model: type[models.Model],
    column: str,
    version: str,
    row: Any,
    newest: str,
    figures: Rekeyed,
    dry_run: bool,
) -> None:
    pk, sealed, seen, is_free = row
    name = key_of(sealed)
    figures.by_key[name or "damaged"] += 1
    if name == newest:
        return
    try:
        fresh = reseal(sealed)
    except Undecryptable:
        figures.unreadable += 1
        return
    if dry_run:
        return
    same = model._default_manager.filter(pk=pk, **{version: seen, f"{column}__isnull": False})
    if model is ConnectedAccount:
        same = same.filter(FREE)
    if is_free and same.update(**{column: fresh}):
        figures.resealed += 1
    else:
        figures.busy += 1
