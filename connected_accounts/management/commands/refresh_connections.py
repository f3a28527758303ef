"""Keep connections fresh without a broker: one process does what beat and the workers do."""

import signal
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from typing import Any

from celery import current_app
from django.core.management.base import CommandError
from django.db import Error, close_old_connections
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.management.output import PlainCommand
from connected_accounts.operations.retention import purge_old
from connected_accounts.refresh.drain import Drained, drain
from connected_accounts.revoke.outbox import revoke_pending

STOPS = (signal.SIGTERM, signal.SIGINT)


class Command(PlainCommand):
    help = (
        "Refresh the connections that are due, withdraw the grants that wait for it, and delete "
        "what has served: once, for cron or a systemd timer, or with --loop until it is stopped. "
        "For sites without Celery's worker and beat; beside them it does no harm."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until SIGTERM or Ctrl-C")
        parser.add_argument(
            "--every",
            type=float,
            default=60.0,
            metavar="SECONDS",
            help="with --loop: from the beginning of one round to the next (60)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["every"] <= 0:
            raise CommandError("--every takes a number of seconds above 0, such as 60.")
        if options["loop"]:
            self.stdout.write(f"A round every {options['every']:g} seconds, until Ctrl-C.")
            self.stdout.flush()
        with tasks_done_here(), stop_told() as stop:
            while True:
                began = time.monotonic()
                try:
                    self.do_round(stop)
                except Error as error:  # of the database, whose message may hold a statement
                    if not options["loop"]:
                        raise
                    self.stderr.write(f"This round ended early: {type(error).__name__}.")
                left = options["every"] - (time.monotonic() - began)
                if not options["loop"] or stop.wait(max(left, 0.0)):
                    return
                close_old_connections()  # which a database may have closed meanwhile

    def do_round(self, stop: Event) -> None:
        done = Drained()
        for alias in conf.provider_aliases():
            try:
                drained = drain(alias, stop=stop.is_set)
            except ConfigurationError as error:
                self.stderr.write(f"{alias}: cannot be refreshed: {error}. Run manage.py check.")
                continue
            done.refreshed += drained.refreshed
            done.failed += drained.failed
        tried = 0 if stop.is_set() else revoke_pending()
        if not stop.is_set():
            purge_old(timezone.now(), timedelta(days=float(conf.get("EVENT_RETENTION_DAYS"))))
        if done.refreshed or done.failed or tried:
            self.stdout.write(
                f"{done.refreshed} refreshed, {done.failed} failed, {tried} revocations tried"
            )
            self.stdout.flush()  # also where it goes to a file


@contextmanager
def tasks_done_here() -> Iterator[None]:
    """Mails and the like, which the flows would send to a worker, are done in this process."""
    before = current_app.conf.task_always_eager
    current_app.conf.task_always_eager = True
    try:
        yield
    finally:
        current_app.conf.task_always_eager = before


@contextmanager
def stop_told() -> Iterator[Event]:
    """An event that SIGTERM and Ctrl-C set: what is in flight is finished and stored."""
    stop = Event()
    before = [signal.signal(number, lambda *_: stop.set()) for number in STOPS]
    try:
        yield stop
    finally:
        for number, handler in zip(STOPS, before, strict=True):
            signal.signal(number, handler)
