"""The figures of each provider: in the admin, for Prometheus, for django-health-check."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.dispatch import Signal
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from health_check.views import HealthCheckView
from prometheus_client import CollectorRegistry, generate_latest

from connected_accounts import signals
from connected_accounts.contrib import prometheus
from connected_accounts.exceptions import ProviderUnavailable, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.operations import cached_figures
from connected_accounts.operations import health as health_module
from connected_accounts.operations.health import health, troubles
from connected_accounts.provider_state import outages
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.services import disconnect, refresh
from connected_accounts.testing import ConnectionRefused, FakeProvider
from tests.journeys import connect, run, set_row

pytestmark = pytest.mark.django_db

CHECK = "connected_accounts.contrib.health_check.Connections"


@pytest.fixture
def accounts(make_account: Any, now: datetime) -> list[ConnectedAccount]:
    """Six at Badgr: two fresh, one due, one overdue and failing, one ended, one that is over."""
    made = [make_account() for _ in range(6)]
    set_row(made[2], refresh_at=now - timedelta(seconds=60))
    set_row(made[3], refresh_at=now - timedelta(hours=1), failure_count=4)
    set_row(made[4], refresh_at=None, status="reconnect_required", reason="revoked")
    disconnect(made[5])
    return made


def test_the_figures_of_a_provider(accounts: list[ConnectedAccount], now: datetime) -> None:
    badgr, bitbadges = (row.as_dict() for row in health(now))
    assert badgr == {
        "provider": "badgr",
        "active": 4,
        "due": 2,
        "overdue": 1,
        "overdue_seconds": 3600,
        "failing": 1,
        "reconnect_required": 1,
        "revocations_waiting": 1,
        "revocations_given_up": 0,
        "revocation_seconds": 0,
        "paused_until": None,
        "pause_reason": "",
        "other_site": False,
        "configured": True,
    }
    assert sum(value for value in bitbadges.values() if isinstance(value, int)) == 1  # configured


def test_an_outage_is_a_pause_with_its_reason(
    accounts: list[ConnectedAccount], now: datetime
) -> None:
    get_or_create_state("badgr")
    outages.suspend("badgr", now=now)
    row = health(now)[0]
    assert row.paused_until is not None
    assert row.pause_reason == "outage"
    assert any("outage" in trouble for trouble in troubles([row]))


@pytest.mark.parametrize(("due", "troubled"), [(-6 * 86400, True), (-60, False), (3600, False)])
def test_a_revocation_that_no_worker_tries_is_a_trouble(
    account: ConnectedAccount, now: datetime, due: int, troubled: bool
) -> None:
    """With tokens that do not expire nothing else tells that there is no worker."""
    ConnectedAccount.objects.transition(refresh_at=None)
    disconnect(account)
    Revocation.objects.update(next_attempt_at=now + timedelta(seconds=due))
    found = troubles(health(now))
    assert bool(found) == troubled
    assert not found or "Is a worker with beat running" in found[0]


def test_the_figures_take_the_same_few_queries_whatever_there_is(
    accounts: list[ConnectedAccount], now: datetime
) -> None:
    with CaptureQueriesContext(connection) as queries:
        health(now)
    assert len(queries) == 6
    assert not [q for q in queries if '"token"' in q["sql"] or '"subject"' in q["sql"]]


def test_staff_see_the_figures_above_the_list(
    accounts: list[ConnectedAccount], django_user_model: Any
) -> None:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root", "r@x.example", "root"))
    response = client.get("/admin/connected_accounts/connectedaccount/")
    page = response.content.decode()
    _, _, rest = page.partition('<table class="ca-health">')
    figures, _, after = rest.partition("</table>")
    assert 'id="result_list"' in after
    cells = [line.strip() for line in figures.splitlines()]
    start = next(n for n, line in enumerate(cells) if ">badgr</a>" in line)
    shown = [re.sub(r"<[^>]+>", " ", line).split() for line in cells[start + 1 : start + 6]]
    assert shown == [["4"], ["2"], ["1", "1", "hour"], ["1"], ["1"]]
    assert "?provider=badgr&amp;status__exact=reconnect_required" in cells[start + 5]


# --- Prometheus ---------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """A registry of the test's own, and no receivers of it left behind."""
    ours = [signal for signal in vars(signals).values() if isinstance(signal, Signal)]
    receivers = [list(signal.receivers) for signal in ours]
    made = CollectorRegistry(auto_describe=True)
    prometheus.register(made)
    yield made
    for signal, before in zip(ours, receivers, strict=True):
        signal.receivers = before
        signal.sender_receivers_cache.clear()


def test_registering_asks_no_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        CollectorRegistry(auto_describe=True).register(prometheus.HealthCollector())


def test_prometheus_gets_the_figures(
    accounts: list[ConnectedAccount], registry: CollectorRegistry
) -> None:
    text = generate_latest(registry).decode()
    for line in (
        'connected_accounts_active{provider="badgr"} 4.0',
        'connected_accounts_overdue{provider="badgr"} 1.0',
        'connected_accounts_revocations_waiting{provider="badgr"} 1.0',
        'connected_accounts_paused{provider="bitbadges"} 0.0',
    ):
        assert line in text


@pytest.mark.django_db(transaction=True)
def test_signals_are_counted(
    client_of_ada: Client, badgr: FakeProvider, registry: CollectorRegistry
) -> None:
    account = connect(client_of_ada, badgr)
    refresh(account)
    badgr.script("token", ConnectionRefused())
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    badgr.withdraw()
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    disconnect(account)

    def count(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(
            f"connected_accounts_{name}_total", {"provider": "badgr", **labels}
        )

    assert count("refreshes", outcome="refreshed") == 1
    assert count("refreshes", outcome="unreachable") == 1
    assert [count("changes", change=c) for c in ("connected", "reconnect_required")] == [1, 1]
    assert count("changes", change="disconnected") == 1


# --- django-health-check ------------------------------------------------------------------------


def checked(**options: Any) -> tuple[int, str]:
    view = HealthCheckView.as_view(checks=[(CHECK, options)])
    response = run(view(RequestFactory().get("/health/", {"format": "json"})))
    return response.status_code, response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_health_check_names_what_needs_an_operator(
    accounts: list[ConnectedAccount],
) -> None:
    assert checked(max_overdue=7200)[0] == 200
    code, text = checked()
    assert code == 500
    assert "badgr: a refresh has been due for" in text


@pytest.mark.parametrize(("slow", "queries"), [(-1.0, 0), (60.0, 6)])
def test_figures_are_kept_for_a_minute_only_where_they_take_long(
    accounts: list[ConnectedAccount], now: datetime, monkeypatch: Any, slow: float, queries: int
) -> None:
    monkeypatch.setattr(cached_figures, "SLOW", slow)
    first = health_module.recent_health(now)
    with CaptureQueriesContext(connection) as captured:
        assert health_module.recent_health(now) == first
    assert len(captured) == queries


def test_a_cache_that_is_broken_shows_fresh_figures(
    accounts: list[ConnectedAccount], now: datetime, settings: Any
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    assert health_module.recent_health(now) == health(now)
