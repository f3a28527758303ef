"""Real workers of each pool that are cut or ended amid their drains, as in bench/prove_limits.py.

A provider answers slowly and takes each refresh token once. Nothing that it answered is lost.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app

from bench.prove_limits import SCENES, Stage, limits_stage, play
from bench.servers import own_database
from connected_accounts import tasks
from tests.services import service

ACCOUNTS = 60
NAMED = {scene.name: scene for scene in SCENES}
SOFT_SHUTDOWN = NAMED["SIGQUIT, soft shutdown"]
SITES_LIMITS = NAMED["the site's limits, 3 s and 2 s"]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    service("postgresql")
    broker, folder = service("redis"), tmp_path_factory.mktemp("stage")
    with (
        own_database("postgresql", folder) as database,
        limits_stage(folder, database, broker) as made,
    ):
        yield made


@pytest.mark.postgres
@pytest.mark.broker
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_a_worker_that_gets_sigquit_stores_what_was_answered(staged: Stage, pool: str) -> None:
    row = play(staged, pool, NAMED["SIGQUIT"], ACCOUNTS)
    assert row["lost"] == 0


@pytest.mark.postgres
@pytest.mark.broker
@pytest.mark.parametrize("scene", [SITES_LIMITS, SOFT_SHUTDOWN, NAMED["control shutdown"]], ids=str)
def test_what_a_site_sets_for_all_its_workers_loses_nothing(staged: Stage, scene: Any) -> None:
    row = play(staged, "prefork", scene, ACCOUNTS)
    assert row["lost"] == 0


@pytest.mark.postgres
@pytest.mark.broker
def test_processes_that_are_spawned_are_told_of_a_warm_shutdown(staged: Stage) -> None:
    row = play(staged, "spawn", NAMED["SIGTERM"], ACCOUNTS)
    assert row["lost"] == 0


@pytest.mark.postgres
@pytest.mark.broker
def test_a_time_limit_that_gevent_enforces_loses_nothing(staged: Stage) -> None:
    row = play(staged, "gevent", NAMED["hard limit of the message, 2 s"], ACCOUNTS)
    assert row["lost"] == 0


@pytest.mark.postgres
@pytest.mark.broker
def test_a_killed_worker_loses_no_more_than_its_drains_had_under_way(staged: Stage) -> None:
    row = play(staged, "prefork", NAMED["SIGKILL"], ACCOUNTS)
    assert row["reason"] == "rotation_lost"


@pytest.mark.parametrize("name", tasks.__all__)
def test_each_task_has_time_limits_of_its_own_which_a_sites_do_not_replace(name: str) -> None:
    task = getattr(tasks, name)
    before = current_app.conf.task_time_limit, current_app.conf.task_soft_time_limit
    current_app.conf.task_time_limit, current_app.conf.task_soft_time_limit = 300, 60
    try:
        assert (task.soft_time_limit, task.time_limit) == (3600, 3900)
    finally:
        current_app.conf.task_time_limit, current_app.conf.task_soft_time_limit = before
