"""A provider that answers nobody: it is paused and probed, and its accounts stay as they are."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts import signals
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, Event, ProviderState
from connected_accounts.provider_state import outages
from connected_accounts.provider_state.pauses import get_or_create_state, pause
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import Answer, ConnectionRefused, FakeProvider
from tests.journeys import at_once, expire, set_row

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def accounts(
    make_account: Any, now: datetime, badgr: FakeProvider, app_settings: Any
) -> list[ConnectedAccount]:
    """Forty that are due, and four at a time."""
    app_settings(REFRESH_CONCURRENCY=4)
    return [make_account(refresh_at=now - 10 * MINUTE) for _ in range(40)]


def state() -> ProviderState:
    return ProviderState.objects.get(provider="badgr")


def asked(badgr: FakeProvider) -> int:
    return len(badgr.sent_to("token"))


def down(badgr: FakeProvider, now: datetime) -> None:
    """An outage that was noticed at ``now``."""
    badgr.unavailable()
    drain("badgr", now=now)
    assert state().pause_reason == "outage"


def back(badgr: FakeProvider) -> None:
    """The provider answers again, and takes every refresh token."""
    badgr.available()
    tokens = {"access_token": "new", "refresh_token": "newer", "expires_in": 3600}
    badgr.script("token", *[Answer(200, json=tokens)] * 100)


@pytest.mark.parametrize(
    "fault", [ConnectionRefused(), Answer(503), Answer(429), Answer(200, body="<html>")]
)
def test_a_burst_of_first_failures_pauses_the_provider(
    accounts: list[ConnectedAccount],
    badgr: FakeProvider,
    now: datetime,
    fault: Any,
) -> None:
    heard: list[Any] = []
    signals.reconnect_required.connect(lambda **told: heard.append(told), weak=False)
    badgr.unavailable(fault)
    drained = drain("badgr", now=now)
    assert outages.BURST <= drained.failed <= outages.BURST + 2 * 4
    assert state().pause_reason == "outage"
    assert MINUTE <= state().paused_until - now <= 2 * MINUTE
    untouched = ConnectedAccount.objects.filter(failure_count=0, status="active", last_error="")
    assert untouched.count() == 40 - drained.failed
    assert not ConnectedAccount.objects.exclude(status="active").exists()
    assert heard == []
    assert Event.objects.filter(detail="outage", owner_key="site").count() == 1


def test_a_paused_provider_is_asked_by_one_probe_in_each_growing_step(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    down(badgr, now)
    probes = []
    for minute in range(1, 61):
        before = asked(badgr)
        for _ in range(3):  # two drains, and a second beat
            drain("badgr", now=now + minute * MINUTE)
        assert asked(badgr) - before <= 1
        if asked(badgr) > before:
            probes.append(minute)
    waits = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert probes[0] <= 2
    assert waits == sorted(waits)
    assert waits[0] <= 3
    assert waits[-1] in (15, 16)
    assert not ConnectedAccount.objects.exclude(status="active").exists()


def test_an_answer_to_the_probe_ends_the_pause_and_the_others_follow(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    down(badgr, now)
    back(badgr)
    assert drain("badgr", now=now + 3 * MINUTE).refreshed == 1
    assert (state().pause_reason, state().paused_until, state().failures_in_a_row) == ("", None, 0)
    drain("badgr", now=now + 4 * MINUTE)
    assert not ConnectedAccount.objects.filter(refreshed_at=None).exists()
    assert not ConnectedAccount.objects.exclude(failure_count=0).exists()


def test_failures_with_successes_between_them_pause_nobody(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    tokens = {"access_token": "new", "refresh_token": "newer", "expires_in": 3600}
    flapping = [*[Answer(503)] * 3, Answer(200, json=tokens)] * 10
    badgr.script("token", *flapping)
    assert vars(drain("badgr", now=now)) == {"refreshed": 10, "failed": 30}
    assert state().pause_reason == ""


def test_accounts_that_failed_before_pause_nobody(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    ConnectedAccount.objects.update(failure_count=1)
    badgr.unavailable()
    assert drain("badgr", now=now).failed == 40
    assert state().pause_reason == ""


def test_while_it_is_paused_a_token_that_still_works_is_given_and_nobody_is_asked(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    down(badgr, timezone.now())
    waiting = ConnectedAccount.objects.filter(failure_count=0).first()
    assert waiting is not None
    before = asked(badgr)
    expire(waiting, seconds=30)
    assert get_access_token(waiting) == "stored-access-token"
    expire(waiting)
    with pytest.raises(ProviderUnavailable) as caught:
        get_access_token(waiting)
    assert (caught.value.code, caught.value.sent) == ("paused", False)
    assert asked(badgr) == before


def test_after_a_pause_one_request_that_needs_a_token_is_the_probe(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    down(badgr, timezone.now() - 5 * MINUTE)
    first, second = ConnectedAccount.objects.filter(failure_count=0)[:2]
    before = asked(badgr)
    for account in (first, second):
        expire(account)
        with pytest.raises(ProviderUnavailable):
            get_access_token(account)
    assert asked(badgr) == before + 1
    assert state().paused_until > timezone.now() + MINUTE
    ProviderState.objects.update(paused_until=timezone.now())
    back(badgr)
    assert get_access_token(second) == "new"
    assert state().pause_reason == ""


def test_a_refresh_by_hand_does_not_mind_the_pause_and_ends_it(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    down(badgr, timezone.now())
    steps = state().failures_in_a_row
    with pytest.raises(ProviderUnavailable):
        refresh(accounts[-1])
    assert state().failures_in_a_row == steps
    back(badgr)
    refresh(accounts[-1])
    assert state().pause_reason == ""


def test_failures_of_single_requests_are_counted_together(
    make_account: Any, badgr: FakeProvider
) -> None:
    badgr.unavailable()
    for _ in range(outages.BURST):
        assert ProviderState.objects.filter(pause_reason="outage").count() == 0
        with pytest.raises(ProviderUnavailable):
            refresh(make_account())
    assert state().pause_reason == "outage"


def test_the_wait_that_a_paused_provider_asks_for_is_kept_to(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    badgr.unavailable(Answer(503, headers={"Retry-After": "1800"}))
    drain("badgr", now=now)
    assert state().paused_until - now >= timedelta(minutes=30)


def test_a_probe_that_could_not_be_sent_is_given_back(
    accounts: list[ConnectedAccount], badgr: FakeProvider, now: datetime
) -> None:
    down(badgr, now)
    before = state()
    ConnectedAccount.objects.transition(token=None)
    drain("badgr", now=now + 3 * MINUTE)
    assert (state().paused_until, state().failures_in_a_row) == (
        before.paused_until,
        before.failures_in_a_row,
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("reason", ["outage", "invalid_client"])
def test_of_many_that_would_probe_at_once_one_does(reason: str, now: datetime) -> None:
    get_or_create_state("badgr")
    if reason == "outage":
        outages.suspend("badgr", now=now)
    else:
        pause("badgr", reason, now=now)
    seen = state()
    won = at_once(lambda: outages.take_probe(seen, now + timedelta(minutes=20)))
    assert sum(won) == 1


def test_a_provider_whose_metadata_cannot_be_had_is_paused_without_touching_an_account(
    accounts: list[ConnectedAccount],
    badgr: FakeProvider,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from connected_accounts.providers.badgr import Badgr
    from connected_accounts.providers.base import Endpoints

    def away(self: Badgr, inputs: Any) -> Any:
        raise ProviderUnavailable("no_metadata", sent=False)

    monkeypatch.setattr(Badgr, "known_endpoints", lambda self: Endpoints())
    monkeypatch.setattr(Badgr, "resolve_endpoints", away)
    drain("badgr", now=now)
    assert state().pause_reason == "outage"
    assert not ConnectedAccount.objects.exclude(failure_count=0).exists()


def test_badges_stay_green_with_a_note_and_nobody_is_asked_to_reconnect(
    make_account: Any, ada: Any, client_of_ada: Client, now: datetime
) -> None:
    account = make_account(ada)
    get_or_create_state("badgr")
    outages.suspend("badgr", now=now)
    for failures in (0, 1):
        set_row(account, failure_count=failures)
        text = client_of_ada.get("/connections/").content.decode()
        assert "nothing for you to do" in text
        assert "ca-connected" in text
        assert "Needs you" not in text
    set_row(account, status="reconnect_required", reason="revoked")
    text = client_of_ada.get("/connections/").content.decode()
    assert "Needs you" in text
    assert "nothing for you to do" not in text
