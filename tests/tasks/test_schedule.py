"""What beat sends where its schedule file does not outlive the deploy, as in a container."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connected_accounts import tasks
from connected_accounts.schedule import BEAT_SCHEDULE


def sent_in_one_life(folder: Path, minutes: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A real scheduler with a new file, ticking for so many minutes; nothing leaves the process."""
    app = Celery("scheduled", set_as_current=False)
    app.conf.beat_schedule = BEAT_SCHEDULE
    clock = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(Celery, "now", lambda self: clock)
    sent: Counter[str] = Counter()

    class Scheduler(PersistentScheduler):
        def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> Any:
            sent[entry.task] += 1
            self.reserve(entry)

    scheduler = Scheduler(app=app, schedule_filename=str(folder / "celerybeat-schedule"))
    for _ in range(minutes * 12):
        clock += timedelta(seconds=5)
        while scheduler.tick() == 0:
            pass
    scheduler.close()
    return sent


def test_a_beat_that_lives_for_a_quarter_of_an_hour_sends_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = sent_in_one_life(tmp_path, 15, monkeypatch)
    assert sent.keys() == BEAT_SCHEDULE.keys()
    assert sent["connected_accounts.purge"] == 1
    assert sent["connected_accounts.refresh_due_accounts"] >= 14


@pytest.mark.django_db
def test_a_purge_that_finds_nothing_writes_nothing() -> None:
    with CaptureQueriesContext(connection) as asked:
        tasks.purge.apply().get()
    assert {query["sql"].split()[0] for query in asked} == {"SELECT"}
    assert len(asked) == 4
