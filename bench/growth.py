"""What a refresh leaves behind in PostgreSQL, here and at the commit before this was begun.

Both trees refresh by their own code, each on a server of its own with autovacuum as PostgreSQL has
it, but more often, since a round here follows the last within seconds. The first round comes after
a checkpoint, with each page logged whole once, and is not counted.
"""

import itertools
import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bench import growth_rounds, harness, postgres, site, stub
from bench.before import HERE, checked_out, run_in
from bench.harness import Figures, Goal, expect

BEFORE = "68544328"  # text in the sealed columns, PostgreSQL's own settings for the tables
ACCOUNTS, ROUNDS, MORE = 10_000, 5, 1  # one more here: 50,000 refreshes after the first round
UNVACUUMED, UNVACUUMED_ROUNDS, LOOKS = 2_000, 20, 25
SETTINGS = ("autovacuum_naptime=1s", "checkpoint_timeout=1h", "max_wal_size=8GB")
NOW, THEN = "now", "before"
LATE, FRESH = "after 20 rounds without VACUUM", "just after VACUUM"
WHOLE = f"{LATE}, from the first row on"
ALLOWED = 2 * 2**20  # bytes that a worker may grow by


def measure(scale: float) -> list[Figures]:
    accounts = max(int(ACCOUNTS * scale), 200)
    with checked_out(BEFORE) as tree:
        told = {NOW: grown(HERE, accounts, ROUNDS + MORE), THEN: grown(tree, accounts, ROUNDS)}
    runs = {who: one["rounds"][1:ROUNDS] for who, one in told.items()}
    log = each("Log (WAL) per refresh", "bytes", runs, "log", 1)
    log.goals = [Goal(NOW, THEN, "<=", 0.65, "log per refresh against before")]
    log.note = f"{accounts} accounts; right after a checkpoint " + listed(
        {who: one["rounds"][0]["log"] for who, one in told.items()}
    )
    cpu = each("Database's CPU per refresh, round after round", "ms", runs, "cpu", 1000)
    cpu.goals = [Goal(NOW, THEN, "<=", 0.6, "database's CPU per refresh against before")]
    hot = each("Updates without a new entry in an index", "of four", runs, "hot", 1)
    hot.note = "two of the account, two of its ledger entry"
    last = {who: found[-1:] for who, found in runs.items()}
    table = each(f"Table, for each account after {ROUNDS} rounds", "bytes", last, "table", 1)
    table.goals = [Goal(NOW, THEN, "<=", 0.65, "table after rounds against before")]
    table.note = "just stored " + listed({who: one["new"]["table"] for who, one in told.items()})
    return [log, cpu, hot, table, memory(told[NOW]["rounds"], accounts), unvacuumed(scale)]


def listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{who} {figure:.0f}" for who, figure in figures.items())


def grown(tree: Path, accounts: int, rounds: int) -> dict[str, Any]:
    """What the rounds of one tree took, by its own code."""
    source = Path(growth_rounds.__file__).read_text(encoding="utf-8")
    with postgres.private_server(*SETTINGS) as server, postgres.new_database(server) as url:
        told: dict[str, Any] = json.loads(run_in(tree, source, accounts, rounds, url=url))
    for number, one in enumerate(told["rounds"], 1):
        harness.say(f"  {tree.name}, round {number}: {one['log']:.0f} bytes of log each")
    return told


def each(
    name: str, unit: str, runs: dict[str, list[dict[str, float]]], what: str, times: float
) -> Figures:
    return Figures(
        name, unit, {who: [one[what] * times for one in found] for who, found in runs.items()}
    )


def memory(rounds: list[dict[str, float]], accounts: int) -> Figures:
    """Growth of the process that refreshes, from the end of the first round to that of the last."""
    grown = rounds[-1]["memory"] - rounds[0]["memory"]
    done = accounts * (len(rounds) - 1)
    found = Figures(f"Growth of a worker by {done} refreshes", "bytes", {})
    found.runs = {"grown": [max(grown, 0)], "allowed": [ALLOWED]}
    found.goals = [Goal("grown", "allowed", "<=", 1, "growth of a worker against 2 MiB")]
    return found


def unvacuumed(scale: float) -> Figures:
    """The look of a drain where nothing was vacuumed for 20 rounds, and the last drain ended while
    more was due."""
    accounts = max(int(UNVACUUMED * scale), 400)
    with (
        postgres.private_server(*SETTINGS, "autovacuum=off") as server,
        postgres.new_database(server) as url,
    ):
        os.environ["DATABASE_URL"] = url
        site.start("http://127.0.0.1:9", concurrency=64)
        now = refreshed_for_long(accounts)
        found = {LATE: looks(now), WHOLE: looks(now, whole=True)}
        from bench import rows

        rows.analyze()
        found[FRESH] = looks(now)
    look = Figures("Look for what is due", "ms", found)
    look.goals = [
        Goal(LATE, FRESH, "<=", 1.5, "due scan after 20 rounds against after VACUUM"),
        Goal(WHOLE, FRESH),
    ]
    look.note = f"whether any is, and the 64 that are due first of {accounts}"
    return look


def refreshed_for_long(accounts: int) -> datetime:
    """All of it, a round for each life of the tokens, and then a part; the time at the end."""
    from django.conf import settings
    from django.db import connection
    from django.utils import timezone

    from bench import rows
    from bench.refresh import move_stub
    from connected_accounts.refresh.drain import drain

    with stub.running() as provider:
        move_stub(settings, provider.url)
        rows.make_ours(rows.make_users(accounts))
        with connection.cursor() as cursor:
            growth_rounds.shuffle(cursor)
        now = timezone.now()
        for number in range(UNVACUUMED_ROUNDS):
            now += timedelta(seconds=stub.LIFE)
            done = drain("gitea", now=now, seconds=600).refreshed
            expect(done == accounts, f"round {number}: {done} of {accounts}")
        now += timedelta(seconds=stub.LIFE)
        begun = itertools.count()
        done = drain("gitea", now=now, stop=lambda: next(begun) > 0).refreshed
    expect(0 < done <= accounts - 64, f"{done} of {accounts} refreshed, and none is left")
    return now


def looks(now: datetime, *, whole: bool = False) -> list[float]:
    """ms on the wall, several times; ``whole``: from the first row in the index on."""
    from django.db import transaction

    from connected_accounts.models import ConnectedAccount, ProviderState
    from connected_accounts.refresh.due import beginning_of, is_due

    states = ProviderState.objects.filter(provider="gitea")
    known = states.get()
    if whole:
        states.update(due_from=None)
    beginning = beginning_of(states.get(), now)
    expect((beginning is None) is whole, "where the look begins")
    rows = ConnectedAccount.objects.at("gitea").due_for_refresh(now)
    rows = rows if beginning is None else rows.filter(refresh_at__gte=beginning)
    found = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        due = is_due("gitea", now)
        with transaction.atomic():
            locked = rows.select_for_update(skip_locked=True)
            pks = list(locked.values_list("pk", flat=True)[:64])
        found.append((time.perf_counter() - began) * 1000)
        expect(due and len(pks) == 64, f"{len(pks)} found")
    states.update(due_from=known.due_from)
    return found


if __name__ == "__main__":
    harness.publish(measure)
