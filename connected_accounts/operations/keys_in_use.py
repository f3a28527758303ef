"""Which keys the stored values need: counted by the ids that they carry, none of them opened."""

import re
from collections import Counter
from typing import Any, Final

from django.db import models, router
from django.db.models.functions import Substr

from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    ProviderClient,
    Revocation,
)
from connected_accounts.sealing import encryption_keys, key_id

SEALED: Final[tuple[tuple[type[models.Model], str], ...]] = (
    (ConnectedAccount, "token"),
    (Revocation, "token"),
    (AuthorizationRequest, "code_verifier"),
    (AuthorizationRequest, "dpop_key"),
    (ProviderClient, "client_secret"),
)
DAMAGED: Final = "damaged"
_KEY_ID: Final = re.compile("[0-9a-f]{8}")


def sealed_rows(model: type[models.Model], column: str, using: str | None = None) -> Any:
    """The rows with a sealed value; ``sealed_by`` is the id of its key, which stands behind v1."""
    rows = model._default_manager.using(using or router.db_for_write(model))
    return rows.filter(**{f"{column}__isnull": False}).annotate(sealed_by=Substr(column, 4, 8))


def count_by_key(using: str | None = None) -> Counter[str]:
    """The number of values that each key has sealed, by its id; ``damaged`` are those that carry
    none."""
    counts: Counter[str] = Counter()
    for model, column in SEALED:
        rows = sealed_rows(model, column, using)
        for name, count in rows.values_list("sealed_by").annotate(models.Count("pk")):
            counts[name if _KEY_ID.fullmatch(name) else DAMAGED] += count
    return counts


def missing_keys(counts: Counter[str]) -> Counter[str]:
    """The part of ``counts`` that no key of the setting opens."""
    known = set(map(key_id, encryption_keys()))
    return Counter({name: count for name, count in counts.items() if name not in known})
