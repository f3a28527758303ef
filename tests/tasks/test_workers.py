"""Real processes and real Celery workers on each database; the long versions are in bench/.

Each test has a sandbox that counts, and that ends the whole grant when a rotated token comes again.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from bench.prove_single_flight import changes, one_account
from bench.servers import own_database
from bench.stage import Sandbox, Site, stage, wait_until
from tests.services import service

ACCOUNTS, PROCESSES, IN_FLIGHT = 40, 10, 4
# A provider that is stopped for a while is waited for, on a slow machine too.
SETTINGS = {"REFRESH_CONCURRENCY": IN_FLIGHT, "HTTP_TIMEOUT": 60, "HTTP_DEADLINE": 120}
Stage = tuple[Site, Sandbox]


POSTGRESQL = pytest.param(
    ("postgresql", "redis"),
    marks=[pytest.mark.postgres, pytest.mark.broker],
    id="postgresql-redis",
)


@pytest.fixture(
    scope="module",
    params=[
        POSTGRESQL,
        pytest.param(("mariadb", "rabbitmq"), marks=pytest.mark.broker, id="mariadb-rabbitmq"),
        pytest.param(("sqlite", "redis"), marks=pytest.mark.broker, id="sqlite-redis"),
    ],
)
def setting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    kind, broker = request.param
    if kind != "sqlite":
        service(kind)
    queue = service(broker)
    folder: Path = tmp_path_factory.mktemp("stage")
    with (
        own_database(kind, folder) as database,
        stage(folder, database, queue, ACCOUNTS, **SETTINGS) as made,
    ):
        yield made


def all_settled(site: Site) -> bool:
    report = site.do("report")
    return report["due"] == report["holders"] == report["unresolved"] == 0


def test_processes_that_need_one_expired_token_make_one_request(setting: Stage) -> None:
    one_account(*setting, PROCESSES)


def test_drains_sent_twice_over_refresh_each_account_once(setting: Stage) -> None:
    site, sandbox = setting
    site.do("due")
    before = sandbox.state()
    pid = site.worker("many", "--pool=prefork", "--concurrency=4")
    site.do("send", "drain_refreshes", 8, "badgr")
    wait_until(lambda: all_settled(site), 60)
    assert site.terminate(pid) == 0
    counted = changes(before, sandbox.state())
    assert counted == {**dict.fromkeys(counted, 0), "refreshes": ACCOUNTS}


def drains_that_wait_for_answers(site: Site, sandbox: Sandbox, name: str) -> int:
    """A worker with two drains whose requests the provider has, and does not answer yet."""
    site.do("due")
    pid = site.worker(name, "--pool=prefork", "--concurrency=2")
    sandbox.process.send_signal(signal.SIGSTOP)
    site.do("send", "drain_refreshes", 2, "badgr")
    wait_until(lambda: site.do("report")["holders"] >= 2 * IN_FLIGHT, 60)
    time.sleep(1)  # a lease is taken a moment before its request is sent
    return pid


def test_a_worker_that_gets_sigterm_stores_what_is_in_flight_and_takes_no_more(
    setting: Stage,
) -> None:
    site, sandbox = setting
    before = sandbox.state()
    pid = drains_that_wait_for_answers(site, sandbox, "stopped")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "shutdown (MainProcess)" in site.logs(), 30)
    sandbox.process.send_signal(signal.SIGCONT)
    site.do("wait", pid)
    del site.workers[pid]
    counted, report = changes(before, sandbox.state()), site.do("report")
    assert 2 * IN_FLIGHT <= counted["refreshes"] < ACCOUNTS
    assert report["due"] == ACCOUNTS - counted["refreshes"]
    assert (report["holders"], report["unresolved"], counted["reuse_detected"]) == (0, 0, 0)


# Of the three only PostgreSQL closes one database and leaves the others alone.
@pytest.mark.parametrize("setting", [POSTGRESQL], indirect=True)
def test_answers_that_come_while_the_database_is_away_are_stored_when_it_is_back(
    setting: Stage,
) -> None:
    site, sandbox = setting
    before = sandbox.state()
    pid = drains_that_wait_for_answers(site, sandbox, "waiting")
    name = urlsplit(site.database).path[1:]
    with psycopg.connect(service("postgresql"), autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # type: ignore[arg-type]
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            sandbox.process.send_signal(signal.SIGCONT)
            wait_until(lambda: changes(before, sandbox.state())["refreshes"] >= 2 * IN_FLIGHT, 60)
            time.sleep(1)  # the answers are in the worker's hands, and it has tried to store them
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # type: ignore[arg-type]
    wait_until(lambda: site.do("report")["holders"] == 0, 60)
    site.do("send", "drain_refreshes", 2, "badgr")
    wait_until(lambda: all_settled(site), 60)
    assert site.terminate(pid) == 0
    counted, report = changes(before, sandbox.state()), site.do("report")
    assert counted == {**dict.fromkeys(counted, 0), "refreshes": ACCOUNTS}
    assert report["statuses"] == {"active": ACCOUNTS}
