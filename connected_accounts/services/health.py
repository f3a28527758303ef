"""The figures that say whether connections are kept fresh, provider by provider."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q

from connected_accounts import conf
from connected_accounts.fields import encryption_keys, key_id
from connected_accounts.keys import count_by_key, missing_keys
from connected_accounts.models import ConnectedAccount, Outcome, ProviderState, Revocation, Status
from connected_accounts.services import pauses


@dataclass(frozen=True)
class KeyState:
    """How many values a key has sealed. ``state``: ``newest``, ``old``, or ``missing`` from the
    setting."""

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
    """One provider. ``overdue_seconds`` is how long the oldest due refresh has been waiting."""

    provider: str
    active: int
    due: int
    overdue_seconds: int
    failing: int
    reconnect_required: int
    revocations_waiting: int
    revocations_given_up: int
    paused_until: datetime | None
    pause_reason: str
    other_site: bool
    configured: bool

    def as_dict(self) -> dict[str, Any]:
        ends = self.paused_until
        return asdict(self) | {"paused_until": ends.isoformat() if ends else None}


def health(now: datetime) -> list[Health]:
    """Every alias that settings or the database know, in alphabetical order. Three queries."""
    active, due = Q(status=Status.ACTIVE), Q(status=Status.ACTIVE, refresh_at__lte=now)
    accounts = {
        row["provider"]: row
        for row in ConnectedAccount.objects.values("provider").annotate(
            active=Count("pk", filter=active),
            due=Count("pk", filter=due),
            oldest=Min("refresh_at", filter=due),
            failing=Count("pk", filter=active & Q(failure_count__gt=0)),
            ended=Count("pk", filter=Q(status=Status.RECONNECT_REQUIRED)),
        )
    }
    owed = {
        row["provider"]: row
        for row in Revocation.objects.values("provider").annotate(
            waiting=Count("pk", filter=Q(outcome=Outcome.PENDING)),
            given_up=Count("pk", filter=Q(outcome=Outcome.GIVEN_UP)),
        )
    }
    states = {state.provider: state for state in ProviderState.objects.all()}
    known = conf.provider_aliases()
    return [
        _health(
            alias,
            accounts.get(alias, {}) | owed.get(alias, {}),
            states.get(alias),
            now,
            alias in known,
        )
        for alias in sorted({*known, *accounts, *owed})
    ]


def _health(
    alias: str,
    row: dict[str, Any],
    state: ProviderState | None,
    now: datetime,
    configured: bool,
) -> Health:
    oldest = row.get("oldest")
    paused = state is not None and pauses.is_paused(state, now)
    return Health(
        provider=alias,
        active=row.get("active", 0),
        due=row.get("due", 0),
        overdue_seconds=int((now - oldest).total_seconds()) if oldest else 0,
        failing=row.get("failing", 0),
        reconnect_required=row.get("ended", 0),
        revocations_waiting=row.get("waiting", 0),
        revocations_given_up=row.get("given_up", 0),
        paused_until=state.paused_until if state is not None and paused else None,
        pause_reason=state.pause_reason if state is not None and paused else "",
        other_site=state is not None and not pauses.belongs_here(state),
        configured=configured,
    )
