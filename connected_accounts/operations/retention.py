"""Retention: deleting rows that have served."""

from datetime import datetime, timedelta
from typing import Any, Final

from connected_accounts.clients.credentials import orphaned_clients
from connected_accounts.database.locks import retried, statements_retried
from connected_accounts.models import AuthorizationRequest, Event, Outcome, Revocation

BATCH: Final = 1000
REQUESTS_KEPT: Final = timedelta(days=1)  # so that a late callback is told why, not "unknown"


@statements_retried()
def purge_old(now: datetime, keep: timedelta) -> int:
    """Delete expired authorization requests, events and finished revocations older than ``keep``,
    and people's own credentials that nothing needs any more, in small batches. Returns how many
    rows went."""
    finished = Revocation.objects.exclude(outcome__in=(Outcome.PENDING, Outcome.HELD))
    return (
        _delete(AuthorizationRequest.objects.filter(expires_at__lt=now - REQUESTS_KEPT))
        + _delete(Event.objects.filter(at__lt=now - keep))
        + _delete(finished.filter(finished_at__lt=now - keep))
        + _delete(orphaned_clients())
    )


def _delete(rows: Any) -> int:
    gone = 0
    while pks := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        gone += retried(rows.model.objects.filter(pk__in=pks).delete)[0]
    return gone
