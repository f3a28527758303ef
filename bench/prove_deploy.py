"""The code of before the newest migration and that of today, side by side on today's schema.

``python -m bench.prove_deploy [ACCOUNTS]``, on PostgreSQL with Redis, in a git checkout with its
history. The sandbox counts.
"""

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

from bench.prove_single_flight import changes
from bench.servers import Redis, own_database
from bench.stage import ROOT, Site, machine, scratch, stage, table, tell, wait_until

ROUNDS = 3


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def migrations(commit: str) -> set[str]:
    names = git("ls-tree", "--name-only", commit, "connected_accounts/migrations/").decode()
    return {name for name in names.split() if "/0" in name}


def code_before_the_newest_migration(folder: Path) -> str:
    """Unpack it into a folder, without what measures it; return the commit."""
    newest = max(migrations("HEAD"))
    # Also where a merge brought it; of whose parents the one counts that has all before it.
    whole = ("--full-history", "-m", "--diff-filter=A", "--format=%H")
    added = git("log", *whole, "--", newest).decode().split()
    assert added, "a checkout with its history is needed"
    parents = git("rev-parse", f"{added[-1]}^@").decode().split()
    without = [parent for parent in parents if newest not in migrations(parent)]
    commit = max(without, key=lambda parent: len(migrations(parent)))
    with tarfile.open(
        fileobj=BytesIO(git("archive", commit, "connected_accounts", "example_project"))
    ) as archive:
        archive.extractall(folder, filter="data")
    return commit


def prove(folder: Path, broker: str, accounts: int) -> dict[str, Any]:
    old_code = folder / "old"
    commit = code_before_the_newest_migration(old_code)
    with (
        own_database("postgresql", folder) as database,
        stage(folder / "deploy", database, broker, accounts, REFRESH_CONCURRENCY=4) as (
            new,
            sandbox,
        ),
    ):
        queue = new.environment["CELERY_TASK_DEFAULT_QUEUE"]
        settings = {"code": old_code, "queue": queue, "REFRESH_CONCURRENCY": 4}
        old = Site(folder / "deploy" / "old", database, broker, sandbox.url, **settings)  # type: ignore[arg-type]
        try:
            old.open()
            codes = [site.do("bench.versions:code") for site in (old, new)]
            assert codes[0]["migration"] < codes[1]["migration"], codes
            for site in (old, new):
                site.do("bench.versions:write_every_kind")
                for number in range(2):
                    site.worker(f"worker{number}", "--pool=solo")
            before = sandbox.state()
            for _ in range(ROUNDS):
                assert new.do("due") == accounts
                # More than there are workers: each of the four gets one.
                new.do("send", "drain_refreshes", 8, "badgr")
                wait_until(lambda: new.do("report")["due"] == 0, 300)
                wait_until(lambda: new.do("report")["holders"] == 0, 60)
            counted = changes(before, sandbox.state())
            assert counted == {**dict.fromkeys(counted, 0), "refreshes": ROUNDS * accounts}, counted
            assert new.do("report")["statuses"] == {"active": accounts}
            worked = [site.logs().count("drained: provider=badgr") for site in (old, new)]
            assert all(worked), worked
        finally:
            old.close()
    return {
        "old code": f"{commit[:7]} ({codes[0]['migration']})",
        "schema": codes[1]["migration"],
        "accounts": accounts,
        "rounds": ROUNDS,
        **counted,
        "drains by old code": worked[0],
        "drains by new code": worked[1],
        "accounts lost": 0,
    }


def main() -> None:
    accounts = int(sys.argv[1]) if sys.argv[1:] else 400
    tell(machine())
    if len(migrations("HEAD")) == 1:
        tell("There is the initial migration only, so no older code has run on another schema.")
        return
    with scratch() as folder:
        redis = Redis(folder / "redis")
        try:
            table([prove(folder, redis.url, accounts)])
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
