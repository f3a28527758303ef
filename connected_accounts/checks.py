"""System checks. Ids are stable: a retired one is never used again.

Touches no network. Only ``check_keys`` touches a database, where ``check --database`` or
``migrate`` names it.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.db import connections

from connected_accounts import conf
from connected_accounts.conf import is_loopback_literal
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.fields import encryption_keys, key_id
from connected_accounts.keys import SEALED, count_by_key, missing_keys
from connected_accounts.providers import registry


def register() -> None:
    """Called when the app is ready."""
    checks.register(check_settings, "connected_accounts")
    checks.register(check_beat, "connected_accounts")
    checks.register(check_sqlite, "connected_accounts")
    checks.register(check_loopback, "connected_accounts", deploy=True)
    checks.register(check_keys, "connected_accounts", checks.Tags.database)


def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001 to E014: everything in ``CONNECTED_ACCOUNTS`` that would fail when used."""
    found = list(conf.problems())
    if not any(problem.id in ("E001", "E005") for problem in found):
        found += registry.problems()
    return [
        checks.Error(problem.message, hint=problem.hint, id=f"connected_accounts.{problem.id}")
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


def check_keys(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """W010 and W011 (``--database``): stored values that need an old key, or one that is not there.

    Warnings, because ``migrate`` runs this check and must not be stopped by it.
    """
    found: list[checks.CheckMessage] = []
    for alias in databases or ():
        tables = connections[alias].introspection.table_names()
        if not all(model._meta.db_table in tables for model, _ in SEALED):
            continue
        counts = count_by_key(alias)
        missing = missing_keys(counts)
        old = counts - missing
        del old[key_id(encryption_keys()[0])]
        if old:
            found.append(
                checks.Warning(
                    f"{old.total()} stored values in the database {alias!r} are sealed with an old "
                    f"key: {', '.join(sorted(old))}.",
                    hint="Run manage.py rotate_token_keys before you remove an old key.",
                    id="connected_accounts.W010",
                )
            )
        if missing:
            found.append(
                checks.Warning(
                    f"{missing.total()} stored values in the database {alias!r} cannot be opened: "
                    f"FIELD_ENCRYPTION_KEY lacks {', '.join(sorted(missing))}.",
                    hint="Bring the key back, behind the first one; their connections heal then.",
                    id="connected_accounts.W011",
                )
            )
    return found
