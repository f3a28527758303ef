"""What bounds a drain: concurrency, time, rate, and a fair share for the healthy."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise
from typing import Any

import pytest

from connected_accounts import tasks
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount
from connected_accounts.provider_state import rate_limit
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.provider_state.rate_limit import reserve_slots, wait_for_slot
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh import attempts, drain
from connected_accounts.services import refresh
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import at_once, set_row

pytestmark = pytest.mark.django_db

TOKENS = Answer(200, json={"access_token": "new", "refresh_token": "newer", "expires_in": 3600})


@pytest.fixture
def make_due(make_account: Any, now: datetime, badgr: FakeProvider) -> Any:
    """Store accounts that have been due for ``minutes``; the provider takes any token of theirs."""

    def make(count: int, *, minutes: int = 1, **columns: Any) -> list[ConnectedAccount]:
        badgr.script("token", *[TOKENS] * count)
        due = now - timedelta(minutes=minutes)
        return [make_account(refresh_at=due, **columns) for _ in range(count)]

    return make


class Watched:
    """Calls of the provider, as many at a time as there are, each for a moment."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.most = seconds, 0, 0
        self.order: list[int] = []
        self.at: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, attempt: Any) -> Any:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(attempt.account.failure_count)
        time.sleep(self.seconds)
        try:
            return self.ask(attempt)
        finally:
            with self._lock:
                self.now -= 1
                self.at.append(time.monotonic())

    ask = staticmethod(attempts.ask)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    calls = Watched(0.02)
    monkeypatch.setattr("connected_accounts.refresh.attempts.ask", calls)
    return calls


def test_no_more_calls_are_in_flight_than_the_setting_allows(
    make_due: Any, watched: Watched, app_settings: Any, now: datetime
) -> None:
    app_settings(REFRESH_CONCURRENCY=3)
    make_due(20)
    assert drain.drain("badgr", now=now).refreshed == 20
    assert watched.most == 3


def test_a_drain_takes_up_no_work_after_its_time(
    make_due: Any, watched: Watched, app_settings: Any, now: datetime
) -> None:
    app_settings(REFRESH_CONCURRENCY=2)
    make_due(30)
    watched.seconds = 0.1
    began = time.monotonic()
    done = drain.drain("badgr", now=now, seconds=0.3)
    assert 0 < done.refreshed < 30
    assert time.monotonic() - began < 5
    assert not ConnectedAccount.objects.exclude(lease_until=None).exists()


def test_older_failing_rows_leave_half_of_the_places_to_healthy_ones(
    make_due: Any, watched: Watched, app_settings: Any, now: datetime
) -> None:
    app_settings(REFRESH_CONCURRENCY=8)
    make_due(40, minutes=60, failure_count=5)
    make_due(16, minutes=1)
    assert drain.drain("badgr", now=now).refreshed == 56
    # All that are healthy were sent before the half of the failing ones was.
    first = watched.order[:36]
    assert Counter(first)[0] == 16


def test_oldest_due_comes_first(
    make_due: Any, watched: Watched, app_settings: Any, now: datetime
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    late = [make_due(1, minutes=minutes)[0].pk for minutes in (5, 90, 30)]
    drain.drain("badgr", now=now)
    order = ConnectedAccount.objects.order_by("refreshed_at").values_list("pk", flat=True)
    assert list(order) == [late[1], late[2], late[0]]


def test_one_worker_alone_still_gets_to_failing_rows(
    make_due: Any, app_settings: Any, now: datetime
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    make_due(3, failure_count=2)
    assert drain.drain("badgr", now=now).refreshed == 3


def test_under_a_rate_limit_sends_are_apart_though_answers_are_slow(
    make_due: Any,
    monkeypatch: pytest.MonkeyPatch,
    provider_settings: Any,
    app_settings: Any,
    now: datetime,
) -> None:
    app_settings(REFRESH_CONCURRENCY=4)
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=20)
    make_due(24)
    sent: list[float] = []
    send = attempts._ask_once

    def slow(attempt: Any) -> Any:
        sent.append(time.monotonic())
        time.sleep(0.3 if len(sent) % 8 else 0.01)
        return send(attempt)

    monkeypatch.setattr(attempts, "_ask_once", slow)
    assert drain.drain("badgr", now=now).refreshed == 24
    for start in sent:
        in_a_second = sum(start <= moment < start + 1 for moment in sent)
        assert in_a_second <= 20 + 1  # a thread may wake up late


def test_a_claim_that_takes_long_moves_no_slot_into_anothers(
    make_due: Any,
    badgr: FakeProvider,
    provider_settings: Any,
    app_settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    now: datetime,
) -> None:
    app_settings(REFRESH_CONCURRENCY=2)
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=10)
    make_due(8)
    slots: list[float] = []
    delays = cycle((0.15, 0.0))
    send, claim = attempts._ask_once, drain.claim

    def seen(attempt: Any) -> Any:
        slots.append(attempt.not_before)
        return send(attempt)

    def slow_at_times(*args: Any, **kwargs: Any) -> Any:
        time.sleep(next(delays))
        return claim(*args, **kwargs)

    monkeypatch.setattr(attempts, "_ask_once", seen)
    monkeypatch.setattr(drain, "claim", slow_at_times)
    assert drain.drain("badgr", now=now).refreshed == 8
    slots.sort()
    assert min(later - slot for slot, later in pairwise(slots)) > 0.05


@pytest.mark.django_db(transaction=True)
def test_workers_share_the_places_of_a_second(provider_settings: Any, now: datetime) -> None:
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=40)
    provider = get_provider("badgr")
    get_or_create_state("badgr")
    given = at_once(lambda: reserve_slots(provider, 10, now=now), threads=6)
    places = sorted(place for some in given for place in some)
    assert len(places) <= 40
    assert len(set(places)) == len(places)


def test_drains_cannot_take_all_places_from_a_person_who_waits(
    provider_settings: Any, db: None
) -> None:
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=10)
    provider = get_provider("badgr")
    assert len(reserve_slots(provider, 100)) == 10
    assert reserve_slots(provider, 100, ahead=timedelta(seconds=0.5)) == []
    assert 0.5 < wait_for_slot(provider) < 2


def test_the_rate_is_kept_even_if_a_single_request_must_be_refused(
    make_account: Any, badgr: FakeProvider, provider_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=0.01)
    monkeypatch.setattr(rate_limit, "PATIENCE", 0.3)
    account = make_account()
    reserve_slots(get_provider("badgr"), 1)
    with pytest.raises(ProviderUnavailable) as caught:
        refresh(account)
    assert (caught.value.code, caught.value.sent) == ("rate_limited", False)
    assert badgr.requests == []
    assert (account.lease_until, account.attempt_started_at, account.failure_count) == (
        None,
        None,
        0,
    )


# --- One bad row ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"token": None},
        {"inputs": ["no", "such"]},
        {"inputs": "text"},
        {"scopes_granted": 5},
        {"scopes_granted": [{"of": "another shape"}]},
        {"scopes_requested": 5},
        {"endpoint_fingerprint": ""},
        {"client_id": ""},
        {"refresh_token_expires_at": datetime(9999, 12, 31, tzinfo=UTC)},
    ],
    ids=repr,
)
def test_a_malformed_row_stops_no_other(make_due: Any, now: datetime, columns: Any) -> None:
    from datetime import UTC

    if "refresh_token_expires_at" in columns:
        columns = {"refresh_token_expires_at": datetime(9999, 12, 31, tzinfo=UTC)}
    bad, *others = make_due(5)
    columns = {
        name: value for name, value in columns.items() if value is not None or name == "token"
    }
    if columns:
        set_row(bad, **columns)
    drain.drain("badgr", now=now)
    for account in others:
        account.refresh_from_db()
        assert account.refreshed_at is not None
    bad.refresh_from_db()
    assert bad.lease_until is None


@pytest.mark.parametrize(
    "hook",
    ["parse_token_response", "prepare_token_request", "request_headers", "resolve_endpoints"],
)
def test_a_hook_that_raises_for_one_row_stops_no_other(
    make_due: Any,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_due(4)
    work, calls, bound = getattr(Badgr, hook), iter(range(1000)), Badgr.bound
    # What the first row finds of the addresses is for all, and asked for again where it fails.
    fails = {"resolve_endpoints": 0}.get(hook, 1)

    def for_a_row(self: Badgr, **values: Any) -> Badgr:
        one = bound(self, **values)
        one.options = {**one.options, "of a row": True}
        return one

    def raises_once(self: Badgr, *arguments: Any) -> Any:
        # Settings are checked on use, which resolves endpoints too: not those calls.
        if "of a row" in self.options and next(calls) == fails:
            raise KeyError("a-secret-in-a-message")
        return work(self, *arguments)

    monkeypatch.setattr(Badgr, "bound", for_a_row)
    monkeypatch.setattr(Badgr, hook, raises_once)
    assert vars(drain.drain("badgr", now=now)) == {"refreshed": 3, "failed": 1}
    assert ConnectedAccount.objects.get(failure_count=1).last_error == "hook_failed"
    assert "a-secret" not in caplog.text


def test_a_provider_whose_hooks_always_raise_stops_no_other_provider(
    make_due: Any,
    make_account: Any,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    bitbadges: FakeProvider,
) -> None:
    from connected_accounts.providers.bitbadges import BitBadges

    def raises(self: BitBadges, inputs: Any) -> Any:
        raise KeyError("resolve")

    make_account(provider="bitbadges", refresh_at=now - timedelta(minutes=5))
    [account] = make_due(1)
    monkeypatch.setattr(BitBadges, "resolve_endpoints", raises)
    for alias in ("bitbadges", "badgr"):
        tasks.drain_refreshes.apply((alias,)).get()
    account.refresh_from_db()
    assert account.refreshed_at is not None
