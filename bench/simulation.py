"""A simulated day of ten million accounts: what is due, in flight and overdue, with an outage.

A sample of the accounts is followed one by one, in steps of ten seconds, by the same rules as the
package: due at a share of the token's life with jitter, oldest first, after a failure a wait that
doubles from a minute to an hour. The capacity is the workers' measured rate; while the provider
does not answer, each call holds its place until the time-out.

``python -m bench.simulation`` writes the plots into the documentation.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PLOTS = Path(__file__).resolve().parent.parent / "docs" / "auditors"
RESULT = Path(__file__).with_name("simulation.json")
STEP = 10.0  # seconds
DAY = 86400.0


@dataclass
class World:
    """What is simulated. Times in seconds; the outage as its beginning and its end."""

    accounts: int = 10_000_000
    sample: int = 20  # one account followed stands for so many
    life: float = 86400.0
    refresh_at: float = 0.66
    jitter: float = 0.1
    first_backoff: float = 60.0
    max_backoff: float = 3600.0
    new_in_a_day: int = 100_000
    rate: float = 500.0  # of all workers, calls that can be finished in a second
    places: int = 128  # calls in flight at most, of all workers
    latency: float = 0.1
    time_out: float = 10.0
    outage: tuple[float, float] = (10 * 3600.0, 12 * 3600.0)
    seed: int = 1


@dataclass
class Day:
    """What was seen at each step, in accounts."""

    hour: list[float] = field(default_factory=list)
    due: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    overdue: list[int] = field(default_factory=list)  # access token expired
    refreshed: int = 0
    failed: int = 0


def simulate(world: World) -> Day:
    """One day, from a state that has settled."""
    random = np.random.default_rng(world.seed)
    count = world.accounts // world.sample
    period = world.life * world.refresh_at
    # People connect by day: the refreshes begin as uneven as that, and jitter evens them out.
    waves = 1 + 0.5 * np.sin(2 * np.pi * random.random(count * 2))
    kept = random.random(count * 2) * 1.5 < waves
    due_at = (random.random(count * 2) * period)[kept][:count]
    expires = due_at + world.life * (1 - world.refresh_at)
    failures = np.zeros(len(due_at), dtype=np.int8)
    day, carried = Day(), 0.0
    for number in range(int(DAY / STEP)):
        now = number * STEP
        due_at, expires, failures = _arrivals(world, now, random, due_at, expires, failures)
        down = world.outage[0] <= now < world.outage[1]
        rate = world.places / world.time_out if down else world.rate
        carried += rate * STEP / world.sample
        due = np.flatnonzero(due_at <= now)
        taken = due
        if len(due) > int(carried):
            taken = due[np.argpartition(due_at[due], int(carried))[: int(carried)]]
            carried -= len(taken)
        else:
            carried = 0.0
        if down:
            failures[taken] = np.minimum(failures[taken] + 1, 12)
            wait = world.first_backoff * 2.0 ** (failures[taken] - 1)
            wait = np.minimum(wait, world.max_backoff) * random.uniform(1, 1.2, len(taken))
            due_at[taken] = now + world.time_out + wait
            day.failed += len(taken) * world.sample
        else:
            share = random.uniform(1 - world.jitter, 1 + world.jitter, len(taken))
            due_at[taken], expires[taken] = now + period * share, now + world.life
            failures[taken] = 0
            day.refreshed += len(taken) * world.sample
        _note(day, world, now, len(due) - len(taken), len(taken), down, expires)
    return day


def _arrivals(world: World, now: float, random: Any, *columns: Any) -> tuple[Any, Any, Any]:
    """Those who connect in this step: most of them by day."""
    due_at, expires, failures = columns
    daily = world.new_in_a_day / world.sample * STEP / DAY
    new = random.poisson(daily * (1 - np.cos(2 * np.pi * now / DAY)))
    if not new:
        return due_at, expires, failures
    share = random.uniform(1 - world.jitter, 1 + world.jitter, new)
    return (
        np.concatenate([due_at, now + world.life * world.refresh_at * share]),
        np.concatenate([expires, np.full(new, now + world.life)]),
        np.concatenate([failures, np.zeros(new, dtype=np.int8)]),
    )


def _note(
    day: Day, world: World, now: float, left: int, taken: int, down: bool, expires: Any
) -> None:
    if round(now) % 120:
        return
    answer = world.time_out if down else world.latency
    busy = min(taken * world.sample / STEP * answer, world.places)
    day.hour.append(round(now / 3600, 3))
    day.due.append(left * world.sample)
    day.in_flight.append(round(busy))
    day.overdue.append(int(np.count_nonzero(expires <= now)) * world.sample)


def told(world: World, day: Day) -> dict[str, Any]:
    """What the page says of the day."""
    over = [hour for hour, due in zip(day.hour, day.due, strict=True) if due > world.rate * 60]
    return {
        "world": asdict(world),
        "refreshed": day.refreshed,
        "failed": day.failed,
        "most due": max(day.due),
        "most overdue": max(day.overdue),
        "most in flight": max(day.in_flight),
        "caught up at hour": max(over) if over else 0.0,
    }


def plot(day: Day, world: World, path: Path) -> None:
    """Three curves over the day, with the outage shaded."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "day"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(8, 7), sharex=True)
    curves = [("due, not yet taken", day.due), ("in flight", day.in_flight)]
    curves.append(("overdue: access token expired", day.overdue))
    for axis, (name, values) in zip(axes, curves, strict=True):
        axis.plot(day.hour, values, linewidth=1.2, color="#3f51b5")
        axis.axvspan(*(at / 3600 for at in world.outage), color="#999999", alpha=0.25)
        axis.set_ylabel("accounts")
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes[-1].set_xlabel("hour of the day; grey: the provider does not answer")
    axes[-1].set_xticks(range(0, 25, 3))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


WORLDS = {
    "scaling-day": World(),
    "scaling-day-short": World(
        accounts=1_000_000, life=3600.0, new_in_a_day=10_000, rate=900.0, sample=2
    ),
}


def main() -> None:
    found = {}
    for name, world in WORLDS.items():
        day = simulate(world)
        plot(day, world, PLOTS / f"{name}.svg")
        found[name] = told(world, day)
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
