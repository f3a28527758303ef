"""Taking figures: everybody in turn within one run, several times, medians and spread.

A measurement is a module with ``measure(scale) -> list[Figures]``. Each runs in a process of its
own, started by ``python -m bench``, and prints its figures as JSON.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

RUNS = 5
ROUNDED = 2 / os.sysconf("SC_CLK_TCK")  # seconds by which process_cpu may be wrong


class WorkNotDone(Exception):
    """Somebody was fast because they did not do what was asked."""


@dataclass
class Goal:
    """``of`` divided by ``against`` is to be at least (``>=``) or at most (``<=``) ``bound``."""

    of: str
    against: str
    sense: str = ""
    bound: float = 0.0
    what: str = ""  # the budget's own words; empty: a ratio to know, not to reach


@dataclass
class Figures:
    """One table: a name, a unit, and for each contender one figure per run."""

    name: str
    unit: str
    runs: dict[str, list[float]]
    goals: list[Goal] = field(default_factory=list)
    note: str = ""

    def median(self, who: str) -> float:
        return statistics.median(self.runs[who])

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "note": self.note,
            "figures": {
                who: {
                    "median": rounded(statistics.median(found)),
                    "low": rounded(min(found)),
                    "high": rounded(max(found)),
                    "runs": [rounded(one) for one in found],
                }
                for who, found in self.runs.items()
            },
            "ratios": [self._ratio(goal) for goal in self.goals],
        }

    def _ratio(self, goal: Goal) -> dict[str, Any]:
        ratio = self.median(goal.of) / self.median(goal.against)
        pairs = [a / b for a, b in zip(self.runs[goal.of], self.runs[goal.against], strict=False)]
        met = None
        if goal.sense:
            met = ratio >= goal.bound if goal.sense == ">=" else ratio <= goal.bound
        told = {"ratio": rounded(ratio), "low": rounded(min(pairs)), "high": rounded(max(pairs))}
        return asdict(goal) | told | {"met": met}


median = statistics.median


def rounded(number: float) -> float:
    """Four significant digits: more would pretend."""
    return 0.0 if not number else round(number, 3 - math.floor(math.log10(abs(number))))


def interleaved(
    contenders: Mapping[str, Callable[[], float]], *, runs: int = RUNS, warm: bool = True
) -> dict[str, list[float]]:
    """One figure of each contender per run, in turn, each run beginning with another of them."""
    names = list(contenders)
    found: dict[str, list[float]] = {name: [] for name in names}
    for run in range(-1 if warm else 0, runs):
        for name in names[run % len(names) :] + names[: run % len(names)]:
            figure = contenders[name]()
            if run >= 0:
                found[name].append(figure)
            say(f"  {'warm-up' if run < 0 else f'run {run + 1}'}: {name}: {figure:.4g}")
    return found


def cpu_ms(work: Callable[[], Any], times: int) -> float:
    """Milliseconds of this process's CPU, all threads, for each of ``times`` calls."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) * 1000 / times


def process_cpu(pid: int) -> float:
    """Seconds of CPU that another process has used (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def expect(done: bool, what: str) -> None:
    if not done:
        raise WorkNotDone(what)


def publish(measure: Callable[[float], list[Figures]]) -> None:
    """The end of every measurement's module: run it and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--out", default="", help="a file for the JSON, else standard output")
    options = parser.parse_args()
    text = json.dumps([figures.as_json() for figures in measure(options.scale)], indent=1)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as out:
            out.write(text)
    else:
        print(text)
