"""Finding and claiming due work among 1,000,000 rows, against the same among 10,000.

``python -m bench.prove_scale [SMALL LARGE]``, on PostgreSQL. Exits 1 when the ratio is over LIMIT.
"""

import sys
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.servers import own_database
from bench.stage import Site, machine, scratch, table, tell

LIMIT = 1.3
ROUNDS, TURNS = 15, 5
DUE = 8000  # in each, so that the rounds find enough


def main() -> None:
    small, large = map(int, sys.argv[1:] or (10_000, 1_000_000))
    tell(machine())
    with scratch() as folder, ExitStack() as stack:
        sites: dict[str, Site] = {}
        for name, rows, due in (
            ("small", small, DUE),
            ("large", large, DUE),
            ("large, as large a share due", large, large * DUE // small),
        ):
            database = stack.enter_context(own_database("postgresql", folder))
            site = Site(
                folder / name.replace(" ", "-"), database, "memory://", "http://127.0.0.1:9"
            )
            stack.callback(site.close)
            site.open()
            site.do("command", "migrate", "--verbosity=0")
            found = site.do("bench.scale:load", rows, due)
            tell(f"{name}: {site.do('bench.scale:table_size')}, {found} due")
            sites[name] = site
        times: dict[str, list[dict[str, float]]] = {name: [] for name in sites}
        for _ in range(TURNS):  # in turns, so that what else the machine does meets all alike
            for name, site in sites.items():
                times[name].append(site.do("bench.scale:measure", ROUNDS))
        figures = {name: summed(turns) for name, turns in times.items()}
        for name, plan in sites["large"].do("bench.scale:plans").items():
            tell(f"\n{name}:\n{plan}")
            assert "connected_accounts_due" in plan
            assert "Seq Scan" not in plan
        rows = [
            {
                "database": name,
                "finding, ms": mine["find"],
                "claiming 64, ms": mine["claim"],
                "ratio": round(sum(mine.values()) / sum(figures["small"].values()), 2),
            }
            for name, mine in figures.items()
        ]
        table(rows)
    sys.exit(any(row["ratio"] > LIMIT for row in rows))


def summed(turns: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(median(turn[name] for turn in turns), 2) for name in turns[0]}


if __name__ == "__main__":
    main()
