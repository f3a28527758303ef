"""The figures that say whether connections are kept fresh, provider by provider."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Min, Q

from connected_accounts import conf
from connected_accounts.models import ConnectedAccount, Outcome, ProviderState, Revocation, Status
from connected_accounts.models.deployment import sites
from connected_accounts.operations.cached_figures import cached_if_slow
from connected_accounts.operations.keys_in_use import count_by_key, missing_keys
from connected_accounts.provider_state import pauses
from connected_accounts.sealing import encryption_keys, key_id

CACHE_KEY: Final = "connected_accounts.health"
MAX_OVERDUE: Final = 900  # seconds that a due refresh may wait before somebody should look

WORKER: Final = "Is a worker with beat running, or manage.py refresh_connections?"


@dataclass(frozen=True)
class KeyState:
    """The number of values that a key has sealed. ``state``: ``newest``, ``old``, or ``missing``
    from the setting."""

    values: int
    state: str


def key_states() -> dict[str, KeyState]:
    """The keys that stored values need, by id; ``damaged`` for those that no key will open."""
    counts = count_by_key()
    missing, newest = missing_keys(counts), key_id(encryption_keys()[0])
    return {
        name: KeyState(
            count, "missing" if name in missing else "newest" if name == newest else "old"
        )
        for name, count in sorted(counts.items())
    }


@dataclass(frozen=True)
class Health:
    """One provider. ``overdue`` are due for longer than ``MAX_OVERDUE``, and ``overdue_seconds`` is
    how long the oldest due refresh has been waiting; ``revocation_seconds`` the same of a
    revocation, which a worker tries within a minute."""

    provider: str
    active: int
    due: int
    overdue: int
    overdue_seconds: int
    failing: int
    reconnect_required: int
    revocations_waiting: int
    revocations_given_up: int
    revocation_seconds: int
    paused_until: datetime | None
    pause_reason: str
    other_site: bool
    configured: bool

    def as_dict(self) -> dict[str, Any]:
        ends = self.paused_until
        return asdict(self) | {"paused_until": ends.isoformat() if ends else None}


def recent_health(now: datetime) -> list[Health]:
    """``health``, cached for a minute if it took a while: counting a million rows must not be the
    price of looking at a list."""
    return cached_if_slow(CACHE_KEY, lambda: health(now))


def health(now: datetime, *, max_overdue: int = MAX_OVERDUE) -> list[Health]:
    """Every alias that settings or the database know, in alphabetical order.

    Six queries, each answered by an index alone.
    """
    known = conf.provider_aliases()
    statuses = _statuses()
    pending, given_up = _owed(Outcome.PENDING), _owed(Outcome.GIVEN_UP)
    waiting = {alias: count for alias, (count, _) in pending.items()}
    aliases = sorted({*known, *(alias for alias, _ in statuses), *waiting, *given_up})
    due = _due(aliases, now, max_overdue)
    elsewhere = sites().differ
    # Of an alias with many hosts, the one that is paused for the longest.
    paused = ProviderState.objects.filter(paused_until__gt=now).order_by("paused_until")
    states = {state.provider: state for state in paused}
    rows = []
    for alias in aliases:
        state, dues = states.get(alias), due.get(alias, {})
        active, failing = statuses.get((alias, Status.ACTIVE.value), (0, 0))
        ended, _ = statuses.get((alias, Status.RECONNECT_REQUIRED.value), (0, 0))
        oldest = dues.get("oldest")
        rows.append(
            Health(
                provider=alias,
                active=active,
                due=dues.get("due", 0),
                overdue=dues.get("overdue", 0),
                overdue_seconds=_waited(oldest, now),
                failing=failing,
                reconnect_required=ended,
                revocations_waiting=waiting.get(alias, 0),
                revocations_given_up=given_up.get(alias, (0, None))[0],
                revocation_seconds=_waited(pending.get(alias, (0, None))[1], now),
                paused_until=state.paused_until if state is not None else None,
                pause_reason=_reason(state) if state is not None else "",
                other_site=elsewhere,
                configured=alias in known,
            )
        )
    return rows


def _reason(state: ProviderState) -> str:
    return f"{state.pause_reason} at {state.host}" if state.host else state.pause_reason


def _owed(outcome: Outcome) -> dict[str, tuple[int, datetime | None]]:
    """For each alias: how many there are, and when the first is to be tried."""
    rows = Revocation.objects.filter(outcome=outcome).order_by().values_list("provider")
    counted = rows.annotate(Count("pk"), Min("next_attempt_at"))
    return {alias: (count, first) for alias, count, first in counted}


def _waited(due_at: datetime | None, now: datetime) -> int:
    return max(0, int((now - due_at).total_seconds())) if due_at is not None else 0


def _statuses() -> dict[tuple[str, str], tuple[int, int]]:
    """For each alias and status: how many accounts, and how many of them failed last time."""
    rows = ConnectedAccount.objects.order_by().values_list("provider", "status")
    counted = rows.annotate(
        count=Count("provider"), failing=Count("provider", filter=Q(failure_count__gt=0))
    )
    return {(alias, status): (count, failing) for alias, status, count, failing in counted}


def _due(aliases: Collection[str], now: datetime, max_overdue: int) -> dict[str, dict[str, Any]]:
    # An ended account has no refresh_at, so its status need not be looked at.
    rows = ConnectedAccount.objects.filter(provider__in=aliases, refresh_at__lte=now).order_by()
    late = datetime.fromtimestamp(now.timestamp() - max_overdue, tz=now.tzinfo)
    counted = rows.values("provider").annotate(
        due=Count("provider"),
        overdue=Count("provider", filter=Q(refresh_at__lt=late)),
        oldest=Min("refresh_at"),
    )
    return {row["provider"]: row for row in counted}


def troubles(rows: Collection[Health], *, max_overdue: int = MAX_OVERDUE) -> list[str]:
    """The troubles that an operator should look at, in words."""
    names = sites()
    found = [f"Nothing is refreshed: {names}; see manage.py confirm_site."] if names.differ else []
    for row in rows:
        if row.overdue_seconds > max_overdue:
            found.append(
                f"{row.provider}: a refresh has been due for {row.overdue_seconds} seconds. "
                f"{WORKER}"
            )
        if row.revocation_seconds > max_overdue:
            found.append(
                f"{row.provider}: a revocation has been due for {row.revocation_seconds} seconds. "
                f"{WORKER}"
            )
        if row.pause_reason == pauses.BY_HAND:
            found.append(f"{row.provider}: paused by hand; resume it in the admin.")
        elif row.paused_until is not None:
            found.append(f"{row.provider}: paused until {row.paused_until}: {row.pause_reason}.")
        if not row.configured and (row.active or row.revocations_waiting):
            found.append(f"{row.provider}: has connections, but is not in settings.")
    return found
