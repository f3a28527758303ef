"""Whether anything is due, and from which due date on to look.

What was due before it was taken lies dead at the beginning of the index until the next VACUUM, and
none takes it away while a transaction stays open for hours. So a drain notes at its end before what
date no row is left, held ones included, and looks begin there for a while. What is put before that
all the same, by SQL or from a dump, is found by the next look that has nothing else to find.
"""

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from connected_accounts.models import ConnectedAccount, ProviderState
from connected_accounts.models.deployment import adopt_database
from connected_accounts.provider_state import outages, pauses

logger = logging.getLogger("connected_accounts")

BEGINNING_HOLDS: Final = timedelta(minutes=10)  # then a look begins at the first row again


def is_due(alias: str, now: datetime) -> bool:
    """Whether a drain of this provider would find work."""
    due = ConnectedAccount.objects.at(alias).due_for_refresh(now)
    beginning = beginning_of(pauses.state_of(alias), now)
    if not ((beginning and _has_any(due.filter(refresh_at__gte=beginning))) or _has_any(due)):
        return False
    names = adopt_database()
    if names.differ:
        logger.error("not refreshed: provider=%s: %s; see manage.py confirm_site", alias, names)
        return False
    closed = outages.closed_hosts(alias, now)
    if not closed or "" in closed:  # the latter is an alias with one host
        return not closed
    return _has_any(due.exclude(host__in=closed))


def _has_any(due: Any) -> bool:
    # In order, for an EXISTS has none: where much is due, PostgreSQL then reads the table from its
    # beginning and not the index, however far away the first row that is due may be.
    return bool(due.values_list("pk", flat=True)[:1])


def beginning_of(state: ProviderState | None, now: datetime) -> datetime | None:
    """The due date before which no row was left lately; None where that is not known."""
    if state is None or state.due_from_at is None:
        return None
    holds = state.due_from_at <= now < state.due_from_at + BEGINNING_HOLDS
    return state.due_from if holds else None


def note_beginning(state: ProviderState, now: datetime) -> None:
    """Note for the next looks before what no row is left. ``now``: when the drain began, so that
    nothing which is stored meanwhile is due before it."""
    known = beginning_of(state, now)
    rows = ConnectedAccount.objects.at(state.provider).filter(refresh_at__isnull=False)
    rows = rows if known is None else rows.filter(refresh_at__gte=known)
    first = list(rows.order_by("refresh_at").values_list("refresh_at", flat=True)[:1])
    values = {"due_from": min([now, *first])}
    values |= {} if known else {"due_from_at": now}
    ProviderState.objects.filter(pk=state.pk).update(**values)
