"""What ten million accounts need, worked out from the committed figures, for the scaling page."""

import json
import math
import sys
from pathlib import Path
from typing import Any

from bench import report

PAGE = Path(__file__).resolve().parent.parent / "docs" / "auditors" / "scaling.md"
SIMULATED = Path(__file__).with_name("simulation.json")
BEGIN, END = "<!-- figures: python -m bench.scaling -->", "<!-- end of figures -->"
ACCOUNTS = 10_000_000
REFRESH_AT = 0.66
HEADROOM = 3  # times the average: what a backlog is worked off with
LIVES = {"1 hour": 3600, "10 hours": 36000, "24 hours": 86400, "14 days": 14 * 86400}


def figure(results: report.Results, name: str, who: str) -> float:
    tables = {figures["name"]: figures["figures"] for figures in results["measured"]}
    return float(tables[name][who]["median"])


def needs(results: report.Results) -> str:
    """A table by the life of the access token."""
    rate = figure(results, "Refresh, 100 ms latency", "ours")
    cpu = figure(results, "CPU per refresh, 100 ms latency", "ours") / 1000
    database = figure(results, "Database's CPU per refresh, 100 ms latency", "ours") / 1000
    lines = [
        "| Access tokens live for | Refreshes a second | Drains at once | Connections | Worker "
        "cores, average | Database cores, average |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, life in LIVES.items():
        average = ACCOUNTS / (life * REFRESH_AT)
        drains = max(math.ceil(average * HEADROOM / rate), 1)
        lines.append(
            f"| {name} | {average:.0f} | {drains} | {drains} | {average * cpu:.2g} "
            f"| {average * database:.2g} |"
        )
    return "\n".join(lines) + "\n"


def disk(results: report.Results) -> str:
    name = "Disk, for each account"
    lines = ["| | Bytes for each account | Ten million accounts |", "| --- | --- | --- |"]
    for what in ("table", "all indexes", "index on due"):
        each = figure(results, name, what)
        lines.append(f"| {what} | {each:.0f} | {each * ACCOUNTS / 2**30:.1f} GiB |")
    return "\n".join(lines) + "\n"


def simulated(found: dict[str, Any]) -> str:
    lines = [
        "| Accounts | Life | Calls a second | Most due | Most overdue | Caught up after |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for day in found.values():
        world = day["world"]
        later = max(day["caught up at hour"] - world["outage"][1] / 3600, 0) * 60
        lines.append(
            f"| {world['accounts']:,} | {world['life'] / 3600:g} h | {world['rate']:g} "
            f"| {day['most due']:,} | {day['most overdue']:,} | {later:.0f} min |"
        )
    return "\n".join(lines) + "\n"


def text() -> str:
    results = report.load()
    found = json.loads(SIMULATED.read_text(encoding="utf-8"))
    return "\n".join([needs(results), disk(results), simulated(found)])


def page_with(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(text())
