"""Throughput with one, two and four worker processes, sixteen calls in flight in each.

``python -m bench.workers --work`` is one of those processes: it says when it is ready, waits for a
line, drains, and tells what it did.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable

from bench import harness, site, stub
from bench.harness import Figures, Goal, expect

IN_FLIGHT = 16
LATENCY = 0.1
COUNTS = (1, 2, 4)


def work(url: str) -> None:
    """One worker process."""
    site.start(url, concurrency=IN_FLIGHT, migrate=False)
    from django.db import connection

    from connected_accounts.refresh.drain import drain

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    drained = drain("gitea", seconds=600)
    print(json.dumps({"refreshed": drained.refreshed, "failed": drained.failed}), flush=True)


def workers(count: int, each: int, provider: stub.Running, rounds: list[int]) -> float:
    """Accounts per second of ``count`` processes, from the word to go to the last one's end."""
    from bench import rows
    from connected_accounts.models import ConnectedAccount

    rows.make_due()
    pks = ConnectedAccount.objects.order_by("pk").values_list("pk", flat=True)[count * each :]
    ConnectedAccount.objects.filter(pk__in=list(pks)).update(refresh_at=None)
    rows.analyze()
    command = [sys.executable, "-m", "bench.workers", "--work", provider.url]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    told = []
    served = provider.served()
    for process in started:
        assert process.stdout is not None
        expect(process.stdout.readline() == "ready\n", "a worker process starts")
    began = time.perf_counter()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        assert process.stdout is not None
        told.append(json.loads(process.stdout.readline()))
    took = time.perf_counter() - began
    for process in started:
        process.communicate(timeout=30)
    done = sum(one["refreshed"] for one in told)
    expect(done == count * each and provider.served() - served == done, f"{count} workers: {told}")
    due = ConnectedAccount.objects.with_token().order_by("pk")[: count * each]
    for row in due:
        rounds[int(row.subject)] += 1
        kept = row.open_token()["access_token"]
        good = kept == stub.token("a", row.subject, rounds[int(row.subject)])
        expect(good and row.lease_holder is None, f"account {row.subject}")
    return done / took


def measure(scale: float) -> list[Figures]:
    with stub.running(LATENCY) as provider:
        site.start(provider.url, concurrency=IN_FLIGHT)
        from bench import rows

        rows.delete_rows()
        each = max(int(800 * scale), 48)
        rounds = [0] * (each * COUNTS[-1])
        rows.make_ours(rows.make_users(len(rounds)))

        def running(count: int) -> Callable[[], float]:
            return lambda: workers(count, each, provider, rounds)

        named = {f"{count} process{'es' * (count > 1)}": count for count in COUNTS}
        runs = harness.interleaved({name: running(count) for name, count in named.items()})
    figures = Figures("Worker processes, 100 ms latency", "accounts per second", runs)
    figures.goals = [
        Goal("2 processes", "1 process", ">=", 1.8, "two worker processes against one"),
        Goal("4 processes", "1 process"),
    ]
    figures.note = f"{IN_FLIGHT} in flight in each, {each} accounts for each"
    return [figures]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        harness.publish(measure)
