"""One account's token wanted by many processes at once; many accounts drained by many workers.

``python -m bench.prove_single_flight [PROCESSES ACCOUNTS [DATABASE]]``. The sandbox counts.
"""

import sys
import time
from pathlib import Path
from typing import Any

from bench.servers import RABBITMQ, Redis, own_database
from bench.stage import Sandbox, Site, machine, scratch, stage, table, tell, wait_until

WORKER_PROCESSES = 8
SEND_EVERY = 10.0  # seconds
HTTP_TIMEOUT = 30  # seconds: a slow machine is not what this is about
IN_FLIGHT = 4  # calls of one worker: the sandbox is one small process, and must not be too slow


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """What the sandbox counted in between."""
    asked = "token_requests"
    names = ("failed_token_requests", "reuse_detected", "sent_while_pending", "revocations")
    return {
        "refreshes": after[asked]["refresh_token"] - before[asked]["refresh_token"],
        **{name: after[name] - before[name] for name in names},
        "grants_ended": before["alive_grants"] - after["alive_grants"],
    }


def one_account(site: Site, sandbox: Sandbox, processes: int) -> dict[str, Any]:
    """All want the one token; exactly one request may be made."""
    site.do("rest")
    site.do("due")
    before = sandbox.state()
    asked = site.do("ask", processes)
    counted = changes(before, sandbox.state())
    assert asked["the_stored_token"] == processes, asked
    assert counted == {**dict.fromkeys(counted, 0), "refreshes": 1}, counted
    return {"processes": processes, "got the new token": asked["the_stored_token"], **counted}


def keep_draining(site: Site) -> bool:
    """Send each worker process two drains, if there is anything left to do."""
    if site.do("report")["due"] == 0:
        return True
    site.do("send", "drain_refreshes", 2 * WORKER_PROCESSES, "badgr")
    return False


def many_accounts(site: Site, sandbox: Sandbox, accounts: int, within: float) -> dict[str, Any]:
    """Each drain is sent twice over; each account may be refreshed once."""
    half = str(WORKER_PROCESSES // 2)
    nodes = [
        site.worker(name, "--pool=prefork", f"--concurrency={half}") for name in ("one", "two")
    ]
    began, total = time.monotonic(), 0
    before = sandbox.state()
    for _ in range(2):
        assert site.do("due") == accounts
        total += accounts
        wait_until(lambda: keep_draining(site), within, SEND_EVERY)
        wait_until(lambda: site.do("report")["holders"] == 0, within, 0.5)
    seconds = time.monotonic() - began
    for pid in nodes:
        assert site.terminate(pid) == 0
    counted = changes(before, sandbox.state())
    report = site.do("report")
    assert report["statuses"] == {"active": accounts}, report
    assert counted == {**dict.fromkeys(counted, 0), "refreshes": total}, counted
    logs = site.logs()
    return {
        "worker processes": WORKER_PROCESSES,
        "accounts": accounts,
        "rounds": 2,
        **counted,
        "drains that did work": logs.count("drained: provider=badgr"),
        "drains ended early": logs.count("drain: "),
        "seconds": round(seconds, 1),
    }


def prove(folder: Path, kind: str, broker: str, processes: int, accounts: int) -> list[Any]:
    with (
        own_database(kind, folder) as database,
        stage(
            folder / f"{kind}-{broker[:5]}",
            database,
            broker,
            accounts,
            REFRESH_CONCURRENCY=IN_FLIGHT,
            HTTP_TIMEOUT=HTTP_TIMEOUT,
        ) as (site, sandbox),
    ):
        one = one_account(site, sandbox, processes)
        return [one, many_accounts(site, sandbox, accounts, within=600)]


def main() -> None:
    processes, accounts = map(int, sys.argv[1:3] or (50, 2000))
    chosen = sys.argv[3:] or ["postgresql", "mariadb", "sqlite"]
    tell(machine())
    ones, manys = [], []
    with scratch() as folder:
        redis = Redis(folder / "redis")
        try:
            for kind, broker in (
                ("postgresql", redis.url),
                ("postgresql", RABBITMQ),
                ("mariadb", redis.url),
                ("sqlite", redis.url),
            ):
                if kind not in chosen:
                    continue
                where = {"database": kind, "broker": broker.partition(":")[0]}
                one, many = prove(folder, kind, broker, processes, accounts)
                ones.append(where | one)
                manys.append(where | many)
                tell(f"{where}: {one} {many}")
        finally:
            redis.stop()
    table(ones)
    table(manys)


if __name__ == "__main__":
    main()
