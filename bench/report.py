"""From the figures in JSON to the tables that are printed and that stand in the documentation."""

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
BUSY = Path(__file__).with_name("results_busy.json")  # while another process has one of the cores
PAGE = Path(__file__).resolve().parent.parent / "docs" / "auditors" / "performance.md"
BEGIN, END = "<!-- figures: python -m bench.report -->", "<!-- end of figures -->"
Results = dict[str, Any]


def text(results: Results, busy: Results | None = None) -> str:
    """The budgets, the machine, and every table, in Markdown; of the run on a busy machine the
    budgets alone."""
    parts = [budgets(results), machine(results)]
    if busy is not None:
        parts += ["### The same on a busy machine\n", budgets(busy), machine(busy)]
    parts += [table(figures) for figures in results["measured"]]
    return "\n".join(parts)


def budgets(results: Results) -> str:
    lines = ["| Budget | Reach | Measured | |", "| --- | --- | --- | --- |"]
    for figures in results["measured"]:
        for ratio in figures["ratios"]:
            if ratio["what"]:
                reach = f"{'≥' if ratio['sense'] == '>=' else '≤'} {ratio['bound']:g} ×"
                verdict = "met" if ratio["met"] else "not met"
                lines.append(f"| {ratio['what']} | {reach} | {ratio['ratio']:g} × | {verdict} |")
    return "\n".join(lines) + "\n"


def machine(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    sizes = ", ".join(f"{name} {size:g}" for name, size in results["scale"].items())
    return f"Taken on {results['date']}: {results['machine']}. {versions}. Sizes: {sizes}.\n"


def table(figures: dict[str, Any]) -> str:
    lines = [f"### {figures['name']}", "", f"In {figures['unit']}.", ""]
    if figures["note"]:
        lines[2] += f" {figures['note'][0].upper()}{figures['note'][1:]}."
    lines += ["| | Median | Lowest | Highest |", "| --- | --- | --- | --- |"]
    for who, found in figures["figures"].items():
        lines.append(f"| {who} | {found['median']:g} | {found['low']:g} | {found['high']:g} |")
    lines.append("")
    for ratio in figures["ratios"]:
        lines.append(
            f"- {ratio['of']} / {ratio['against']}: {ratio['ratio']:g} "
            f"(run by run {ratio['low']:g} to {ratio['high']:g})"
        )
    return "\n".join([*lines, ""] if figures["ratios"] else lines)


def page_with(results: Results, page: str) -> str:
    """The page with the figures in their place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text(results, load(BUSY))}\n{END}{after}"


def load(file: Path = RESULTS) -> Results:
    found: Results = json.loads(file.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    PAGE.write_text(page_with(load(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(text(load()))
