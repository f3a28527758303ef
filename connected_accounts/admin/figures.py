"""The figures above the admin's list of accounts: each provider's health, and a small chart of the
last days for connects, failures and disconnects."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.utils.formats import date_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from connected_accounts.models import Outcome, Status
from connected_accounts.operations import activity
from connected_accounts.operations.activity import Activity, recent_activity
from connected_accounts.operations.health import Health, recent_health

HEIGHT = 24  # of a chart, in its own units
STEP = 6  # from one day to the next
# So that a single event is a small bar, and not as tall as the thousand of another day.
LOWEST_PEAK = 4


@dataclass(frozen=True)
class Bar:
    """One day of a chart, from the upper left corner, in whole units."""

    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Chart:
    """``kind``: ``connects``, ``failures`` or ``disconnects``. ``words`` say what the bars show;
    ``query`` lists the events that they count."""

    kind: str
    query: str
    total: int
    width: int
    bars: list[Bar]
    words: str


@dataclass(frozen=True)
class Figures:
    """One provider: its health, how long the oldest due refresh has waited, and three charts.
    ``links`` has, for a figure of its health, the query that lists what it counts."""

    health: Health
    oldest: str
    charts: list[Chart]
    links: dict[str, str]


def provider_figures(now: datetime) -> list[Figures]:
    """The figures of every alias that settings or the database know. A part that took long to count
    is kept for a minute."""
    charts = {row.provider: charts_of(row) for row in recent_activity(now)}
    return [
        Figures(
            health=row,
            oldest=_duration(row.overdue_seconds, now),
            charts=charts.get(row.provider, []),
            links=_links(row.provider),
        )
        for row in recent_health(now)
    ]


def _links(alias: str) -> dict[str, str]:
    narrowed = {
        "active": {"status__exact": Status.ACTIVE.value},
        "due": {"refresh": "due"},
        "overdue": {"refresh": "overdue"},
        "failing": {"refresh": "failing"},
        "reconnect_required": {"status__exact": Status.RECONNECT_REQUIRED.value},
        "revocations_waiting": {"outcome__exact": Outcome.PENDING.value},
        "revocations_given_up": {"outcome__exact": Outcome.GIVEN_UP.value},
    }
    return {name: f"?{urlencode({'provider': alias, **query})}" for name, query in narrowed.items()}


def charts_of(row: Activity) -> list[Chart]:
    """The three charts of one provider."""
    return [
        _chart("connects", row, row.connects, activity.CONNECTS),
        _chart("failures", row, row.failures, activity.FAILURES),
        _chart("disconnects", row, row.disconnects, activity.DISCONNECTS),
    ]


def _chart(kind: str, row: Activity, figures: Sequence[int], counted: Sequence[str]) -> Chart:
    counts = ",".join(str(one) for one in counted)
    query = {"provider": row.provider, "kind__in": counts, "at__gte": _begin(row.days[0])}
    peak = max(LOWEST_PEAK, *figures)
    bars = []
    for number, figure in enumerate(figures):
        # Whatever happened at all is seen.
        height = max(2, round(figure * HEIGHT / peak)) if figure else 0
        bars.append(Bar(x=number * STEP, y=HEIGHT - height, height=height))
    return Chart(
        kind=kind,
        query=f"?{urlencode(query)}",
        total=sum(figures),
        width=len(figures) * STEP,
        bars=[bar for bar in bars if bar.height],
        words=_words(figures, row.days),
    )


def _begin(day: date) -> str:
    """The first moment of a day, as the days of an Activity are."""
    return datetime.combine(day, time.min, UTC if settings.USE_TZ else None).isoformat()


def _words(figures: Sequence[int], days: Sequence[date]) -> str:
    parts = [
        f"{date_format(day, 'MONTH_DAY_FORMAT')}: {figure}"
        for day, figure in zip(days, figures, strict=True)
        if figure
    ]
    return "; ".join(parts) or _("none")


def _duration(seconds: int, now: datetime) -> str:
    """In two units at most; empty where nothing is due."""
    if not seconds:
        return ""
    if seconds < 60:
        return ngettext("%(number)d second", "%(number)d seconds", seconds) % {"number": seconds}
    return timesince(now - timedelta(seconds=seconds), now)
