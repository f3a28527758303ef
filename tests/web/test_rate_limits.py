"""Who starts or fails too often is asked to wait; nobody else is, and no valid callback."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory

from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event
from connected_accounts.testing import FakeProvider
from connected_accounts.web import throttle
from connected_accounts.web.throttle import FAILED_CALLBACKS, STARTS, wait_for
from tests.journeys import finish, start

pytestmark = pytest.mark.django_db

CONNECT = "/connections/badgr/connect/"
CALLBACK = "/connections/badgr/callback/?code=x&state=y"
HERE, THERE = "9.9.9.9", "8.8.4.4"
THE_MINUTE = datetime(2026, 5, 1, 12, 0, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a test happens in one window."""
    monkeypatch.setattr(throttle.timezone, "now", lambda: THE_MINUTE)


def request_of(rf: RequestFactory, user: Any, address: str = HERE) -> Any:
    request = rf.post(CONNECT, REMOTE_ADDR=address)
    request.user = user
    return request


def many_people(django_user_model: Any, count: int) -> list[Any]:
    return [django_user_model(pk=1000 + number, username=f"p{number}") for number in range(count)]


def test_the_31st_start_in_a_minute_is_a_page_that_says_when(
    client_of_ada: Client, client_of_bob: Client
) -> None:
    for _ in range(30):
        assert client_of_ada.post(CONNECT).status_code == 303
    response = client_of_ada.post(CONNECT)
    assert response.status_code == 429
    assert response["Retry-After"] == "45"
    assert response["Cache-Control"] == "no-store, private"
    assert "Too many attempts" in response.content.decode()
    assert AuthorizationRequest.objects.count() == 30
    # To ask is free, and another user is another user.
    assert client_of_ada.get(CONNECT).status_code == 200
    assert client_of_bob.post(CONNECT).status_code == 303


def test_reconnecting_counts_as_starting(client_of_ada: Client, account: ConnectedAccount) -> None:
    for _ in range(29):
        client_of_ada.post(CONNECT)
    assert client_of_ada.post(f"/connections/{account.pk}/reconnect/").status_code == 429


def test_the_next_minute_begins_anew(ada: Any, rf: RequestFactory) -> None:
    waits = [wait_for(request_of(rf, ada), STARTS, now=THE_MINUTE) for _ in range(31)]
    assert waits == [0] * 30 + [45]
    later = THE_MINUTE + timedelta(seconds=45)
    assert wait_for(request_of(rf, ada), STARTS, now=later) == 0


def test_the_61st_failed_callback_is_429_and_the_valid_one_after_it_works(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    answers = [client_of_ada.get(CALLBACK).status_code for _ in range(62)]
    assert answers == [400] * 60 + [429] * 2
    assert finish(client_of_ada, params).status_code == 303
    assert len(badgr.sent_to("token")) == 1


def test_what_a_valid_callback_ends_with_is_told_whatever_the_count(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    denied = badgr.authorize(start(client_of_ada), deny=True)
    for _ in range(61):
        client_of_ada.get(CALLBACK)
    assert finish(client_of_ada, {**params, "code": "made-up"}).status_code == 400
    assert finish(client_of_ada, denied).status_code == 200


def test_a_replayed_callback_fills_neither_the_events_nor_the_log(
    client_of_ada: Client, badgr: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    assert finish(client_of_ada, params).status_code == 303
    answers = [finish(client_of_ada, params).status_code for _ in range(70)]
    assert answers == [400] * 60 + [429] * 10
    assert Event.objects.filter(kind="refused").count() == 60


def test_one_address_counts_as_ten_users(rf: RequestFactory, django_user_model: Any) -> None:
    people = many_people(django_user_model, 301)
    waits = [wait_for(request_of(rf, person), STARTS) for person in people]
    assert waits == [0] * 300 + [45]
    assert wait_for(request_of(rf, people[0], THERE), STARTS) == 0


def test_one_user_is_counted_at_all_addresses_together(ada: Any, rf: RequestFactory) -> None:
    waits = [wait_for(request_of(rf, ada, f"9.9.9.{n}"), FAILED_CALLBACKS) for n in range(61)]
    assert waits == [0] * 60 + [45]


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("2001:4860:4860::8888", "2001:4860:4860::/64"),
        ("2001:4860:4860::1", "2001:4860:4860::/64"),
        ("127.0.0.1", ""),
        ("10.0.0.7", ""),
        ("::1", ""),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_what_an_address_counts_as(rf: RequestFactory, address: str, counts_as: str) -> None:
    request = rf.get("/", REMOTE_ADDR=address, headers={"x-forwarded-for": "1.1.1.1"})
    assert throttle.address_of(request) == counts_as


class Broken:
    def add(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("redis://:password@cache.internal/0")


@pytest.mark.parametrize("backend", ["dummy.DummyCache", "broken"])
def test_a_cache_that_is_away_or_none_keeps_nobody_out(
    ada: Any,
    rf: RequestFactory,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if backend == "broken":
        monkeypatch.setattr(throttle, "cache", Broken())
    else:
        settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert {wait_for(request_of(rf, ada), STARTS) for _ in range(40)} == {0}
    assert "password" not in caplog.text


def test_a_limit_that_is_reached_is_one_security_event(
    ada: Any, rf: RequestFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(40):
        wait_for(request_of(rf, ada), STARTS)
    (record,) = caplog.records
    said = [vars(record)[name] for name in ("event", "owner", "reason", "address")]
    assert said == ["rate_limited", f"user:{ada.pk}", "start", HERE]


def test_staff_who_connect_for_the_site_are_limited_too(django_user_model: Any) -> None:
    root = Client()
    root.force_login(django_user_model.objects.create_superuser("root", "r@x.example", "root"))
    page = "/admin/connected_accounts/connectedaccount/connect/?provider=badgr"
    answers = [root.post(page).status_code for _ in range(31)]
    assert answers == [303] * 30 + [429]
