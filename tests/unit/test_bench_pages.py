"""The pages on performance and scaling say what the committed figures say."""

import ast
import importlib
from pathlib import Path

import pytest

from bench import harness, report, scaling, stub
from bench.harness import Figures, Goal

BENCH = Path(report.__file__).parent


def test_the_page_on_performance_holds_the_committed_figures() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert page == report.page_with(report.load(), page), "run python -m bench.report"


def test_the_page_on_scaling_holds_what_follows_from_them() -> None:
    page = scaling.PAGE.read_text(encoding="utf-8")
    assert page == scaling.page_with(page), "run python -m bench.scaling"


def test_every_budget_is_in_the_committed_figures() -> None:
    measured = report.load()["measured"]
    budgets = [ratio for figures in measured for ratio in figures["ratios"] if ratio["what"]]
    assert len(budgets) == 12
    assert len({budget["what"] for budget in budgets}) == 12


@pytest.mark.parametrize("name", ["refresh", "connecting", "reading", "page", "startup", "due"])
def test_a_measurement_says_what_it_measures(name: str) -> None:
    source = BENCH.joinpath(f"{name}.py").read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert callable(importlib.import_module(f"bench.{name}").measure)


def test_a_ratio_is_of_medians_and_is_met_or_not() -> None:
    figures = Figures("x", "ms", {"ours": [1.0, 2.0, 30.0], "theirs": [4.0, 4.0, 5.0]})
    figures.goals = [Goal("ours", "theirs", "<=", 0.5, "a"), Goal("ours", "theirs", ">=", 0.6, "b")]
    told = figures.as_json()["ratios"]
    assert [(ratio["ratio"], ratio["met"]) for ratio in told] == [(0.5, True), (0.5, False)]


def test_everybody_has_a_turn_in_each_run() -> None:
    turns: list[str] = []
    found = harness.interleaved(
        {name: lambda name=name: float(turns.append(name) or 1) for name in "abc"}, runs=2
    )
    assert found == {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0]}
    assert sorted(turns) == sorted("abc" * 3)


def test_the_stubs_tokens_tell_the_account_and_the_round() -> None:
    first = stub.grant(7, 0)
    assert stub.answer_to(stub.USER_PATH, f"Bearer {first['access_token']}", "")["id"] == "7"
    body = f"grant_type=refresh_token&refresh_token={first['refresh_token']}"
    assert stub.answer_to(stub.TOKEN_PATH, "", body) == stub.grant(7, 1)
    assert len(str(first["access_token"])) == stub.ACCESS_LENGTH
