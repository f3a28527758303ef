"""The operator's habits: time limits for all tasks, and every way of ending a worker, in each pool.

``python -m bench.prove_limits [ACCOUNTS [DATABASE [POOL…]]]``. Real Celery workers, PostgreSQL
unless another is named, a Redis of our own; a provider that answers slowly and takes each refresh
token once. Lost is an account whose stored refresh token is not the provider's newest: each must be
one whose answer was under way.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import stub
from bench.servers import Redis, own_database
from bench.stage import Site, machine, scratch, table, tell, wait_until

POOLS = {
    "prefork": ("--pool=prefork", "--concurrency=2"),
    "spawn": ("--pool=prefork", "--concurrency=2"),  # whose processes are spawned, not forked
    "threads": ("--pool=threads", "--concurrency=2"),
    "solo": ("--pool=solo",),
    "gevent": ("--pool=gevent", "--concurrency=4"),
    "eventlet": ("--pool=eventlet", "--concurrency=4"),
}
LATENCY = 0.3  # seconds
IN_FLIGHT = 4  # calls of one drain
DRAINS = 2
# A drain has claimed no more than this when it is killed, and sent half of it.
HELD = DRAINS * 2 * IN_FLIGHT
Stage = tuple[Site, stub.Running]
HTTP_DEADLINE = 5  # seconds; 30 more, and the lease of a dead worker is over


@dataclass(frozen=True)
class Scene:
    """``settings`` of the site, options of the ``message``, and what is done to the worker amid its
    drains. ``killed``: the pools in which nothing could be stored any more; ``unheard``: those that
    hear of it when the drains are over."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    end: Callable[["Worker"], None] | None = None
    killed: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


class Worker:
    """A Celery worker in a process of its own: gevent and eventlet want to be there first."""

    def __init__(self, site: Site, pool: str, number: int, settings: dict[str, Any]) -> None:
        self.site, self.log = site, site.folder / f"worker-{number}.log"
        environment = {f"BENCH_{name}": str(value) for name, value in settings.items()}
        environment["BENCH_WORKER_POOL_START_METHOD"] = "spawn" if pool == "spawn" else "fork"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "example_project.celery", "worker"),
                    *(*POOLS[pool], "--loglevel=INFO", f"--hostname=limits{number}@bench"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ],
                cwd=site.code,
                env=site.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: " ready." in self.said(), 120)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def shut_down_by_control(self) -> None:
        self.site.do("bench.prove_limits:shut_down")

    def kill_all(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill_all()
            self.process.wait()


def sent(number: int) -> Callable[[Worker], None]:
    return lambda worker: worker.signal(number)


SCENES = (
    Scene("the site's limits, 3 s and 2 s", {"TASK_TIME_LIMIT": 3, "TASK_SOFT_TIME_LIMIT": 2}),
    Scene("soft limit of the message, 2 s", message={"soft_time_limit": 2}),
    Scene("hard limit of the message, 2 s", message={"time_limit": 2}),
    Scene("SIGTERM", end=sent(signal.SIGTERM)),
    Scene("SIGQUIT", end=sent(signal.SIGQUIT)),
    Scene("SIGINT", end=sent(signal.SIGINT)),
    Scene(
        "SIGQUIT, soft shutdown",
        {"WORKER_SOFT_SHUTDOWN_TIMEOUT": 10},
        end=sent(signal.SIGQUIT),
    ),
    Scene("control shutdown", end=Worker.shut_down_by_control, unheard=("solo",)),
    Scene("SIGKILL", end=Worker.kill_all, killed=tuple(POOLS)),
)


# --- What the crew of the site does -------------------------------------------------------------


def shut_down() -> bool:
    """``celery control shutdown``."""
    from example_project.celery import app

    app.control.shutdown()
    return True


def send_drains(count: int, message: dict[str, Any]) -> int:
    from example_project.celery import app

    for _ in range(count):
        app.send_task("connected_accounts.drain_refreshes", ("badgr",), **message)
    return count


def purge_queue() -> int:
    """What was sent and never begun is not for the next worker."""
    from example_project.celery import app

    return int(app.control.purge() or 0)


def seed(count: int) -> int:
    """So many due accounts in round 0 of the stub, in place of those that are there."""
    import json
    import os

    from bench.deeds import seed as seed_file
    from connected_accounts.models import ConnectedAccount, Event

    ConnectedAccount.objects.all()._raw_delete("default")
    Event.objects.all()._raw_delete("default")
    path = Path(os.environ["BENCH_FOLDER"], "grants.json")
    pairs = [[stub.token("a", n, 0), stub.token("r", n, 0)] for n in range(count)]
    path.write_text(json.dumps(pairs))
    return seed_file(str(path))


def stored_rounds() -> dict[str, int]:
    """The round of each account's stored refresh token."""
    from connected_accounts.models import ConnectedAccount

    tokens = (
        row.open_token()["refresh_token"] for row in ConnectedAccount.objects.all().with_token()
    )
    return {account: int(round_) for _, account, round_, _ in (t.split(".", 3) for t in tokens)}


# --- The proof ----------------------------------------------------------------------------------


@contextmanager
def limits_stage(folder: Path, database: str, broker: str) -> Iterator[Stage]:
    """A site without accounts, and a provider that answers slowly."""
    settings = {"HTTP_DEADLINE": HTTP_DEADLINE, "HTTP_TIMEOUT": HTTP_DEADLINE}
    settings["REFRESH_CONCURRENCY"] = IN_FLIGHT
    with stub.running(LATENCY, "--single-use") as provider:
        site = Site(folder / "site", database, broker, provider.url, **settings)
        try:
            site.open()
            site.do("command", "migrate", "--verbosity=0")
            yield site, provider
        finally:
            site.close()


def play(staged: Stage, pool: str, scene: Scene, accounts: int, number: int = 0) -> dict[str, Any]:
    """One scene in one pool: a table's row. Fails where an answer that came was not stored."""
    site, provider = staged
    provider.forget()
    site.do("bench.prove_limits:seed", accounts)
    worker = Worker(site, pool, number, scene.settings)
    try:
        return _play(site, provider, worker, pool, scene, accounts)
    finally:
        worker.close()
        site.do("bench.prove_limits:purge_queue")


def _play(
    site: Site, provider: stub.Running, worker: Worker, pool: str, scene: Scene, accounts: int
) -> dict[str, Any]:
    site.do("bench.prove_limits:send_drains", DRAINS, scene.message)
    wait_until(lambda: provider.served() >= 3 * IN_FLIGHT, 60, 0.05)
    at_the_signal = provider.served()
    began = time.monotonic()
    if scene.end is not None:
        scene.end(worker)
        worker.process.wait(120)
    else:
        wait_until(lambda: _is_over(site, provider, accounts), 120, 0.5)
    seconds = time.monotonic() - began
    rounds, reused = provider.rounds()
    stored = site.do("bench.prove_limits:stored_rounds")
    lost = sum(stored[account] < newest for account, newest in rounds.items())
    row = {
        "pool": pool,
        "what": scene.name,
        "ended in, s": round(seconds, 1) if scene.end else "",
        "refreshes": len(rounds),
        "begun afterwards": provider.served() - at_the_signal if scene.end else "",
        "lost": lost,
        "reused": reused,
    }
    tell(str(row))
    assert reused == 0, row
    if pool not in scene.killed:
        assert lost == 0, row
        assert site.do("report")["holders"] == 0, row
        if scene.end is not None and pool not in scene.unheard:
            assert len(rounds) < accounts, row  # it took no more
        elif scene.settings:
            assert len(rounds) == accounts, row  # the site's limits are not the tasks'
        return row
    assert lost <= HELD, row
    row["reason"] = _reasons(site, lost, accounts)
    return row


def _is_over(site: Site, provider: stub.Running, accounts: int) -> bool:
    """Whether nothing is under way any more: all are refreshed, or the drains were cut."""
    before = provider.served()
    time.sleep(3 * LATENCY)
    quiet = provider.served() == before
    return quiet and (before >= accounts or site.do("report")["holders"] <= HELD)


def _reasons(site: Site, lost: int, accounts: int) -> str:
    """When the leases of the dead are over, each lost one has its reason, and the others go on."""

    def settled() -> bool:
        site.do("drain", 60)
        report = site.do("report")
        return bool(report["due"] == report["holders"] == 0)

    wait_until(settled, 120, 1)
    statuses = site.do("report")["statuses"]
    expected = {"active": accounts - lost} | (
        {"reconnect_required rotation_lost": lost} if lost else {}
    )
    assert statuses == expected, (statuses, expected)
    return "rotation_lost"


def _line(staged: Stage, scene: Scene, pools: Sequence[str], accounts: int) -> dict[str, str]:
    """One scene in each pool, in words for the table."""
    line = {"lost, of refreshes": scene.name}
    for number, pool in enumerate(pools):
        row = play(staged, pool, scene, accounts, 10 * SCENES.index(scene) + number)
        line[pool] = f"{row['lost']} of {row['refreshes']}"
        if scene.end is not None:
            line[pool] += f"; {row['ended in, s']} s"
    return line


def main() -> None:
    accounts = int(sys.argv[1]) if sys.argv[1:] else 400
    kind = sys.argv[2] if sys.argv[2:] else "postgresql"
    pools: Sequence[str] = sys.argv[3:] or list(POOLS)
    tell(f"{machine()}, {kind}")
    with scratch() as folder, own_database(kind, folder) as database:
        redis = Redis(folder / "redis")
        try:
            with limits_stage(folder, database, redis.url) as staged:
                table([_line(staged, scene, pools, accounts) for scene in SCENES])
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
