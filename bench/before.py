"""CPU of a refresh with a secret and a bearer, here and at an earlier commit, in turn.

``python -m bench.before COMMIT [RUNS]``. The commit is checked out beside this tree, and measured
by its own code in a process and a database of its own, as this tree is. What a machine does
besides, it does to both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import harness, postgres

HERE = Path(__file__).resolve().parents[1]
SCALE = 0.5  # of the accounts that ``bench.refresh`` has
# Runs in either tree: it names what both have. The first round is the warm-up.
MEASURE = """
import sys
from bench import site, stub
site.start("http://127.0.0.1:9", concurrency=64)
from django.conf import settings
from bench import rows
from bench.refresh import Bench, move_stub

with stub.running() as provider:
    bench = Bench(provider, 0.0, float(sys.argv[1]))
    move_stub(settings, provider.url)
    rows.delete_rows()
    rows.make_ours(rows.make_users(bench.many))
    for turn in (1, 2, 3):
        rows.make_due()
        rows.analyze()
        bench.run("ours", bench.ours)()
        rows.check_ours(turn)
taken = bench.taken["ours"][1:]
print(1000 * sum(one.cpu for one in taken) / sum(one.done for one in taken))
"""


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A tree of its own with a commit of this repository."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        subprocess.run([*git, "add", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def run_in(tree: Path, source: str, *arguments: object, url: str) -> str:
    """The last line that a source prints, run with the code of one tree on a database."""
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=tree,
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def measured(tree: Path) -> float:
    """Milliseconds of CPU for each refresh, by the code of one tree."""
    with postgres.database() as url:
        return float(run_in(tree, MEASURE, SCALE, url=url))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.before", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("runs", nargs="?", type=int, default=harness.RUNS)
    options = parser.parse_args()
    with checked_out(options.commit) as tree:
        found = harness.interleaved(
            {"here": lambda: measured(HERE), options.commit: lambda: measured(tree)},
            runs=options.runs,
            warm=False,
        )
    here, before = found["here"], found[options.commit]
    pairs = sorted(one / other for one, other in zip(here, before, strict=True))
    print(
        f"ms of CPU for each refresh: here {statistics.median(here):.3f}, "
        f"{options.commit} {statistics.median(before):.3f}\n"
        f"here / {options.commit}: {statistics.median(pairs):.3f} "
        f"(run by run {pairs[0]:.3f} to {pairs[-1]:.3f})"
    )


if __name__ == "__main__":
    main()
