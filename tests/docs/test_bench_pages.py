"""The pages on performance and scaling say what the committed figures say."""

import ast
import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import harness, refresh, report, scaling, stub
from bench.__main__ import MODULES
from bench.harness import Figures, Goal, WorkNotDone
from connected_accounts import conf
from connected_accounts.tokens import lifetimes

BENCH = Path(report.__file__).parent
BUDGETS = 25


def test_the_page_on_performance_holds_the_committed_figures() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert page == report.page_with(report.load(), page), "run python -m bench.report"


def test_the_page_on_scaling_holds_what_follows_from_them() -> None:
    page = scaling.PAGE.read_text(encoding="utf-8")
    assert page == scaling.page_with(page), "run python -m bench.scaling"


def test_the_simulated_days_follow_the_rules_of_the_package() -> None:
    days = json.loads(scaling.SIMULATED.read_text(encoding="utf-8")).values()
    for world in (day["world"] for day in days):
        assert world["refresh_at"] == conf.DEFAULTS["REFRESH_AT"] == scaling.REFRESH_AT
        assert world["jitter"] == conf.JITTER
        assert world["first_backoff"] == lifetimes.FIRST_BACKOFF
        assert world["max_backoff"] == lifetimes.MAX_BACKOFF
        assert world["time_out"] == conf.DEFAULTS["HTTP_TIMEOUT"]


def test_every_budget_is_in_the_committed_figures() -> None:
    measured = report.load()["measured"]
    budgets = [ratio for figures in measured for ratio in figures["ratios"] if ratio["what"]]
    assert len(budgets) == BUDGETS
    assert len({budget["what"] for budget in budgets}) == BUDGETS


def test_what_a_busy_machine_was_asked_a_quiet_one_was_asked_too() -> None:
    quiet, busy = (
        {figures["name"] for figures in report.load(file)["measured"]}
        for file in (report.RESULTS, report.BUSY)
    )
    assert busy <= quiet


@pytest.mark.parametrize("name", MODULES)
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


class Provider(stub.Running):
    """Says how many requests it got."""

    told = 0

    def served(self) -> int:
        return self.told


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that every other process has used."""
    seconds = [0.0]
    monkeypatch.setattr(harness, "process_cpu", lambda pid: seconds[0])
    return seconds


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, cpu: list[float]) -> refresh.Bench:
    here = SimpleNamespace(info=SimpleNamespace(backend_pid=1))
    connection = SimpleNamespace(ensure_connection=lambda: None, connection=here)
    monkeypatch.setattr("django.db.connection", connection)
    return refresh.Bench(Provider("http://127.0.0.1:9", 2), 0.0, 1.0)


def refreshing(bench: refresh.Bench, cpu: list[float], *, asked: int, busy: float = 0.0) -> float:
    """Two accounts, with so many requests and seconds of the provider's."""
    provider = bench.provider
    assert isinstance(provider, Provider)

    def work() -> int:
        provider.told += asked
        cpu[0] += busy
        return 2

    return bench.run("somebody", work)()


@pytest.mark.parametrize("asked", [0, 1, 3])
def test_who_does_not_ask_the_provider_once_for_each_ends_the_run(
    bench: refresh.Bench, cpu: list[float], asked: int
) -> None:
    with pytest.raises(WorkNotDone, match="one request each"):
        refreshing(bench, cpu, asked=asked)
    assert bench.taken == {}


def test_a_provider_that_is_the_slow_one_ends_the_run(
    bench: refresh.Bench, cpu: list[float]
) -> None:
    with pytest.raises(WorkNotDone, match="the provider was busy"):
        refreshing(bench, cpu, asked=2, busy=9.0)


def test_a_run_in_which_the_work_was_done_is_taken(bench: refresh.Bench, cpu: list[float]) -> None:
    assert refreshing(bench, cpu, asked=2) > 0
    assert [one.done for one in bench.taken["somebody"]] == [2]
