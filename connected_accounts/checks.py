"""System checks. Ids are stable: a retired one is never used again.

Touches no network. Only ``check_keys``, ``check_site`` and ``check_storage`` touch a database,
where ``check --database`` or ``migrate`` names it.
"""

import base64
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import connections, router

from connected_accounts import conf, owners
from connected_accounts.conf import is_loopback_literal
from connected_accounts.database import connections as own_connections
from connected_accounts.database.site_middleware import check_middleware as check_middleware
from connected_accounts.database.storage import check_storage as check_storage
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import Deployment
from connected_accounts.models.deployment import sites
from connected_accounts.operations import site_address
from connected_accounts.operations.keys_in_use import (
    SEALED,
    count_by_key,
    missing_keys,
    outdated_columns,
)
from connected_accounts.providers import registry
from connected_accounts.providers.base import Provider
from connected_accounts.sealing import SealedTextField, encryption_keys, key_id
from connected_accounts.secret import clears_traceback_locals

CELERY: Final = ("CELERY_BROKER_URL", "CELERY_BEAT_SCHEDULE")  # in the usual namespace
REFRESH: Final = "connected_accounts.refresh_due_accounts"
USUAL_LIFE: Final = 3600.0  # seconds that access tokens live, as far as settings can know


@clears_traceback_locals  # those that read PROVIDERS have its secrets as they are written there
def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001 to E019, E021 to E023, E027, E030, E033, E035 to E038, W004, W012, W022, W023, W026,
    W029: what would fail."""
    found = [*conf.problems(), *owners.problems(), *own_connections.problems()]
    found += site_address.problems()
    if not any(problem.id in ("E001", "E005") for problem in found):
        found += registry.problems()
    return _messages(found)


def check_address(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W024 (``--deploy``): the site's public address, and the hosts that lead to it."""
    return _messages(site_address.deploy_problems())


def _messages(problems: Iterable[conf.Problem]) -> list[checks.CheckMessage]:
    return [
        (checks.Error if problem.id.startswith("E") else checks.Warning)(
            problem.message, hint=problem.hint, id=f"connected_accounts.{problem.id}"
        )
        for problem in problems
    ]


def check_beat(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W001 and W028: nothing refreshes tokens on time."""
    if not conf.get("PROVIDERS"):
        return []
    if not _has_celery():
        return _settings_without_celery()
    schedules = _refresh_schedules()
    if schedules is None or schedules:
        return []
    return [
        checks.Warning(
            "Celery beat has no entry for the task that refreshes tokens before they expire.",
            hint="Merge connected_accounts.schedule.BEAT_SCHEDULE into the beat schedule: "
            "CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE, …}.",
            id="connected_accounts.W001",
        )
    ]


def _has_celery() -> bool:
    from connected_accounts.tasks import has_celery  # loads Celery

    return has_celery()


def _settings_without_celery() -> list[checks.CheckMessage]:
    named = [name for name in CELERY if getattr(settings, name, None)]
    if not named:
        return []  # manage.py refresh_connections does it all
    return [
        checks.Warning(
            f"Settings have {' and '.join(named)}, but the site has no Celery app when Django has "
            "started: no worker hears of what its pages send.",
            hint="Import the app in the package of the settings, as Celery's documentation says: "
            "from yoursite.celery import app as celery_app. Or remove the settings and keep "
            "manage.py refresh_connections --loop running.",
            id="connected_accounts.W028",
        )
    ]


def check_interval(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W005: a token of an hour's life would end before beat looks for it."""
    if not _has_celery():
        return []
    gaps = [_longest_gap(schedule) for schedule in _refresh_schedules() or ()]
    known = [gap for gap in gaps if gap is not None]
    site = conf.get("REFRESH_AT")
    if not known or not isinstance(site, float) or not 0 < site < 1:  # E003 says so
        return []
    ahead = [provider for provider in registry.get_providers() if _is_ahead(provider)]
    shares = {p.refresh_at: [q.alias for q in ahead if q.refresh_at == p.refresh_at] for p in ahead}
    return [
        _seldom(min(known), share, margin, aliases)
        for share, aliases in shares.items()
        if min(known) > (margin := _margin_of(share))
    ]


def _margin_of(share: float) -> float:
    """From when a token that lives for an hour is due until its last minute, in seconds."""
    return USUAL_LIFE * (1 - min(share * (1 + conf.JITTER), 1)) - conf.LAST_MINUTE


def _seldom(gap: float, share: float, margin: float, aliases: list[str]) -> checks.Warning:
    return checks.Warning(
        f"Beat looks for due refreshes every {gap:.0f} s at most, and with REFRESH_AT = {share} a "
        f"token that lives for an hour is due {max(margin, 0):.0f} s before its last minute: it "
        f"can expire first ({', '.join(aliases)}).",
        hint=f"Schedule {REFRESH} each minute, or lower REFRESH_AT, or set REFRESH_POLICY to "
        '"on_use" where tokens need not be fresh ahead.',
        id="connected_accounts.W005",
    )


def _is_ahead(provider: Any) -> bool:
    renewed = provider.refresh_policy == "ahead" and provider.grant_type != "personal_token"
    return bool(renewed and not provider.refresh_margin)  # else it may not be earlier


def _refresh_schedules() -> list[Any] | None:
    """When beat starts refreshes, by its settings; None where its schedule is in a database."""
    from celery import current_app  # loads Celery

    schedulers = (getattr(settings, "CELERY_BEAT_SCHEDULER", ""), current_app.conf.beat_scheduler)
    if any("DatabaseScheduler" in str(scheduler) for scheduler in schedulers):
        return None
    entries = {
        **(getattr(settings, "CELERY_BEAT_SCHEDULE", None) or {}),
        **(current_app.conf.beat_schedule or {}),
    }
    ours = [e for e in entries.values() if isinstance(e, dict) and e.get("task") == REFRESH]
    return [entry.get("schedule") for entry in ours]


def _longest_gap(schedule: Any) -> float | None:
    """The longest time between two runs, in seconds; None for a schedule of another kind."""
    from celery.schedules import crontab, maybe_schedule  # loads Celery

    plan: Any = maybe_schedule(schedule)
    if not isinstance(plan, crontab):
        every = getattr(plan, "run_every", None)
        return None if every is None else float(every.total_seconds())
    cron = vars(plan)  # sets of numbers
    moments = sorted(60 * hour + minute for hour in cron["hour"] for minute in cron["minute"])
    gaps = [later - earlier for earlier, later in pairwise([*moments, moments[0] + 1440])]
    days = tuple(len(cron[name]) for name in ("day_of_week", "day_of_month", "month_of_year"))
    return 60.0 * float(max(gaps)) + (0.0 if days == (7, 31, 12) else 86400.0)


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


def check_callback(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """E020 and W025: the page that providers send people back to is not there."""
    return _messages(site_address.url_problems())


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


def check_registration(
    app_configs: Sequence[Any] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """E024: the site would register an address that only requests tell."""
    registering = [p.alias for p in registry.get_providers() if p.registers]
    # On the developer's own machine nobody else gets an address.
    names = [host.strip("[]") for host in settings.ALLOWED_HOSTS]
    local = all(name == "localhost" or is_loopback_literal(name) for name in names)
    if conf.get("REDIRECT_BASE_URL") or not registering or settings.DEBUG or local:
        return []
    return [
        checks.Error(
            f"The site registers itself at {', '.join(registering)}, and does not know its "
            "address: that of a request may be anybody's.",
            hint="Set CONNECTED_ACCOUNTS['REDIRECT_BASE_URL'] to the site's public address, such "
            "as 'https://app.example.org'.",
            id="connected_accounts.E024",
        )
    ]


def check_secrets_of_the_site(
    app_configs: Sequence[Any] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """E025, W016 (``--deploy``): what in a site's settings lets others have its secrets."""
    found: list[checks.CheckMessage] = []
    if any(b"only-for-the-demo-" in base64.urlsafe_b64decode(key) for key in encryption_keys()):
        found.append(
            checks.Error(
                "FIELD_ENCRYPTION_KEY has the key of the demo, which is published.",
                hint='Make one: python -c "from cryptography.fernet import Fernet; '
                'print(Fernet.generate_key().decode())"; see the how-to on keys for changing it.',
                id="connected_accounts.E025",
            )
        )
    for provider in registry.get_providers():
        hosts = provider.options.get("hosts", ())
        shared = [name for name in ("CLIENT_SECRET", "api_hosts") if _is_set(provider, name)]
        if len(hosts) > 1 and shared:
            found.append(
                checks.Warning(
                    f"{' and '.join(shared)} of {provider.alias!r} serve {len(hosts)} hosts: each "
                    "of them is trusted with what is another's.",
                    hint="Leave it so only where one party runs them all; else give each host an "
                    "alias, or enter a client for each under “Provider clients”.",
                    id="connected_accounts.W016",
                )
            )
    return found


def _is_set(provider: Provider, name: str) -> bool:
    if name == "api_hosts":
        return bool(provider.api_hosts)
    return bool(provider.config.client_secret.reveal())


def check_site(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """W015 (``--database``): the database is another deployment's, so nothing is refreshed."""
    used = router.db_for_write(Deployment)
    if used not in (databases or ()):
        return []
    if Deployment._meta.db_table not in connections[used].introspection.table_names():
        return []
    names = sites()
    if not names.differ:
        return []
    return [
        checks.Warning(
            f"Nothing is refreshed: {names}.",
            hint="If this site moved, or its SITE_ID or REDIRECT_BASE_URL was changed, run "
            "manage.py confirm_site. On a copy of the database all is well.",
            id="connected_accounts.W015",
        )
    ]


def check_keys(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """W010 and W011 (``--database``): stored values that need an old key, or one that is not there.
    W033: tables of before the first release, which cannot hold what is stored now.

    Warnings, because ``migrate`` runs this check and must not be stopped by it.
    """
    found: list[checks.CheckMessage] = []
    for alias in databases or ():
        tables = connections[alias].introspection.table_names()
        if not all(model._meta.db_table in tables for model, _ in SEALED):
            continue
        if outdated := outdated_columns(alias):
            found.append(_made_before(alias, outdated))
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


def _made_before(alias: str, columns: Sequence[str]) -> checks.Warning:
    return checks.Warning(
        f"The tables in the database {alias!r} were made by an earlier state of "
        f"connected_accounts: {', '.join(columns)}. Nothing can be connected.",
        hint="With the code that made them, run manage.py dumpdata connected_accounts --output "
        "connections.json. Then, with this code: manage.py migrate connected_accounts zero, "
        "migrate, and loaddata connections.json.",
        id="connected_accounts.W033",
    )


def check_histories(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W014: another package keeps copies of what is sealed, also after a disconnect."""
    keepers = sorted({*_tables_with_copies(), *_packages_with_copies()})
    if not keepers:
        return []
    return [
        checks.Warning(
            f"{', '.join(keepers)}: copies of sealed tokens are kept there, which can be opened "
            "with the site's key after a disconnect too, and no rotation of keys reaches them.",
            hint="Leave out the columns that docs/how-to/histories.md lists.",
            id="connected_accounts.W014",
        )
    ]


def _tables_with_copies() -> list[str]:
    """Models of others that have a sealed column: histories copy the fields of what they track."""
    return [
        model._meta.label
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label != "connected_accounts"
        and any(isinstance(field, SealedTextField) for field in model._meta.local_fields)
        and not issubclass(model, _sealed_models())
    ]


def _packages_with_copies() -> list[str]:
    """Packages that write rows as text, as far as they say what they track."""
    found = []
    if apps.is_installed("reversion"):
        revisions = import_module("reversion.revisions")
        for model, column in SEALED:
            if revisions.is_registered(model) and column in revisions._get_options(model).fields:
                found.append("django-reversion")
    if apps.is_installed("easyaudit"):
        left_out = getattr(settings, "DJANGO_EASY_AUDIT_UNREGISTERED_CLASSES_EXTRA", [])
        names = {str(name).lower() for name in left_out}
        if any(model._meta.label_lower not in names for model in _sealed_models()):
            found.append("django-easy-audit")
    return found


def _sealed_models() -> tuple[type[Any], ...]:
    """Our models that have a sealed column."""
    return tuple(model for model, _ in SEALED)
