"""System checks. Ids are stable: a retired one is never used again.

Touches no network and no database.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks

from connected_accounts import conf
from connected_accounts.conf import is_loopback_literal
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers import registry


def register() -> None:
    """Called when the app is ready."""
    checks.register(check_settings, "connected_accounts")
    checks.register(check_beat, "connected_accounts")
    checks.register(check_sqlite, "connected_accounts")
    checks.register(check_issuers, "connected_accounts")
    checks.register(check_loopback, "connected_accounts", deploy=True)


def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001 to E016, W004: everything in ``CONNECTED_ACCOUNTS`` that would fail when used."""
    found = list(conf.problems())
    if not any(problem.id in ("E001", "E005") for problem in found):
        found += registry.problems()
    return [
        (checks.Error if problem.id.startswith("E") else checks.Warning)(
            problem.message, hint=problem.hint, id=f"connected_accounts.{problem.id}"
        )
        for problem in found
    ]


def check_beat(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W001: nothing refreshes tokens on time."""
    from celery import current_app  # loads Celery

    schedulers = (getattr(settings, "CELERY_BEAT_SCHEDULER", ""), current_app.conf.beat_scheduler)
    if any("DatabaseScheduler" in str(scheduler) for scheduler in schedulers):
        return []  # django-celery-beat keeps its schedule in the database
    entries = {
        **(getattr(settings, "CELERY_BEAT_SCHEDULE", None) or {}),
        **(current_app.conf.beat_schedule or {}),
    }
    planned = {entry.get("task") for entry in entries.values() if isinstance(entry, dict)}
    needed = "connected_accounts.refresh_due_accounts"
    if needed in planned or not conf.get("PROVIDERS"):
        return []
    return [
        checks.Warning(
            "Celery beat has no entry for the task that refreshes tokens before they expire.",
            hint="Merge connected_accounts.schedule.BEAT_SCHEDULE into the beat schedule: "
            "CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE, …}.",
            id="connected_accounts.W001",
        )
    ]


def check_sqlite(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W002: SQLite answers "database is locked" at once to a transaction that reads first."""
    return [
        checks.Warning(
            f"The SQLite database {alias!r} does not begin its transactions with a lock.",
            hint='Set DATABASES[…]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}; and use '
            "PostgreSQL or MariaDB where several processes write.",
            id="connected_accounts.W002",
        )
        for alias, database in settings.DATABASES.items()
        if database.get("ENGINE", "").endswith(".sqlite3")
        and str(database.get("OPTIONS", {}).get("transaction_mode", "")).upper()
        not in ("IMMEDIATE", "EXCLUSIVE")
    ]


def check_issuers(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W006: what tells two servers apart, ``iss``, would be the same (RFC 9207 4)."""
    known: dict[str, tuple[str, tuple[str, str]]] = {}
    found: list[checks.CheckMessage] = []
    for alias in conf.provider_aliases():
        try:
            endpoints = registry.get_provider(alias).known_endpoints()
        except ConfigurationError:
            continue
        ends = (endpoints.authorization_endpoint, endpoints.token_endpoint)
        other, others = known.setdefault(endpoints.issuer, (alias, ends))
        if endpoints.issuer and ends != others:
            found.append(
                checks.Warning(
                    f"The providers {other!r} and {alias!r} have the same issuer, but other "
                    "endpoints.",
                    hint="Each server has an issuer of its own; correct the one that is wrong.",
                    id="connected_accounts.W006",
                )
            )
    return found


def check_loopback(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W003 (``--deploy``): a provider on this machine, over plain http."""
    found: list[checks.CheckMessage] = []
    for alias in conf.provider_aliases():
        try:
            endpoints = registry.get_provider(alias).known_endpoints()
        except ConfigurationError:
            continue
        urls = (endpoints.token_endpoint, endpoints.authorization_endpoint, endpoints.issuer)
        if any(is_loopback_literal(urlsplit(url).hostname or "") for url in urls):
            found.append(
                checks.Warning(
                    f"The provider {alias!r} is on a loopback address.",
                    hint="That is for development; name the provider's https address.",
                    id="connected_accounts.W003",
                )
            )
    return found
