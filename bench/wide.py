"""Accounts per second of one process with many requests under way, here and at the commit before
this was begun, which is held by the width at which it is fastest.

Either tree is measured by its own code, in a process and a database of its own, in turn.
"""

import json
from pathlib import Path

from bench import harness, postgres
from bench.before import HERE, checked_out, run_in
from bench.growth import BEFORE
from bench.harness import Figures, Goal

ACCOUNTS, RUNS = 3000, 3
HERE_WIDTHS, BEFORE_WIDTHS = (512,), (64, 128, 256, 512)
# Runs in either tree: it names what both have. The first round is the warm-up.
MEASURE = """
import json, sys, time
from bench import site, stub
site.start("http://127.0.0.1:9", concurrency=64)
from django.conf import settings
from bench import rows
from bench.refresh import move_stub
from connected_accounts.refresh.drain import drain

accounts, *widths = map(int, sys.argv[1:])
rates = {}
with stub.running(0.1) as provider:
    move_stub(settings, provider.url)
    rows.make_ours(rows.make_users(accounts))
    for turn, width in enumerate([64, *widths], 1):
        rows.make_due()
        rows.analyze()
        settings.CONNECTED_ACCOUNTS["REFRESH_CONCURRENCY"] = width
        began = time.perf_counter()
        drained = drain("gitea", seconds=600)
        rates[width] = accounts / (time.perf_counter() - began)
        assert drained.refreshed == accounts and not drained.failed, drained
        rows.check_ours(turn)
print(json.dumps([rates[width] for width in widths]))
"""


def measured(tree: Path, accounts: int, widths: tuple[int, ...]) -> list[float]:
    """Accounts per second at each width, by the code of one tree."""
    with postgres.database() as url:
        rates: list[float] = json.loads(run_in(tree, MEASURE, accounts, *widths, url=url))
    harness.say(f"  {widths}: " + ", ".join(f"{rate:.0f}" for rate in rates))
    return rates


def measure(scale: float) -> list[Figures]:
    accounts = max(int(ACCOUNTS * scale), 600)
    runs: dict[str, list[float]] = {}
    with checked_out(BEFORE) as tree:
        for _ in range(RUNS):
            for who, where, widths in (
                ("now", HERE, HERE_WIDTHS),
                ("before", tree, BEFORE_WIDTHS),
            ):
                rates = measured(where, accounts, widths)
                for width, rate in zip(widths, rates, strict=True):
                    runs.setdefault(f"{who}, {width} in flight", []).append(rate)
    now, *others = runs
    best = max(others, key=lambda who: harness.median(runs[who]))
    found = Figures("Refresh, 100 ms latency, one wide process", "accounts per second", runs)
    found.goals = [Goal(now, best, ">=", 3, "512 in flight in one process against the best before")]
    found.note = f"{accounts} accounts"
    return [found]


if __name__ == "__main__":
    harness.publish(measure)
