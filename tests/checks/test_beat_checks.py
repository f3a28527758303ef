"""A check warns where beat is too slow for the moment at which refreshes are due."""

from datetime import timedelta
from typing import Any

import celery
import pytest
from celery.schedules import crontab
from django.core import checks

TASK = "connected_accounts.refresh_due_accounts"
BADGR = {
    "BACKEND": "connected_accounts.providers.badgr.Badgr",
    "CLIENT_ID": "client",
    "CLIENT_SECRET": "client-secret",
}
HOURLY = crontab(minute="0")


@pytest.fixture(autouse=True)
def good_site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "current_app", celery.Celery("checked", set_as_current=False))
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": BADGR}}
    beat(settings, 60)


def ids() -> list[str]:
    found = checks.run_checks(tags=["connected_accounts"])
    return [str(message.id).removeprefix("connected_accounts.") for message in found]


def beat(settings: Any, schedule: Any) -> None:
    settings.CELERY_BEAT_SCHEDULE = {"refresh": {"task": TASK, "schedule": schedule}}


@pytest.mark.parametrize(
    "schedule", [60, 600.0, timedelta(minutes=5), crontab(), crontab(minute="*/10")], ids=repr
)
def test_beat_that_looks_often_enough_gives_no_message(schedule: Any, settings: Any) -> None:
    beat(settings, schedule)
    assert ids() == []


@pytest.mark.parametrize(
    "schedule",
    [
        3600,
        timedelta(minutes=30),
        HOURLY,
        crontab(minute="*/5", hour="9-17"),
        crontab(minute="*/5", day_of_week="1-5"),
    ],
    ids=repr,
)
def test_beat_that_is_slower_than_tokens_expire_is_a_warning(schedule: Any, settings: Any) -> None:
    beat(settings, schedule)
    assert ids() == ["W005"]


def test_a_refresh_so_late_that_beat_cannot_be_in_time_is_a_warning(settings: Any) -> None:
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"REFRESH_AT": 0.9}
    assert ids() == ["W005"]
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"REFRESH_AT": 0.8}
    assert ids() == []


def test_tokens_refreshed_on_use_need_no_beat_in_time(settings: Any) -> None:
    beat(settings, HOURLY)
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": {**BADGR, "REFRESH_POLICY": "on_use"}}}
    assert ids() == []


def test_the_more_frequent_of_two_entries_counts(settings: Any) -> None:
    beat(settings, HOURLY)
    settings.CELERY_BEAT_SCHEDULE = settings.CELERY_BEAT_SCHEDULE | {
        "another": {"task": TASK, "schedule": 60}
    }
    assert ids() == []
