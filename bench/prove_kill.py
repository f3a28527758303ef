"""kill -9 of a random worker at random moments, over a refresh load that never ends.

``python -m bench.prove_kill [KILLS ACCOUNTS [DATABASE…]]``. Real beat, real Celery workers, Redis,
and PostgreSQL, MariaDB and SQLite; the sandbox ends the whole grant when a rotated refresh token
comes again.
"""

import random
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from bench.servers import Redis, own_database
from bench.stage import Sandbox, Site, machine, scratch, stage, table, tell, wait_until

WORKERS = 4
IN_FLIGHT = 4  # calls of one worker
ACCESS_TOKEN_SECONDS = 20
SAMPLE = 100  # accounts that call the API at the end
HTTP_DEADLINE = 15  # seconds; 30 more, and the lease of a dead worker is over
WORKER = ("--pool=solo", "--prefetch-multiplier=1")


def kill(site: Site, kills: int, longest: float) -> None:
    """Kill a worker and start another in its place, so many times."""
    for number in range(kills):
        time.sleep(random.uniform(0.1, longest))
        name = site.kill(random.choice(list(site.workers)))
        site.worker(name, *WORKER)
        if number % 20 == 19:
            tell(f"{number + 1} kills: {site.do('report')}")


def prove(
    folder: Path, broker: str, kills: int, accounts: int, longest: float, database: str
) -> dict[str, Any]:
    options = {
        "access_token_seconds": ACCESS_TOKEN_SECONDS,
        "REFRESH_CONCURRENCY": IN_FLIGHT,
        "HTTP_DEADLINE": HTTP_DEADLINE,
        "HTTP_TIMEOUT": HTTP_DEADLINE,
    }
    with stage(folder / "kill", database, broker, accounts, **options) as (site, sandbox):  # type: ignore[arg-type]
        for number in range(WORKERS):
            site.worker(f"worker{number}", *WORKER)
        site.beat(1)
        wait_until(lambda: sandbox.refreshes() > 0, 60)
        kill(site, kills, longest)
        under_load = sandbox.state()
        return {"kills": kills, "accounts": accounts} | verdict(site, sandbox, accounts, under_load)


def verdict(
    site: Site, sandbox: Sandbox, accounts: int, under_load: dict[str, Any]
) -> dict[str, Any]:
    """Let every lease of the dead run out, and whoever comes next find out what became of it."""
    began = time.monotonic()
    wait_until(lambda: site.do("rest_settled") == 0, 300, 0.5)
    seconds = time.monotonic() - began
    site.stop_beat()
    for pid in list(site.workers):
        assert site.terminate(pid) == 0
    first = site.do("report")
    # The strictest test of a stored refresh token is to spend it.
    expected = {"refreshed": site.do("due"), "failed": 0}
    assert site.do("drain", 600) == expected
    last, state = site.do("report"), sandbox.state()
    assert last["statuses"] == first["statuses"], (first, last)
    assert (last["holders"], last["unresolved"]) == (0, 0), last
    lost = last["statuses"].pop("reconnect_required rotation_lost", 0)
    active = last["statuses"].pop("active", 0)
    assert not last["statuses"], last
    assert active + lost == accounts
    used = site.do("use", min(SAMPLE, active))
    assert used == {"200": min(SAMPLE, active)}, used
    assert state["sent_while_pending"] == 0
    # Whoever replays a spent token may be killed too, before the refusal is stored.
    assert state["reuse_detected"] >= lost, (state, lost)
    assert state["failed_token_requests"] == state["reuse_detected"], state
    assert state["alive_grants"] == active
    return {
        "refreshes under the kills": under_load["token_requests"]["refresh_token"],
        "active, refreshed once more": active,
        "rotation_lost": lost,
        "replays refused": state["reuse_detected"],
        "stuck": 0,
        "sent while an answer was pending": 0,
        "seconds to settle": round(seconds),
    }


def main() -> None:
    kills, accounts = map(int, sys.argv[1:3] or (200, 2000))
    seed, rows = secrets.randbelow(10**6), []
    random.seed(seed)
    tell(f"{machine()}, seed {seed}")
    with scratch() as folder:
        redis = Redis(folder / "redis")
        try:
            for kind in sys.argv[3:] or ("postgresql", "mariadb", "sqlite"):
                with own_database(kind, folder) as database:
                    found = prove(
                        folder / kind, redis.url, kills, accounts, longest=1.5, database=database
                    )
                rows.append({"database": kind, **found})
                tell(str(rows[-1]))
        finally:
            redis.stop()
    table(rows)


if __name__ == "__main__":
    main()
