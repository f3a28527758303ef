"""Each row of the page of threats names tests that are collected, or says why it has none."""

import itertools
import re
import subprocess
import sys

from tests.docs.doc_pages import ROOT, Row, names, page, tables

PAGE = "auditors/threats.md"
WHY = "Not here: "


def rows() -> list[Row]:
    return list(itertools.chain.from_iterable(tables(page(PAGE))))


def named(row: Row) -> list[str]:
    """The tests that a row names: ``refresh/test_x.py::test_y``."""
    return [name for name in names(row["Held by"]) if "::" in name]


def test_every_row_names_a_test_or_says_why_not() -> None:
    for row in rows():
        assert len(row["Row"]) > 1
        assert len(list(row.values())[1]) > 10, row
        has_reason = row["Held by"].startswith(WHY) and len(row["Held by"]) > len(WHY) + 20
        assert bool(named(row)) != has_reason, row


def test_no_row_stands_there_twice_and_none_is_left_out() -> None:
    ids = [row["Row"] for row in rows()]
    assert len(ids) == len(set(ids))
    numbers = {int(number) for number in re.findall(r"\bA(\d\d)\b", " ".join(ids))}
    assert numbers == set(range(1, 88)) - {79}
    for part in sorted({name.partition(".")[0] for name in ids if "." in name}):
        of_part = [int(name.partition(".")[2]) for name in ids if name.startswith(f"{part}.")]
        assert of_part == list(range(1, len(of_part) + 1)), part


def test_every_test_that_is_named_is_collected() -> None:
    wanted = {name for row in rows() for name in named(row)}
    files = sorted({f"tests/{name.partition('::')[0]}" for name in wanted})
    assert len(files) > 20
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly"]
    run = subprocess.run(
        [*command, "-n", "0", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:]
    collected = set()
    for line in filter(lambda line: "::" in line, run.stdout.splitlines()):
        file, *_, function = line.partition("[")[0].split("::")
        collected.add(f"{file.removeprefix('tests/')}::{function}")
    assert wanted - collected == set()
