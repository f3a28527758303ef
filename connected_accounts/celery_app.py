"""The site's Celery app: whether there is one, and when its beat starts refreshes. Celery is loaded
when one of these is asked, not at start-up."""

from itertools import pairwise
from typing import Any, Final

from django.conf import settings

REFRESH: Final = "connected_accounts.refresh_due_accounts"


def has_celery() -> bool:
    """Whether the site has a Celery app. Where none was made, tasks belong to one that Celery makes
    for itself, by this name, and no worker hears of them."""
    from celery import current_app

    return current_app.main != "default" or bool(current_app.conf.task_always_eager)


def refresh_schedules() -> list[Any] | None:
    """When beat starts refreshes, by its settings; None where its schedule is in a database."""
    from celery import current_app

    schedulers = (getattr(settings, "CELERY_BEAT_SCHEDULER", ""), current_app.conf.beat_scheduler)
    if any("DatabaseScheduler" in str(scheduler) for scheduler in schedulers):
        return None
    entries = {
        **(getattr(settings, "CELERY_BEAT_SCHEDULE", None) or {}),
        **(current_app.conf.beat_schedule or {}),
    }
    ours = [e for e in entries.values() if isinstance(e, dict) and e.get("task") == REFRESH]
    return [entry.get("schedule") for entry in ours]


def longest_gap(schedule: Any) -> float | None:
    """The longest time between two runs, in seconds; None for a schedule of another kind."""
    from celery.schedules import crontab, maybe_schedule

    plan: Any = maybe_schedule(schedule)
    if not isinstance(plan, crontab):
        every = getattr(plan, "run_every", None)
        return None if every is None else float(every.total_seconds())
    cron = vars(plan)  # sets of numbers
    moments = sorted(60 * hour + minute for hour in cron["hour"] for minute in cron["minute"])
    gaps = [later - earlier for earlier, later in pairwise([*moments, moments[0] + 1440])]
    days = tuple(len(cron[name]) for name in ("day_of_week", "day_of_month", "month_of_year"))
    return 60.0 * float(max(gaps)) + (0.0 if days == (7, 31, 12) else 86400.0)
