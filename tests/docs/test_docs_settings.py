"""The documentation of settings, checks and limits says what the code does."""

import importlib
import itertools
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from connected_accounts import conf
from tests.docs.doc_pages import (
    PACKAGE,
    Row,
    column,
    names,
    page,
    quantity,
    sources,
    table,
    tables,
    value,
)


@pytest.mark.parametrize(
    ("heading", "defaults"),
    [("Top level", conf.DEFAULTS), ("One provider", conf.PROVIDER_DEFAULTS)],
)
def test_every_setting_is_documented_with_its_default(
    heading: str, defaults: Mapping[str, Any]
) -> None:
    documented = {
        names(row["Key"])[0]: value(row["Default"])
        for row in table("reference/settings.md", heading)
    }
    assert documented == defaults


def test_the_ranges_of_numbers_are_those_that_the_check_demands() -> None:
    documented = {}
    for row in table("reference/settings.md", "Top level"):
        found = re.fullmatch(r"([\d.]+) to ([\d.]+)", row["Range"])
        if found:
            documented[names(row["Key"])[0]] = (float(found[1]), float(found[2]))
    assert documented == conf._LIMITS


def test_every_check_is_documented() -> None:
    raised = set()
    for _, text in sources():
        raised |= set(re.findall(r"\"([EW]\d{3})\"", text))
        raised |= set(re.findall(r"id=\"connected_accounts\.([EW]\d{3})\"", text))
    documented = column(tables(page("reference/checks.md"))[0], "Id")
    retired = {"E009"}
    assert documented == sorted(f"connected_accounts.{name}" for name in raised | retired)


def limit_rows() -> list[Row]:
    return list(itertools.chain.from_iterable(tables(page("auditors/limits.md"))))


def in_the_code(path: str) -> float:
    if "." not in path:
        number = conf.DEFAULTS[path]
        return float(number) * (86400 if path.endswith("_DAYS") else 1)
    module, _, name = path.rpartition(".")
    number = getattr(importlib.import_module(module), name)
    return number.total_seconds() if isinstance(number, timedelta) else float(number)


@pytest.mark.parametrize("row", limit_rows(), ids=lambda row: str(row["In the code"]).strip("`"))
def test_a_limit_is_that_of_the_code(row: Row) -> None:
    path = names(row["In the code"])[0]
    assert quantity(row["Value"]) == pytest.approx(in_the_code(path), rel=1e-9)


def test_every_limit_of_the_code_is_documented() -> None:
    constant = re.compile(r"^([A-Z][A-Z_]+): Final = (?:timedelta|[\d.])", re.MULTILINE)
    found = set()
    for path, text in sources():
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found |= {f"{module}.{name}" for name in constant.findall(text)}
    documented = set(column(limit_rows(), "In the code"))
    assert found == {name for name in documented if "." in name}
    assert {name for name in documented if "." not in name} == set(conf._LIMITS)
