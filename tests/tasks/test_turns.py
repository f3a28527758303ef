"""Providers that answer slowly, but rightly, starve no other, by the rules of one queue."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.tasks import DRAINS_PER_PROVIDER, EXPIRES, in_turn

NIGHT = datetime(2026, 3, 1, tzinfo=UTC)
SLOW, QUICK = 75, 2  # seconds of a drain: of one that drips for 25 s, and of a healthy one


def longest_wait(*, processes: int, slow: int, seconds: int = 3 * 3600) -> float:
    """Seconds between two drains of the quick provider, at most, beside ``slow`` others that always
    have more due. Beat each minute, one queue, first in first out, and what is too old is dropped.
    """
    aliases = [*(f"slow-{number}" for number in range(slow)), "quick"]
    queue: list[tuple[int, str]] = []
    busy_until, last, longest = [0] * processes, 0, 0
    for second in range(seconds):
        if second % 60 == 0:
            due = in_turn(aliases, NIGHT + timedelta(seconds=second))
            queue += [(second, alias) for alias in due * DRAINS_PER_PROVIDER]
        for process in range(processes):
            while busy_until[process] <= second and queue:
                sent, alias = queue.pop(0)
                if second - sent > EXPIRES:
                    continue
                busy_until[process] = second + (QUICK if alias == "quick" else SLOW)
                if alias == "quick":
                    longest, last = max(longest, second - last), second
    return max(longest, seconds - last)


@pytest.mark.parametrize(
    ("processes", "slow", "most"), [(2, 3, 300), (2, 5, 450), (4, 3, 180), (4, 5, 330)]
)
def test_a_quick_provider_is_drained_beside_slow_ones(
    processes: int, slow: int, most: float
) -> None:
    waited = longest_wait(processes=processes, slow=slow)
    print(f"{processes} processes, {slow} slow: {waited:.0f} s")
    assert waited <= most


def test_each_alias_is_first_in_its_turn_whatever_the_interval_of_beat() -> None:
    aliases = ["a", "b", "c", "d", "e"]
    for minutes in (1, 2, 5, 10, 60):
        beats = [NIGHT + timedelta(minutes=minutes) * number for number in range(600)]
        assert {in_turn(aliases, moment)[0] for moment in beats} == set(aliases), minutes
        assert all(sorted(in_turn(aliases, moment)) == aliases for moment in beats)
    assert in_turn([], NIGHT) == []


def test_every_alias_has_its_first_drain_before_any_has_a_second(monkeypatch: Any) -> None:
    sent: list[str] = []
    monkeypatch.setattr("connected_accounts.refresh.due.is_due", lambda alias, now: True)
    monkeypatch.setattr("connected_accounts.conf.provider_aliases", lambda: ["a", "b", "c"])
    monkeypatch.setattr(
        tasks.drain_refreshes, "apply_async", lambda args, **kwargs: sent.append(args[0])
    )
    tasks.refresh_due_accounts.push_request(called_directly=False, is_eager=False)
    began = timezone.now()
    try:
        tasks.refresh_due_accounts.run()
    finally:
        tasks.refresh_due_accounts.pop_request()
    turns = [in_turn(["a", "b", "c"], moment) for moment in (began, timezone.now())]
    assert sent in [turn * DRAINS_PER_PROVIDER for turn in turns]
