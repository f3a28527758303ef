"""Lower bounds of dependencies: the same in pyproject.toml, in the tests and in the docs."""

import re
import tomllib

from tests.docs.doc_pages import ROOT, names, page, tables


def floors() -> dict[str, str]:
    """Package and lower bound, of each dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pairs = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in project["dependencies"]]
    assert all(pairs), "a dependency has no lower bound"
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_the_oldest_set_is_that_of_the_lower_bounds() -> None:
    lines = (ROOT / ".ci/oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins.keys() == floors().keys()
    for package, floor in floors().items():
        assert re.fullmatch(rf"{re.escape(floor)}(\.0)*", pins[package]), package


def test_each_lower_bound_has_its_reason() -> None:
    rows = tables(page("auditors/dependencies.md"))[0]
    assert {names(row["Package"])[0]: row["At least"] for row in rows} == floors()
    assert all(len(row["Because"]) > 15 for row in rows)


def test_the_rules_of_bandit_are_on() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    relaxed = {where for where, rules in lint["per-file-ignores"].items() if "S" in rules}
    cases = "connected_accounts/testing/conformance"
    assert relaxed <= {"bench/**", f"{{tests,example_project/tests,{cases}}}/**"}
