"""Database and broker restarted, away for 30 seconds, and away together, under a refresh load.

``python -m bench.prove_outages [ACCOUNTS SECONDS [redis|rabbitmq [mariadb]]]``, on PostgreSQL
unless MariaDB is named. All servers are our own, and are ended with kill -9; Redis keeps nothing,
so each message that waits in it is lost.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.servers import MariaDB, PostgreSQL, RabbitMQ, Redis, Server
from bench.stage import Sandbox, Site, machine, scratch, stage, table, tell, wait_until
from connected_accounts import conf

RATE = 30  # refreshes a second that are allowed; half as many come due all the time
SETTINGS = {"REFRESH_CONCURRENCY": 4, "HTTP_TIMEOUT": 30, "MAX_REQUESTS_PER_SECOND": RATE}
BETWEEN = 15.0  # seconds of plain load
IN_TIME = 5.0  # seconds: a backlog in which nobody waits for longer is none
WORKER = ("--pool=prefork", "--concurrency=2")


def away(*servers: Server, seconds: float) -> None:
    for server in servers:
        server.stop()
    time.sleep(seconds)
    for server in servers:
        server.start()


def phases(database: Server, broker: Server, seconds: float) -> dict[str, Callable[[], None]]:
    return {
        "database restarted": database.restart,
        "broker restarted": broker.restart,
        f"database away for {seconds:.0f} s": lambda: away(database, seconds=seconds),
        f"broker away for {seconds:.0f} s": lambda: away(broker, seconds=seconds),
        f"both away for {seconds:.0f} s": lambda: away(database, broker, seconds=seconds),
    }


def under_load(
    site: Site, sandbox: Sandbox, name: str, happen: Callable[[], None]
) -> dict[str, Any]:
    """Let it happen; how long the backlog that it left took to clear."""
    before = sandbox.refreshes()
    began = time.monotonic()
    happen()
    gone = time.monotonic() - began
    left = site.do("backlog")
    wait_until(lambda: site.do("backlog")["seconds"] < IN_TIME, 300, 0.5)
    cleared = time.monotonic() - began - gone
    time.sleep(BETWEEN)
    row = {
        "what": name,
        "seconds": round(gone, 1),
        "due then": left["due"],
        "oldest, s": round(left["seconds"]),
        "cleared in, s": round(cleared, 1),
        "refreshes": sandbox.refreshes() - before,
        "reused": sandbox.state()["reuse_detected"],
    }
    tell(str(row))
    return row


def prove(
    folder: Path, kind: type[Server], kept_in: type[Server], accounts: int, seconds: float
) -> list[dict[str, Any]]:
    database, broker = kept_in(folder / "database"), kind(folder / "broker")
    try:
        with stage(
            folder / "outages",
            database.url,
            broker.url,
            accounts,
            access_token_seconds=round(accounts / (RATE / 2) / conf.DEFAULTS["REFRESH_AT"]),
            **SETTINGS,
        ) as (site, sandbox):
            for name in ("one", "two"):
                site.worker(name, *WORKER)
            site.beat(2)
            wait_until(lambda: site.do("backlog")["seconds"] < IN_TIME, 300)
            rows = [
                under_load(site, sandbox, name, happen)
                for name, happen in phases(database, broker, seconds).items()
            ]
            tell(str(verdict(site, sandbox, accounts)))
            return rows
    finally:
        broker.stop()
        database.stop()


def verdict(site: Site, sandbox: Sandbox, accounts: int) -> dict[str, Any]:
    """No account may be lost: each stored refresh token is spent once more."""
    wait_until(lambda: site.do("rest_settled") == 0, 300, 0.5)
    site.stop_beat()
    for pid in list(site.workers):
        assert site.terminate(pid) == 0
    report, logs = site.do("report"), site.logs()
    assert report["statuses"] == {"active": accounts}, report
    assert site.do("due") == accounts
    assert site.do("drain", 600) == {"refreshed": accounts, "failed": 0}
    state = sandbox.state()
    assert (state["alive_grants"], state["reuse_detected"]) == (accounts, 0), state
    assert state["sent_while_pending"] == 0, state
    return {
        "accounts": accounts,
        "active, refreshed once more": accounts,
        "lost": 0,
        "answers that waited for the broker": logs.count("broker away: account="),
        "tasks that carried an answer": logs.count("store_refresh["),
        "answers given up": logs.count("refreshed grant lost"),
    }


def main() -> None:
    accounts, seconds = (int(value) for value in (sys.argv[1:3] or (500, 30)))
    kinds = {"redis": Redis, "rabbitmq": RabbitMQ}
    database = MariaDB if "mariadb" in sys.argv[4:] else PostgreSQL
    tell(machine())
    for name in sys.argv[3:4] or kinds:
        with scratch() as folder:
            tell(f"{database.__name__}, {name}")
            table(prove(folder, kinds[name], database, accounts, seconds))


if __name__ == "__main__":
    main()
