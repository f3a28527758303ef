"""The tables of faults name tests that exist, or say what is not promised."""

import itertools
import re

import pytest

from tests.docs.doc_pages import ROOT, Row, names, page, tables

TESTS = {
    name
    for folder in ("tests", "connected_accounts/testing/conformance")
    for path in (ROOT / folder).rglob("*.py")
    for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
}


def rows(name: str) -> list[Row]:
    return list(itertools.chain.from_iterable(tables(page(name))))


@pytest.mark.parametrize("row", rows("auditors/provider-faults.md"), ids=lambda row: row["Fault"])
def test_each_fault_of_a_provider_has_its_outcome_and_its_test(row: Row) -> None:
    assert row["The account"]
    assert names(row["Test"])
    assert set(names(row["Test"])) <= TESTS


@pytest.mark.parametrize("row", rows("auditors/faults.md"), ids=lambda row: row["No."])
def test_each_fault_has_a_test_or_is_not_promised(row: Row) -> None:
    assert names(row["Tests"]) or "Not promised" in row["What holds"]
    assert set(names(row["Tests"])) <= TESTS


def test_no_fault_of_the_catalogue_is_left_out() -> None:
    found = [number for row in rows("auditors/faults.md") for number in row["No."].split(", ")]
    listed = [*range(1, 21), *range(30, 47), *range(50, 58), *range(60, 80), *range(88, 94)]
    listed += [*range(100, 105), *range(110, 116), *range(120, 130)]
    assert {number[:4].rstrip("bcdef") for number in found} == {f"D{n:02}" for n in listed}
    assert len(found) == len(set(found))
