"""The figures above the admin's list of accounts: each provider's health, and a small chart of the
last days for connects, failures and disconnects."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils.formats import date_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

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
    """``kind``: ``connects``, ``failures`` or ``disconnects``. ``words`` say what the bars show."""

    kind: str
    total: int
    width: int
    bars: list[Bar]
    words: str


@dataclass(frozen=True)
class Figures:
    """One provider: its health, how long the oldest due refresh has waited, and three charts."""

    health: Health
    oldest: str
    charts: list[Chart]


def provider_figures(now: datetime) -> list[Figures]:
    """The figures of every alias that settings or the database know. A part that took long to count
    is kept for a minute."""
    charts = {row.provider: charts_of(row) for row in recent_activity(now)}
    return [
        Figures(
            health=row,
            oldest=_duration(row.overdue_seconds, now),
            charts=charts.get(row.provider, []),
        )
        for row in recent_health(now)
    ]


def charts_of(row: Activity) -> list[Chart]:
    """The three charts of one provider."""
    return [
        _chart("connects", row.connects, row.days),
        _chart("failures", row.failures, row.days),
        _chart("disconnects", row.disconnects, row.days),
    ]


def _chart(kind: str, figures: Sequence[int], days: Sequence[date]) -> Chart:
    peak = max(LOWEST_PEAK, *figures)
    bars = []
    for number, figure in enumerate(figures):
        # Whatever happened at all is seen.
        height = max(2, round(figure * HEIGHT / peak)) if figure else 0
        bars.append(Bar(x=number * STEP, y=HEIGHT - height, height=height))
    return Chart(
        kind=kind,
        total=sum(figures),
        width=len(figures) * STEP,
        bars=[bar for bar in bars if bar.height],
        words=_words(figures, days),
    )


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
