"""A clone of the database beside its original, and a database restored from an hour ago.

``python -m bench.prove_copies [ACCOUNTS]``, on PostgreSQL with Redis. The sandbox counts.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.servers import Redis, own_database, program
from bench.stage import Sandbox, Site, machine, scratch, stage, table, tell, wait_until

WATCHED = 15.0  # seconds for which nothing may happen
HOURS = 3.0  # over which the accounts come due


def copy(source: str, target: str) -> None:
    dump = subprocess.run([program("pg_dump"), source], check=True, capture_output=True)
    load = [program("psql"), "--quiet", "--set=ON_ERROR_STOP=1", target]
    subprocess.run(load, input=dump.stdout, check=True, capture_output=True)


@contextmanager
def another_site(
    folder: Path, database: str, broker: str, sandbox: Sandbox, **settings: Any
) -> Iterator[Site]:
    site = Site(folder, database, broker, sandbox.url, **settings)
    try:
        site.open()
        yield site
    finally:
        site.close()


def clone(folder: Path, broker: str, accounts: int, watched: float = WATCHED) -> dict[str, Any]:
    """A worker, beat, a page and a disconnect on a clone: the sandbox must see none of them."""
    here = folder / "clone"
    with (
        own_database("postgresql", folder) as original,
        own_database("postgresql", folder) as cloned,
        stage(here, original, broker, accounts) as (_, sandbox),
    ):
        copy(original, cloned)
        site_id = "https://staging.example"
        with another_site(here / "staging", cloned, broker, sandbox, SITE_ID=site_id) as staging:
            staging.worker("worker", "--pool=solo")
            staging.beat(1)
            assert staging.do("ask", 5)["others"] == ["ProviderUnavailable other_site"]
            staging.do("disconnect_one")
            wait_until(lambda: staging.do("revocations") == [["pending", "other_site"]], 60)
            time.sleep(watched)
            before = sandbox.state()
            assert before["token_requests"]["refresh_token"] == 0, before
            assert (before["revocations"], before["alive_grants"]) == (0, accounts), before
            drains = staging.logs().count("not refreshed: ")
            assert drains > 0, "the worker has done nothing at all"
            staging.do("command", "confirm_site")
            wait_until(lambda: sandbox.refreshes() == accounts - 1, 120)
            after = sandbox.state()
            assert after["reuse_detected"] == 0, after
    return {
        "accounts due": accounts,
        "rounds of beat on the clone": drains,
        "seen before confirm_site": 0,
        "refreshed after it": accounts - 1,
    }


def restored(
    folder: Path, broker: str, accounts: int, by_hand: int, *options: str
) -> dict[str, Any]:
    """An hour after the backup the database is lost; what was refreshed in it must not be spent."""
    here = folder / f"restored-{by_hand}{len(options)}"
    with (
        own_database("postgresql", folder) as lost,
        own_database("postgresql", folder) as backup,
        stage(here, lost, broker, accounts) as (site, sandbox),
    ):
        site.do("spread", HOURS)
        copy(lost, backup)
        site.do("pass_time", 1)
        refreshed = site.do("drain", 300)["refreshed"]
        assert refreshed == accounts // HOURS
        site.do("refresh_last", by_hand)
        before = sandbox.state()
        with another_site(here / "restored", backup, broker, sandbox) as again:
            again.do("pass_time", 1)
            said = again.do("command", "confirm_site", "--restored", *options)
            ended = again.do("report")["statuses"].get("reconnect_required rotation_lost", 0)
            assert ended == (accounts if options else refreshed), said
            again.worker("worker", "--pool=solo")
            again.beat(1)
            again.do("pass_time", HOURS)  # whatever is left comes due
            wait_until(lambda: again.do("backlog")["due"] == 0, 120)
            wait_until(lambda: again.do("report")["holders"] == 0, 60)
            after, statuses = sandbox.state(), again.do("report")["statuses"]
        reused = after["reuse_detected"] - before["reuse_detected"]
        assert reused == (0 if options else by_hand), after
        active = statuses.pop("active", 0)
        lost_in_all = statuses.pop("reconnect_required rotation_lost")
        assert not statuses
        assert lost_in_all + active == accounts
        assert lost_in_all == (accounts if options else refreshed + by_hand)
    return {
        "options": " ".join(("--restored", *options)),
        "accounts": accounts,
        "refreshed since the backup": f"{refreshed} due, {by_hand} by hand",
        "ended by the command": ended,
        "ended later": lost_in_all - ended,
        "spent twice": reused,
        "active": active,
    }


def main() -> None:
    accounts = int(sys.argv[1]) if sys.argv[1:] else 300
    tell(machine())
    with scratch() as folder:
        redis = Redis(folder / "redis")
        try:
            table([clone(folder, redis.url, accounts)])
            table(
                [
                    restored(folder, redis.url, accounts, 0),
                    restored(folder, redis.url, accounts, 3),
                    restored(folder, redis.url, accounts, 3, "--all"),
                ]
            )
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
