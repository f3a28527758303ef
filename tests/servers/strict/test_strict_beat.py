"""Refreshing and revoking by a real beat and worker, at a server that demands everything."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from bench.stage import wait_until
from connected_accounts.models import Revocation
from connected_accounts.services import get_session
from tests.journeys import set_row, start, stored
from tests.servers.listed import ROOT
from tests.servers.person import Person
from tests.servers.strict.conftest import Strict
from tests.servers.strict.test_strict_life import ALL, connect, person
from tests.services import service

__all__ = ["person"]
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.broker,
    pytest.mark.django_db(transaction=True),
]


@contextmanager
def beat_and_worker(folder: Path) -> Iterator[Path]:
    """Both with the settings and the database of this test; the worker's log."""
    database = urlsplit(service("postgresql"))._replace(path=connection.settings_dict["NAME"])
    environment = {
        **os.environ,
        "DATABASE_URL": database.geturl(),
        "CELERY_BROKER_URL": service("redis"),
        "CELERY_TASK_DEFAULT_QUEUE": f"strict-{secrets.token_hex(6)}",
        "DJANGO_SETTINGS_MODULE": "tests.servers.strict.site_settings",
        "DEMO_BEAT_SECONDS": "2",
        "SITE_SETTINGS": json.dumps(settings.CONNECTED_ACCOUNTS),
    }
    commands = {
        "worker": ("--loglevel=INFO", "--concurrency=2", "--without-gossip", "--without-mingle"),
        "beat": (f"--schedule={folder / 'schedule'}", "--pidfile="),
    }
    with ExitStack() as files:
        running = []
        for name, options in commands.items():
            log = files.enter_context((folder / f"{name}.log").open("wb"))
            command = [sys.executable, "-m", "celery", "-A", "example_project.celery", name]
            running.append(
                subprocess.Popen(
                    [*command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
            )
        try:
            yield folder / "worker.log"
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                process.wait(timeout=60)


def test_beat_and_a_worker_refresh_and_revoke_where_everything_is_demanded(
    started: Callable[..., Strict], client: Client, user: Any, person: Person, tmp_path: Path
) -> None:
    service("postgresql")
    service("redis")
    server = started(*ALL)
    client.force_login(user)
    account = connect(client, person, start(client, "stock"))
    before = stored(account)
    set_row(account, refresh_at=timezone.now())

    with beat_and_worker(tmp_path) as log:
        wait_until(lambda: server.grants("refresh_token"), 90)
        wait_until(lambda: stored(account)["access_token"] != before["access_token"], 30)
        assert stored(account)["dpop_key"] == before["dpop_key"]
        get_session(account).get("me").raise_for_status()
        account.refresh_from_db()
        assert (account.status, account.failure_count) == ("active", 0)

        assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
        wait_until(lambda: not Revocation.objects.filter(outcome="pending").exists(), 90)
    assert {one.outcome for one in Revocation.objects.all()} == {"revoked"}
    assert (server.grants("refresh_token"), server.grants("refresh_token", "invalid_grant")) == (
        (1, 0)
    ), log.read_text()
