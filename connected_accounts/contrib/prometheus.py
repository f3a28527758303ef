"""Figures for Prometheus, through prometheus_client.

``register()`` once in each process, in an ``AppConfig.ready()``. The gauges are read from the
database when they are scraped, so one process is enough for them; the counters count what happens
in their own process.
"""

from collections.abc import Iterable
from typing import Any, Final

from django.utils import timezone
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from connected_accounts import signals
from connected_accounts.operations.health import health

__all__ = ["register"]

GAUGES: Final = {
    "active": "Accounts that are connected",
    "due": "Accounts whose refresh is due",
    "overdue": "Accounts whose refresh has been due for longer than 15 minutes",
    "overdue_seconds": "How long the oldest due refresh has been waiting",
    "failing": "Connected accounts whose last refresh failed",
    "reconnect_required": "Accounts that must be connected again",
    "revocations_waiting": "Grants that are to be withdrawn",
    "paused": "1 while the provider is left alone, else 0",
}


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Count the app's signals, and give each provider's figures when scraped."""
    registry.register(HealthCollector())
    refreshes = Counter(
        "connected_accounts_refreshes",
        "Refreshes by outcome",
        ["provider", "outcome"],
        registry=registry,
    )
    changes = Counter(
        "connected_accounts_changes",
        "Accounts connected, disconnected or ended",
        ["provider", "change"],
        registry=registry,
    )

    def refreshed(account: Any, **kwargs: Any) -> None:
        refreshes.labels(account.provider, "refreshed").inc()

    def failed(account: Any, error: Any, **kwargs: Any) -> None:
        refreshes.labels(account.provider, error.code or type(error).__name__).inc()

    def connected(account: Any, **kwargs: Any) -> None:
        changes.labels(account.provider, "connected").inc()

    def ended(account: Any, **kwargs: Any) -> None:
        changes.labels(account.provider, "reconnect_required").inc()

    def disconnected(provider: str, **kwargs: Any) -> None:
        changes.labels(provider, "disconnected").inc()

    for signal, receiver in (
        (signals.account_refreshed, refreshed),
        (signals.refresh_failed, failed),
        (signals.account_connected, connected),
        (signals.reconnect_required, ended),
        (signals.account_disconnected, disconnected),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=("prometheus", id(registry)))


class HealthCollector(Collector):
    """The figures of ``connections_status``, as gauges with the label ``provider``."""

    def describe(self) -> Iterable[Any]:
        return []  # else registering would ask the database

    def collect(self) -> Iterable[Any]:
        rows = [
            (row.provider, {**row.as_dict(), "paused": row.paused_until is not None})
            for row in health(timezone.now())
        ]
        for name, words in GAUGES.items():
            gauge = GaugeMetricFamily(f"connected_accounts_{name}", words, labels=["provider"])
            for provider, figures in rows:
                gauge.add_metric([provider], float(figures[name]))
            yield gauge
