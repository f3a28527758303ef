"""Each provider's last days, counted from the events: connects, failures and disconnects, a figure
for each day."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.db.models import Count
from django.db.models.functions import TruncDate

from connected_accounts import conf
from connected_accounts.models import Event, Kind
from connected_accounts.operations.cached_figures import cached_if_slow

DAYS: Final = 14
CACHE_KEY: Final = "connected_accounts.activity"
CONNECTS: Final = (Kind.CONNECTED, Kind.RECONNECTED)
FAILURES: Final = (
    Kind.REFRESH_FAILED,
    Kind.RECONNECT_REQUIRED,
    Kind.REFUSED,
    Kind.CONNECT_FAILED,
    Kind.UNDECRYPTABLE,
    Kind.CLIENT_REJECTED,
    Kind.GIVEN_UP,
)
DISCONNECTS: Final = (Kind.DISCONNECTED,)


@dataclass(frozen=True)
class Activity:
    """One provider: how many of each on each of the last ``DAYS`` days, oldest first; the last is
    today, so far. Days are those of UTC, or of the site's own time with USE_TZ = False."""

    provider: str
    days: tuple[date, ...]
    connects: tuple[int, ...]
    failures: tuple[int, ...]
    disconnects: tuple[int, ...]


def recent_activity(now: datetime) -> list[Activity]:
    """``activity``, cached for a minute if it took a while."""
    return cached_if_slow(CACHE_KEY, lambda: activity(now))


def activity(now: datetime) -> list[Activity]:
    """Every alias that settings know or that had an event, in alphabetical order. One query, which
    reads the events of these days alone, by the index on their time."""
    today = _today(now)
    since = today - timedelta(days=DAYS - 1)
    days = tuple((since + timedelta(days=number)).date() for number in range(DAYS))
    counted = (*CONNECTS, *FAILURES, *DISCONNECTS)
    rows = (
        Event.objects.filter(at__gte=since, kind__in=counted)
        .order_by()
        .values_list("provider", "kind", TruncDate("at", tzinfo=UTC))
        .annotate(Count("pk"))
    )
    found: defaultdict[str, defaultdict[tuple[str, date], int]]
    found = defaultdict(lambda: defaultdict(int))
    for alias, kind, day, count in rows:
        found[alias][kind, day] = count

    def series(alias: str, kinds: tuple[Kind, ...]) -> tuple[int, ...]:
        return tuple(sum(found[alias][kind.value, day] for kind in kinds) for day in days)

    return [
        Activity(
            provider=alias,
            days=days,
            connects=series(alias, CONNECTS),
            failures=series(alias, FAILURES),
            disconnects=series(alias, DISCONNECTS),
        )
        for alias in sorted({*conf.provider_aliases(), *found} - {""})
    ]


def _today(now: datetime) -> datetime:
    begun = now if now.tzinfo is None else now.astimezone(UTC)
    return begun.replace(hour=0, minute=0, second=0, microsecond=0)
