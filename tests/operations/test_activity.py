"""The last days of each provider: counted from the events, and drawn above the admin's list."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts.admin.figures import HEIGHT, charts_of, provider_figures
from connected_accounts.models import ConnectedAccount, Event, Kind
from connected_accounts.operations import activity as activity_module
from connected_accounts.operations import cached_figures
from connected_accounts.operations.activity import (
    CONNECTS,
    DAYS,
    DISCONNECTS,
    FAILURES,
    Activity,
    activity,
    recent_activity,
)
from connected_accounts.provider_state import outages
from connected_accounts.provider_state.pauses import get_or_create_state

pytestmark = pytest.mark.django_db

ACCOUNTS = "/admin/connected_accounts/connectedaccount/"
NOT_COUNTED = {Kind.SCOPES_CHANGED, Kind.CLIENT_REGISTERED, Kind.REVOKED, Kind.MOVED}


@pytest.fixture
def noon(now: datetime) -> datetime:
    return now.replace(hour=12)


def happen(kind: Kind, at: datetime, *, provider: str = "badgr", times: int = 1) -> None:
    for _ in range(times):
        Event.record(kind, at=at, provider=provider)


def at_badgr(now: datetime) -> Activity:
    (row,) = [row for row in activity(now) if row.provider == "badgr"]
    return row


def test_every_kind_of_event_is_counted_once_or_is_no_figure() -> None:
    counted = [*CONNECTS, *FAILURES, *DISCONNECTS]
    assert sorted([*counted, *NOT_COUNTED]) == sorted(Kind)


def test_each_event_counts_on_its_day_and_at_its_provider(noon: datetime) -> None:
    happen(Kind.CONNECTED, noon, times=2)
    happen(Kind.RECONNECTED, noon - timedelta(days=1))
    happen(Kind.REFRESH_FAILED, noon - timedelta(days=DAYS - 1), times=3)
    happen(Kind.RECONNECT_REQUIRED, noon)
    happen(Kind.DISCONNECTED, noon - timedelta(days=2))
    happen(Kind.SCOPES_CHANGED, noon)
    happen(Kind.CONNECTED, noon, provider="bitbadges")
    row = at_badgr(noon)
    assert row.connects == (*[0] * (DAYS - 2), 1, 2)
    assert row.failures == (3, *[0] * (DAYS - 2), 1)
    assert row.disconnects == (*[0] * (DAYS - 3), 1, 0, 0)
    assert (row.days[-1], len(row.days)) == (noon.date(), DAYS)


def test_a_day_begins_at_midnight_and_older_ones_are_left_out(noon: datetime) -> None:
    midnight = noon.replace(hour=0, minute=0, second=0, microsecond=0)
    happen(Kind.CONNECTED, midnight)
    happen(Kind.CONNECTED, midnight - timedelta(microseconds=1))
    first = midnight - timedelta(days=DAYS - 1)
    happen(Kind.CONNECTED, first)
    happen(Kind.CONNECTED, first - timedelta(microseconds=1), times=5)
    assert at_badgr(noon).connects == (1, *[0] * (DAYS - 3), 1, 1)


def test_a_provider_that_is_no_longer_in_settings_is_still_counted(noon: datetime) -> None:
    happen(Kind.CONNECTED, noon, provider="gone")
    assert [row.provider for row in activity(noon)] == ["badgr", "bitbadges", "gone"]


def test_the_events_are_found_by_the_index_on_their_time(noon: datetime) -> None:
    """So that a million of older ones are not read."""
    happen(Kind.CONNECTED, noon)
    old = {"kind": Kind.CONNECTED, "provider": "badgr", "at": noon - timedelta(days=60)}
    Event.objects.bulk_create(Event(**old) for _ in range(2000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as captured:
        activity(noon)
    (query,) = [q["sql"] for q in captured]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' * (connection.vendor == 'sqlite')}{query}")
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert "connected_accounts_event_at" in plan
    assert not re.search(r"SCAN connected_accounts_event|Seq Scan", plan)


@pytest.mark.parametrize(("slow", "queries"), [(-1.0, 0), (60.0, 1)])
def test_they_are_kept_for_a_minute_only_where_they_take_long(
    noon: datetime, monkeypatch: Any, slow: float, queries: int
) -> None:
    monkeypatch.setattr(cached_figures, "SLOW", slow)
    first = recent_activity(noon)
    with CaptureQueriesContext(connection) as captured:
        assert recent_activity(noon) == first
    assert len(captured) == queries


# --- Drawn ----------------------------------------------------------------------------------------


def test_a_chart_says_in_words_what_its_bars_show(noon: datetime) -> None:
    happen(Kind.REFRESH_FAILED, noon, times=8)
    happen(Kind.REFRESH_FAILED, noon - timedelta(days=1), times=2)
    connects, failures, disconnects = charts_of(at_badgr(noon))
    assert (failures.kind, failures.total) == ("failures", 10)
    assert [(bar.y, bar.height) for bar in failures.bars] == [(18, 6), (0, HEIGHT)]
    assert re.fullmatch(r"\w+ \d+: 2; \w+ \d+: 8", failures.words)
    assert (connects.bars, connects.total, connects.words) == ([], 0, "none")
    assert disconnects.bars == []


def test_one_event_is_a_small_bar_and_a_rare_one_is_still_seen(noon: datetime) -> None:
    happen(Kind.CONNECTED, noon)
    (bar,) = charts_of(at_badgr(noon))[0].bars
    assert bar.height == HEIGHT / 4
    days = at_badgr(noon).days
    rare = Activity("badgr", days, (1, *[0] * (DAYS - 2), 100_000), (0,) * DAYS, (0,) * DAYS)
    assert charts_of(rare)[0].bars[0].height == 2


def test_how_long_a_refresh_is_overdue_is_said_in_units_of_people(
    make_account: Any, noon: datetime
) -> None:
    account = make_account()
    for seconds, words in ((7500, "2\xa0hours, 5\xa0minutes"), (30, "30 seconds"), (-60, "")):
        due = noon - timedelta(seconds=seconds)
        ConnectedAccount.objects.filter(pk=account.pk).update(refresh_at=due)
        (row,) = [row for row in provider_figures(noon) if row.health.provider == "badgr"]
        assert row.oldest == words


@pytest.fixture
def viewer(django_user_model: Any) -> Client:
    user = django_user_model.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_connectedaccount"))
    client = Client()
    client.force_login(user)
    return client


def test_a_provider_that_is_paused_says_until_when_and_why(viewer: Client) -> None:
    get_or_create_state("badgr")
    outages.suspend("badgr", now=timezone.now())
    assert re.search(r"badgr</a><br><strong>Paused until .+: outage<", content(viewer))


def content(client: Client) -> str:
    return client.get(ACCOUNTS).content.decode()


def test_the_list_shows_the_charts_to_all_who_may_see_it(viewer: Client, now: datetime) -> None:
    happen(Kind.DISCONNECTED, now, times=3)
    text = content(viewer)
    assert f"The last {activity_module.DAYS} days" in text
    cells = re.findall(r'<td class="ca-chart ca-disconnects">(<svg.*?</svg>).*?</td>', text)
    chart = cells[0]  # badgr's
    assert re.search(r'ca-disconnects"><svg.*?</svg><br>3</td>', text)  # may not see the events
    assert re.search(r"<title>\w+ \d+: 3</title>", chart)
    assert "style=" not in chart
