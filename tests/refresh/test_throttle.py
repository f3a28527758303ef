"""A throttle that names its end is obeyed: at the callback, on use and in the drain."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from django.db import transaction
from django.test import Client
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, Event, ProviderState, Status
from connected_accounts.providers.badge_connect import BadgeConnect
from connected_accounts.providers.badgr import Badgr
from connected_accounts.refresh.drain import drain
from connected_accounts.sealing import seal_document
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from connected_accounts.tokens.throttle import Lane, named_wait
from tests.journeys import connect, expire, finish, set_row, start

STEP = 0.1  # second; badgr-server's is two
# A tenth of the accounts are dead. ``python -m bench.throttle`` takes 240, and badgr-server's step,
# and measures what they take.
MEASURED = "THROTTLED_ACCOUNTS" in os.environ
ACCOUNTS = int(os.environ.get("THROTTLED_ACCOUNTS", "30"))
# Beside these, what the drain itself needs is small.
SLOWER = {"step": float(os.environ.get("THROTTLED_STEP", "0.5")), "latency": 0.05}


def locked(seconds: float, **headers: str) -> Answer:
    json = {"error": "login attempts throttled", "expires": seconds}
    return Answer(429, json=json, headers=headers)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", [locked(1), Answer(429, headers={"Retry-After": "1"})])
def test_a_person_who_comes_back_during_a_throttle_is_connected(
    client_of_ada: Client, badgr: FakeProvider, answer: Answer
) -> None:
    params = badgr.authorize(start(client_of_ada))
    badgr.script("token", answer)
    began = time.monotonic()
    assert finish(client_of_ada, params).status_code == 303
    assert time.monotonic() - began >= 1
    assert ConnectedAccount.objects.count() == 1
    assert len(badgr.sent_to("token")) == 2


@pytest.mark.django_db(transaction=True)
def test_credentials_that_are_entered_during_a_throttle_are_connected(
    ada: Any, settings: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    entry = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bits": entry}}
    bits = fake_provider("bits")
    bits.script("token", Answer(429, headers={"Retry-After": "1"}))
    began = time.monotonic()
    assert connect_account(bits, ada).status == Status.ACTIVE
    assert time.monotonic() - began >= 1
    assert len(bits.sent_to("token")) == 2


@pytest.mark.django_db(transaction=True)
def test_a_throttle_that_outlasts_the_deadline_is_told_to_the_person(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada))
    badgr.script("token", locked(3600))
    assert finish(client_of_ada, params).status_code == 502
    assert len(badgr.sent_to("token")) == 1


@pytest.mark.django_db(transaction=True)
def test_who_uses_a_token_waits_out_the_throttle_and_nothing_is_booked(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    badgr.requests.clear()
    expire(account)
    badgr.script("token", locked(STEP), locked(STEP))
    assert get_access_token(account)
    account.refresh_from_db()
    assert (account.failure_count, account.last_error, account.status) == (0, "", Status.ACTIVE)
    assert not Event.objects.filter(kind="refresh_failed").exists()
    assert len(badgr.sent_to("token")) == 3


@pytest.mark.django_db(transaction=True)
def test_a_long_throttle_holds_the_provider_and_books_nothing_on_the_account(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    other = connect(client_of_ada, badgr, subject="bob")
    badgr.requests.clear()
    badgr.script("token", locked(1800))
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    account.refresh_from_db()
    assert (account.failure_count, account.last_error, account.status) == (0, "", Status.ACTIVE)
    assert account.refresh_at > timezone.now() + timedelta(minutes=29)
    [state] = ProviderState.objects.all()
    assert (state.pause_reason, state.failures_in_a_row) == ("", 0)  # no outage
    # Nobody else asks before that end.
    expire(other)
    set_row(other, refresh_at=timezone.now())
    with pytest.raises(ProviderUnavailable):
        get_access_token(other)
    assert vars(drain("badgr")) == {"refreshed": 0, "failed": 0}
    assert len(badgr.sent_to("token")) == 1
    ProviderState.objects.update(next_request_at=timezone.now())
    assert vars(drain("badgr")) == {"refreshed": 1, "failed": 0}


@pytest.mark.django_db(transaction=True)
def test_a_throttle_of_many_accounts_is_no_outage(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    for number in range(14):
        account = connect(client_of_ada, badgr, subject=f"person-{number}")
        set_row(account, refresh_at=timezone.now())
    badgr.script("token", *[locked(STEP)] * 12)
    assert vars(drain("badgr")) == {"refreshed": 14, "failed": 0}
    assert not ConnectedAccount.objects.filter(failure_count__gt=0).exists()
    assert not ProviderState.objects.exclude(pause_reason="").exists()


@pytest.fixture
def badgr_at(settings: Any, own_connections: None) -> Callable[[str], None]:
    def configure(url: str) -> None:
        entry = {
            "BACKEND": "connected_accounts.providers.badgr.Badgr",
            "CLIENT_ID": "client",
            "CLIENT_SECRET": "client-secret",
            "OPTIONS": {"ui_base": url, "api_base": url},
        }
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": entry}}

    return configure


@dataclass
class Twin:
    """badgr-server's throttle: any answer but a 200 locks all for a step, the next for two, and so
    on, until a 200. Its step is shorter, and so is each answer."""

    step: float = STEP
    latency: float = 0.01
    lock_ends: float = 0.0
    failures: int = 0
    while_locked: int = 0
    locks: int = 0
    guard: Any = field(default_factory=threading.Lock)

    def ask(self, dead: bool) -> Any:
        time.sleep(self.latency)
        with self.guard:
            now = time.monotonic()
            if now < self.lock_ends:
                self.while_locked += 1
                wait = self.step * 2 ** (self.failures - 1)
                return ProviderUnavailable("throttled", status=429, retry_after=wait, sent=False)
            if dead:
                self.failures += 1
                self.locks += 1
                self.lock_ends = now + self.step * 2 ** (self.failures - 1)
                return "dead"
            self.failures = 0
            return "alive"


@dataclass
class Most:
    """As a context, counts how many are in it at once; keeps the most."""

    at_once: int = 0
    inside: int = 0
    refused: int = 0
    guard: Any = field(default_factory=threading.Lock)

    def __enter__(self) -> None:
        with self.guard:
            self.inside += 1
            self.at_once = max(self.at_once, self.inside)

    def __exit__(self, *_: object) -> None:
        with self.guard:
            self.inside -= 1


def as_told(url: str) -> float:
    """How long a loop needs that asks for one account after the other, waits as it is told, and
    stores what it got: over the same wire, on the same machine."""
    began = time.monotonic()
    with requests.Session() as session:
        for account in ConnectedAccount.objects.with_token().order_by("refresh_at"):
            form = {"grant_type": "refresh_token"} | dict(account.open_token())
            while (answer := session.post(f"{url}/o/token", form)).status_code == 429:
                time.sleep(answer.json()["expires"])
            token = seal_document({**account.open_token(), **answer.json()}, account)
            with transaction.atomic():
                locked_row = ConnectedAccount.objects.select_for_update().get(pk=account.pk)
                # Written as it was: the drain comes after.
                ConnectedAccount.objects.filter(pk=locked_row.pk).update(label=account.label)
            assert token
    return time.monotonic() - began


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for a throttle's end, each wait as it was asked for."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr("connected_accounts.tokens.throttle.time", clock)
    return waits


def test_side_by_side_until_throttled_and_one_at_a_time_from_then_on(
    monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    people = [number % 10 == 5 for number in range(120)]  # 108 alive, 12 dead
    twin, lane, width, in_turn = Twin(), Lane(), 8, Most()
    first, asked, send_in_turn = Barrier(width), count(), lane._in_turn
    named: list[float] = []
    refused_in_turn: list[Any] = []

    def ask(dead: bool) -> Any:
        if next(asked) < width:
            first.wait(timeout=20)  # which all must reach: they are sent side by side
        said = twin.ask(dead)
        if (wait := named_wait(said)) is not None:
            named.append(wait)
        return said

    def send_alone(ask: Callable[[], Any], ends: float) -> Any:
        def counted() -> Any:
            with in_turn:
                said = ask()
            if named_wait(said) is not None:
                refused_in_turn.append(said)
            return said

        return send_in_turn(counted, ends)

    monkeypatch.setattr(lane, "_in_turn", send_alone)
    with ThreadPoolExecutor(width) as pool:
        ends = time.monotonic() + 60
        got = list(pool.map(lambda dead: lane.send(lambda: ask(dead), ends=ends), people))
    assert got == ["dead" if dead else "alive" for dead in people]
    assert in_turn.at_once == 1
    # At the first lock the others were on their way; each later one is found by one.
    assert 1 <= len(named) - len(refused_in_turn) <= width
    assert 1 <= len(refused_in_turn) < twin.locks
    assert 0 < sum(slept) <= sum(named)


@pytest.mark.django_db(transaction=True)
def test_many_living_and_some_dead_accounts_wait_no_longer_than_they_are_told(
    make_account: Callable[..., Any],
    serve: Any,
    answering: Any,
    badgr_at: Callable[[str], None],
    slept: list[float],
) -> None:
    people = [number % 10 == 5 for number in range(ACCOUNTS)]
    named: list[float] = []
    twin, living = Twin(**SLOWER), '{"access_token": "new", "refresh_token": "next"}'

    def answer(request: Any, line: Any) -> bytes:
        said = twin.ask(b"refresh_token=dead" in request.body)
        if said == "alive":
            return bytes(answering(living))
        wait = named_wait(said)
        if wait is None:
            return bytes(answering('{"error": "invalid_grant"}', 400))
        named.append(wait)
        return bytes(answering(f'{{"error": "throttled", "expires": {wait}}}', 429))

    url = serve(answer).url
    badgr_at(url)
    due = timezone.now() - timedelta(hours=1)
    for number, dead in enumerate(people):
        moment = due + timedelta(seconds=number)
        make_account(
            refresh_token=f"dead-{number}" if dead else f"living-{number}", refresh_at=moment
        )
    expected = as_told(url) if MEASURED else 0.0
    twin.lock_ends, twin.failures, twin.locks, twin.while_locked = 0.0, 0, 0, 0
    named.clear()
    began, rounds = time.monotonic(), 0
    while ConnectedAccount.objects.due_for_refresh(timezone.now()).exists() and rounds < 5:
        drain("badgr")
        rounds += 1
    took = time.monotonic() - began
    ended = ConnectedAccount.objects.filter(status=Status.RECONNECT_REQUIRED)
    assert ended.count() == sum(people)
    assert all(row.open_token()["refresh_token"].startswith("dead") for row in ended.with_token())
    assert ConnectedAccount.objects.filter(refreshed_at__isnull=False).count() == ACCOUNTS - sum(
        people
    )
    assert not ConnectedAccount.objects.filter(failure_count__gt=0).exists()
    assert not ProviderState.objects.exclude(pause_reason="").exists()
    # One finds each lock; at the first one as many as may be in flight were on their way.
    assert twin.while_locked <= twin.locks + conf.get("REFRESH_CONCURRENCY")
    assert 0 < sum(slept) <= sum(named)
    if MEASURED:
        print(f"{ACCOUNTS} accounts: {took:.1f} s, and {expected:.1f} s as told;", end=" ")
        print(f"{twin.locks} locks, {twin.while_locked} requests while locked")
        assert took <= 1.2 * expected, f"{took:.1f} s, and {expected:.1f} s as told"


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_throttled_in_the_last_hour_is_asked_one_at_a_time(
    make_account: Callable[..., Any], serve: Any, answering: Any, badgr_at: Callable[[str], None]
) -> None:
    now, most = timezone.now(), Most()

    def answer(request: Any, line: Any) -> bytes:
        with most:
            throttled = b"=first-0&" in request.body + b"&" and not most.refused
            most.refused += throttled
            time.sleep(0.02)
        if throttled:
            return bytes(answering('{"error": "throttled", "expires": 0.1}', 429))
        return bytes(answering('{"access_token": "new", "refresh_token": "next"}'))

    def drained(name: str) -> int:
        for number in range(12):
            make_account(refresh_token=f"{name}-{number}", refresh_at=now)
        most.at_once = 0
        assert drain("badgr").refreshed == 12
        return most.at_once

    badgr_at(serve(answer).url)
    assert drained("first") > 1
    assert most.refused == 1
    assert drained("second") == 1
    ProviderState.objects.update(throttled_at=now - timedelta(minutes=61))
    assert drained("third") > 1


@pytest.mark.parametrize("backend", [Badgr, BadgeConnect])
@pytest.mark.parametrize(
    ("told", "wait"), [(2, 2.0), (2.7, 2.7), ("0.5", 0.5), (0, None), (-1, None), ("soon", None)]
)
def test_a_wait_told_in_fractions_is_not_cut_short(backend: Any, told: Any, wait: Any) -> None:
    outcome = backend(conf.provider_config("badgr")).classify_error(429, {"expires": told})
    assert named_wait(outcome) == wait


def test_a_turn_that_does_not_come_in_time_is_no_request() -> None:
    lane = Lane()
    lane.note(ProviderUnavailable("throttled", status=429, retry_after=60))
    outcome = lane.send(lambda: pytest.fail("sent while locked"), ends=time.monotonic() + 0.1)
    assert (outcome.code, outcome.sent) == ("lease_too_old", False)


@pytest.mark.parametrize(
    ("outcome", "wait"),
    [
        (ProviderUnavailable("throttled", status=429, retry_after=2.0), 2.0),
        (ProviderUnavailable("status_429", status=429), None),
        (ProviderUnavailable("status_503", status=503, retry_after=2.0), None),
        ("a token", None),
    ],
)
def test_only_a_throttle_that_names_its_end_is_one(outcome: Any, wait: float | None) -> None:
    assert named_wait(outcome) == wait
