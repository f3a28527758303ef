"""The lease of an account: when it is free, and the columns that giving it back resets."""

from typing import Any, Final

from django.db.models import Q

from connected_accounts.database.functions import DatabaseNow

LEASE_IS_FREE: Final = Q(lease_until__isnull=True) | Q(lease_until__lt=DatabaseNow())
LEASE_RELEASED: Final[dict[str, Any]] = {"lease_holder": None, "lease_until": None}
# Columns that a success resets, besides the status.
AFTER_SUCCESS: Final[dict[str, Any]] = {
    **LEASE_RELEASED,
    "reason": "",
    "failure_count": 0,
    "last_error": "",
    "attempt_started_at": None,
    "refused_since": None,
}
