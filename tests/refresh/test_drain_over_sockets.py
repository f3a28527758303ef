"""A drain whose requests go over real connections, by its event loop."""

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from connected_accounts.models import ConnectedAccount, ProviderClient, Reason, Status
from connected_accounts.providers.generic import OAuth2
from connected_accounts.refresh import drain
from connected_accounts.refresh.network import Network
from connected_accounts.sealing import seal_document
from connected_accounts.secret import Secret
from tests.journeys import stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_connections")]
ALIAS = "plain"


class Spending:
    """A token endpoint that takes each refresh token once, and does first what it is told to."""

    def __init__(self, answering: Any, *first: bytes | None) -> None:
        self.answering, self.first = answering, list(first)
        self.spent: list[str] = []
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, request: Any, line: Any) -> bytes | None:
        fields = {name: value for name, (value, *_) in parse_qs(request.body.decode()).items()}
        with self._lock:
            if self.first:
                return self.first.pop(0)
            token = fields["refresh_token"]
            if token in self.spent:
                return self.answering('{"error": "invalid_grant"}', 400)  # type: ignore[no-any-return]
            self.spent.append(token)
        fresh = {"access_token": f"{token}-a", "refresh_token": f"{token}-r", "expires_in": 3600}
        return self.answering(json.dumps(fresh | {"token_type": "Bearer"}))  # type: ignore[no-any-return]


@pytest.fixture
def due(account_at: Any, make_account: Any, now: datetime, serve: Any) -> Callable[..., Any]:
    """Due accounts at a server that answers by ``endpoint``."""

    def make(endpoint: Any, count: int = 1) -> tuple[Any, list[ConnectedAccount]]:
        server = serve(endpoint)
        account_at(server.url).delete()
        options = {"provider": ALIAS, "refresh_at": now - timedelta(minutes=1)}
        rows = [
            make_account(subject=f"one-{n}", refresh_token=f"old-{n}", **options)
            for n in range(count)
        ]
        return server, rows

    return make


@pytest.fixture(autouse=True)
def none_by_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ways in which threads were asked."""
    asked: list[str] = []
    ask = Network.ask

    def noting(self: Network, future: Any, attempt: Any, by: Any = None) -> None:
        asked.append("first" if by is None else by.__name__)
        ask(self, future, attempt, by)

    monkeypatch.setattr(Network, "ask", noting)
    return asked


def test_each_account_gets_the_tokens_of_its_own(
    due: Any, answering: Any, now: datetime, none_by_threads: list[str], app_settings: Any
) -> None:
    app_settings(REFRESH_CONCURRENCY=4)
    server, rows = due(Spending(answering), 20)
    assert drain.drain(ALIAS, now=now).refreshed == 20
    for number, row in enumerate(rows):
        assert stored(row)["access_token"] == f"old-{number}-a"
        assert stored(row)["refresh_token"] == f"old-{number}-r"
    assert len(server.requests) == 20
    assert none_by_threads == []
    (kind,) = {request.headers["content-type"] for request in server.requests}
    assert kind == "application/x-www-form-urlencoded"


def test_a_grant_that_is_dead_is_told_apart_from_the_living(
    due: Any, answering: Any, now: datetime
) -> None:
    endpoint = Spending(answering)
    _, (dead, *living) = due(endpoint, 5)
    endpoint.spent.append("old-0")
    done = drain.drain(ALIAS, now=now)
    assert (done.refreshed, done.failed) == (4, 1)
    dead.refresh_from_db()
    assert (dead.status, dead.reason) == (Status.RECONNECT_REQUIRED, Reason.REVOKED)
    assert all(stored(row)["access_token"].endswith("-a") for row in living)


def test_an_answer_that_was_lost_is_asked_for_once_more_at_once(
    due: Any, answering: Any, now: datetime, none_by_threads: list[str]
) -> None:
    server, (row,) = due(Spending(answering, None))
    assert drain.drain(ALIAS, now=now).refreshed == 1
    assert stored(row)["access_token"] == "old-0-a"
    assert len(server.requests) == 2
    assert none_by_threads == ["_ask_again"]


def test_an_answer_that_is_lost_twice_leaves_the_token_in_doubt(
    due: Any, answering: Any, now: datetime
) -> None:
    server, (row,) = due(Spending(answering, None, None))
    assert drain.drain(ALIAS, now=now).failed == 1
    row.refresh_from_db()
    assert row.last_error == "connection_lost"
    assert row.attempt_started_at is not None
    assert len(server.requests) == 2


def test_a_throttle_is_waited_for_and_narrows_the_way(
    due: Any, answering: Any, now: datetime
) -> None:
    throttled = answering('{"error": "slow_down"}', 429, Retry_After="1")
    server, rows = due(Spending(answering, throttled, throttled), 4)
    began = time.monotonic()
    assert drain.drain(ALIAS, now=now).refreshed == 4
    assert time.monotonic() - began >= 1
    assert len(server.requests) == 6
    assert all(stored(row)["access_token"].endswith("-a") for row in rows)


def test_a_client_that_is_refused_gives_way_to_the_one_before(
    due: Any, answering: Any, now: datetime, none_by_threads: list[str]
) -> None:
    refused = answering('{"error": "invalid_client"}', 401)
    server, (row,) = due(Spending(answering, refused))
    pair = {"provider": ALIAS, "client_id": row.client_id, "created_at": now}
    newer = ProviderClient(**pair)
    newer.client_secret = newer.sealed(Secret("a-newer-secret"))
    newer.save()
    assert drain.drain(ALIAS, now=now).refreshed == 1
    assert none_by_threads == ["ask"]
    assert len(server.requests) == 2
    newer.refresh_from_db()
    assert newer.refused_at is not None
    assert stored(row)["access_token"] == "old-0-a"


class Noting(OAuth2):
    """Notes which threads its hooks are called in."""

    threads: set[str] = set()

    def prepare_token_request(self, data: dict[str, str]) -> dict[str, str]:
        self.threads.add(threading.current_thread().name)
        return super().prepare_token_request(data)

    def parse_token_response(self, payload: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        return super().parse_token_response(payload)


class Counting(OAuth2):
    """Puts another number into each request."""

    count = 0

    def prepare_token_request(self, data: dict[str, str]) -> dict[str, str]:
        type(self).count += 1
        return data | {"number": str(type(self).count)}


class Signing(OAuth2):
    count = 0

    def request_headers(self) -> dict[str, str]:
        type(self).count += 1
        return {"X-Number": str(type(self).count)}


class Failing(OAuth2):
    def parse_token_response(self, payload: Any) -> Any:
        raise KeyError(payload["access_token"])


def with_backend(settings: Any, backend: type[OAuth2]) -> None:
    entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"][ALIAS]
    named = entry | {"BACKEND": f"{backend.__module__}.{backend.__qualname__}"}
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": {ALIAS: named}}


def test_hooks_are_called_in_the_thread_that_talks_to_the_database(
    due: Any, answering: Any, now: datetime, settings: Any
) -> None:
    due(Spending(answering), 3)
    with_backend(settings, Noting)
    Noting.threads.clear()
    assert drain.drain(ALIAS, now=now).refreshed == 3
    assert Noting.threads == {threading.current_thread().name}


def fields_of(server: Any) -> list[dict[str, str]]:
    found = [parse_qs(request.body.decode()) for request in server.requests]
    return [{name: value for name, (value, *_) in fields.items()} for fields in found]


@pytest.mark.parametrize("backend", [Counting, Signing], ids=["parameters", "headers"])
def test_a_hook_has_its_say_in_each_request(
    due: Any, answering: Any, now: datetime, settings: Any, backend: type[OAuth2]
) -> None:
    server, _ = due(Spending(answering), 4)
    with_backend(settings, backend)
    assert drain.drain(ALIAS, now=now).refreshed == 4
    numbers = (fields.get("number") for fields in fields_of(server))
    headers = (request.headers.get("x-number") for request in server.requests)
    assert len({*numbers, *headers} - {None}) == 4


def test_what_is_told_of_a_grant_besides_is_its_own(
    due: Any, answering: Any, now: datetime, settings: Any
) -> None:
    server, rows = due(Spending(answering), 4)
    entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"][ALIAS]
    options = {"OPTIONS": entry["OPTIONS"] | {"refresh_request_fields": ["scope"]}}
    settings.CONNECTED_ACCOUNTS |= {"PROVIDERS": {ALIAS: entry | options}}
    for number, row in enumerate(rows):
        ConnectedAccount.objects.filter(pk=row.pk).update(scopes_granted=["read", f"own-{number}"])
    assert drain.drain(ALIAS, now=now).refreshed == 4
    told = {fields["refresh_token"]: fields["scope"] for fields in fields_of(server)}
    assert told == {f"old-{number}": f"read own-{number}" for number in range(4)}


def test_each_client_asks_for_its_own_accounts(due: Any, answering: Any, now: datetime) -> None:
    server, rows = due(Spending(answering), 4)
    other = ProviderClient(provider=ALIAS, client_id="another", created_at=now)
    other.client_secret = other.sealed(Secret("another-secret"))
    other.save()
    for row in rows[::2]:
        document = row.open_token()
        row = ConnectedAccount.objects.with_token().get(pk=row.pk)
        row.take_over({"client_id": "another"})
        token = seal_document(document, row)
        ConnectedAccount.objects.filter(pk=row.pk).transition(client_id="another", token=token)
    assert drain.drain(ALIAS, now=now).refreshed == 4
    told = {fields["refresh_token"]: fields["client_id"] for fields in fields_of(server)}
    assert [told[f"old-{number}"] == "another" for number in range(4)] == [True, False] * 2


def test_a_hook_that_fails_at_the_answer_is_told_and_its_word_is_not(
    due: Any, answering: Any, now: datetime, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server, (row,) = due(Spending(answering))
    with_backend(settings, Failing)
    assert drain.drain(ALIAS, now=now).failed == 1
    row.refresh_from_db()
    assert row.last_error == "hook_failed"
    assert row.attempt_started_at is not None, "the provider may have rotated the token"
    assert len(server.requests) == 1
    assert "old-0" not in caplog.text


def test_what_was_not_sent_when_it_is_to_stop_is_given_back(
    due: Any, answering: Any, now: datetime, app_settings: Any
) -> None:
    app_settings(REFRESH_CONCURRENCY=2)
    spending, goes = Spending(answering), threading.Event()

    def slow(request: Any, line: Any) -> bytes | None:
        goes.wait(20)
        return spending(request, line)

    server, _ = due(slow, 8)

    def stop() -> bool:
        if server.requests:
            goes.set()
        return goes.is_set()

    done = drain.drain(ALIAS, now=now, stop=stop)
    assert done.failed == 0
    assert done.refreshed == len(server.requests) <= 4
    rows = ConnectedAccount.objects.all()
    assert not rows.exclude(lease_until=None).exists()
    assert rows.filter(refreshed_at=None).count() == 8 - done.refreshed


class Hanging:
    """Loses the first answer for each token, or says what it is told to; after that it answers
    when it ``goes``."""

    def __init__(self, answering: Any, first: bytes | None = None) -> None:
        self.spending, self.first = Spending(answering), first
        self.came: list[str] = []
        self.goes = threading.Event()

    def __call__(self, request: Any, line: Any) -> bytes | None:
        (token,) = parse_qs(request.body.decode())["refresh_token"]
        self.came.append(token)
        if self.came.count(token) == 1:
            return self.first
        self.goes.wait(20)
        return self.spending(request, line)


def stopped_while_one_waits(endpoint: Hanging, asked: list[str]) -> Callable[[], bool]:
    """Says stop when one account is asked again by the only thread, and the other waits for it."""
    told = False

    def stop() -> bool:
        nonlocal told
        if told:
            endpoint.goes.set()
        told = told or (len(asked), len(endpoint.came)) == (2, 3)
        return told

    return stop


def assert_in_doubt(row: ConnectedAccount, endpoint: Hanging) -> None:
    """Its token was sent once, and the next attempt will know."""
    assert endpoint.came.count(row.open_token()["refresh_token"]) == 1
    assert row.attempt_started_at is not None
    assert (row.last_error, row.lease_holder) == ("connection_lost", None)


def test_a_replay_that_waits_for_a_thread_when_it_is_to_stop_leaves_the_token_in_doubt(
    due: Any, answering: Any, now: datetime, app_settings: Any, none_by_threads: list[str]
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    endpoint = Hanging(answering)
    due(endpoint, 2)
    done = drain.drain(ALIAS, now=now, stop=stopped_while_one_waits(endpoint, none_by_threads))
    assert vars(done) == {"refreshed": 1, "failed": 1}
    row = ConnectedAccount.objects.with_token().get(refreshed_at=None)
    assert_in_doubt(row, endpoint)


def test_what_waits_for_a_thread_behind_a_throttle_is_given_back_when_it_is_to_stop(
    due: Any, answering: Any, now: datetime, app_settings: Any, none_by_threads: list[str]
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    endpoint = Hanging(answering, answering('{"error": "slow_down"}', 429, Retry_After="1"))
    due(endpoint, 2)
    done = drain.drain(ALIAS, now=now, stop=stopped_while_one_waits(endpoint, none_by_threads))
    assert vars(done) == {"refreshed": 1, "failed": 0}
    row = ConnectedAccount.objects.get(refreshed_at=None)
    assert (row.attempt_started_at, row.last_error, row.lease_holder) == (None, "", None)


def test_a_replay_whose_thread_was_free_too_late_is_not_sent(
    due: Any,
    answering: Any,
    now: datetime,
    app_settings: Any,
    none_by_threads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It might still be under way when the lease ends, and another would send the same token."""
    app_settings(REFRESH_CONCURRENCY=1)
    endpoint, asked, ask = Hanging(answering), [], Network.ask
    due(endpoint, 2)

    def late(self: Network, promise: Any, attempt: Any, by: Any = None) -> None:
        ask(self, promise, attempt, by)
        asked.append(attempt)
        if len(asked) == 2:
            attempt.send_before = 0.0
            endpoint.goes.set()

    monkeypatch.setattr(Network, "ask", late)
    assert vars(drain.drain(ALIAS, now=now)) == {"refreshed": 1, "failed": 1}
    row = ConnectedAccount.objects.with_token().get(pk=asked[1].account.pk)
    assert_in_doubt(row, endpoint)


class Interruption(BaseException):
    """As gevent's time limits and its ends of greenlets are."""


@pytest.mark.parametrize("error", [Interruption, RuntimeError])
def test_what_is_raised_amid_the_answers_loses_none(
    due: Any,
    answering: Any,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    server, rows = due(Spending(answering), 6)
    outcome_of, came = drain.outcome_of, iter([False, True])

    def interrupted(*args: Any) -> Any:
        if next(came, False):
            raise error
        return outcome_of(*args)

    monkeypatch.setattr(drain, "outcome_of", interrupted)
    with pytest.raises(error):
        drain.drain(ALIAS, now=now)
    sent = {parse_qs(request.body.decode())["refresh_token"][0] for request in server.requests}
    assert len(server.requests) == len(sent)
    for number, row in enumerate(rows):
        expected = f"old-{number}-r" if f"old-{number}" in sent else f"old-{number}"
        assert stored(row)["refresh_token"] == expected


def test_a_lost_answer_for_which_no_thread_can_be_started_takes_no_other_with_it(
    due: Any, answering: Any, now: datetime, no_thread_to_ask: None
) -> None:
    server, _ = due(Spending(answering, None), 6)
    assert vars(drain.drain(ALIAS, now=now)) == {"refreshed": 5, "failed": 1}
    lost = ConnectedAccount.objects.get(refreshed_at=None)
    assert lost.attempt_started_at is not None
    assert (lost.last_error, lost.lease_holder) == ("connection_lost", None)
    assert len(server.requests) == 6


def test_what_is_raised_amid_the_giving_back_holds_up_no_answer(
    due: Any,
    answering: Any,
    now: datetime,
    app_settings: Any,
    none_by_threads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    endpoint = Hanging(answering, answering('{"error": "slow_down"}', 429, Retry_After="1"))
    due(endpoint, 2)

    def interrupted(self: ConnectedAccount, **values: Any) -> bool:
        raise Interruption

    monkeypatch.setattr(ConnectedAccount, "release", interrupted)
    with pytest.raises(Interruption):
        drain.drain(ALIAS, now=now, stop=stopped_while_one_waits(endpoint, none_by_threads))
    assert ConnectedAccount.objects.exclude(refreshed_at=None).count() == 1
