"""The flow from outside, with two people and two cookie jars, however the site keeps its sessions:
in the database, the cache or signed cookies; ``SameSite`` Lax and Strict; with Django's
SecurityMiddleware and without; always with ``ATOMIC_REQUESTS``."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import connections
from django.http.cookie import SimpleCookie
from django.utils import timezone

from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.oauth2.state import new_secret
from connected_accounts.testing import FakeProvider
from tests.people import Browser

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("site")]

COOKIE = "connected_accounts_token"
VALUES = ["absent", "empty", "null", "wrong", "right"]
SITES = [
    ("db", "Lax", "all"),
    ("db", "Strict", "bare"),
    ("cache", "Lax", "bare"),
    ("cache", "Strict", "all"),
    ("signed_cookies", "Lax", "all"),
    ("signed_cookies", "Strict", "bare"),
]


@pytest.fixture(params=SITES, ids="-".join)
def site(request: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, samesite, middleware = request.param
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_COOKIE_SAMESITE = samesite
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    if middleware == "bare":
        dropped = ("SecurityMiddleware", "XFrameOptionsMiddleware")
        settings.MIDDLEWARE = [n for n in settings.MIDDLEWARE if not n.endswith(dropped)]


@pytest.fixture
def a(site: None, ada: Any) -> Browser:
    return Browser(ada)


@pytest.fixture
def b(site: None, bob: Any) -> Browser:
    return Browser(bob)


def exchanges(fake: FakeProvider) -> int:
    return len(fake.sent_to("token"))


def test_a_person_connects_and_lands_where_they_were_going(a: Browser, badgr: FakeProvider) -> None:
    params = badgr.authorize(a.start(next="/badges/?page=2"), subject="ada")
    response = a.come_back(params)
    assert (response.status_code, response["Location"]) == (303, "/badges/?page=2")
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store, private"
    assert [account.subject for account in a.accounts()] == ["ada"]
    assert exchanges(badgr) == 1


def test_nobody_is_made_to_connect_what_another_began(
    a: Browser, b: Browser, bob: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    assert b.come_back(params).status_code == 403
    b.start()  # with a cookie of their own
    assert b.come_back(params).status_code == 403
    b.cookies[COOKIE] = a.cookies[COOKIE].value  # even with the other's
    assert b.come_back(params).status_code == 403
    assert (exchanges(badgr), ConnectedAccount.objects.count()) == (0, 0)
    assert a.come_back(params).status_code == 303
    assert ConnectedAccount.objects.filter(user=bob).count() == 0


def test_another_browser_of_the_same_person_does_not_finish(
    a: Browser, ada: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    other = Browser(ada)
    assert other.come_back(params).status_code == 403
    other.start()
    assert other.come_back(params).status_code == 403
    assert exchanges(badgr) == 0
    assert a.come_back(params).status_code == 303


def test_a_code_of_one_person_is_of_no_use_in_anothers_flow(
    a: Browser, b: Browser, badgr: FakeProvider
) -> None:
    stolen = badgr.authorize(a.start(), subject="ada")
    own = badgr.authorize(b.start(), subject="bob")
    response = b.come_back({**own, "code": stolen["code"]})
    assert response.status_code == 400
    assert b.accounts() == []


def test_only_the_right_state_with_the_right_cookie_passes(a: Browser, badgr: FakeProvider) -> None:
    passed = []
    for state, cookie in product(VALUES, repeat=2):
        params = badgr.authorize(a.start(), subject="ada")
        right = {"state": params.pop("state"), "cookie": a.cookies.pop(COOKIE).value}
        others = {"empty": "", "null": "null", "wrong": new_secret()}
        if state != "absent":
            params["state"] = others.get(state, right["state"])
        if cookie != "absent":
            a.cookies[COOKIE] = others.get(cookie, right["cookie"])
        before = exchanges(badgr)
        response = a.come_back(params)
        if response.headers.get("Location") == "/connections/":
            passed.append((state, cookie))
        else:
            # Without a state a strict session cookie is not waited for: that is the login page.
            asked_in = response.status_code == 303 and "/login/" in response["Location"]
            assert asked_in or response.status_code == (403 if state == "right" else 400)
            assert exchanges(badgr) == before
            # A refused callback leaves the owner's flow usable.
            a.cookies[COOKIE] = right["cookie"]
            assert a.come_back({**params, "state": right["state"]}).status_code == 303
    assert passed == [("right", "right")]


def test_a_callback_is_good_once_whatever_the_browser_brings_back(
    a: Browser, badgr: FakeProvider
) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    before = SimpleCookie(a.cookies.output(header=""))
    assert a.come_back(params).status_code == 303
    row = ConnectedAccount.objects.values().get()
    for cookies in (a.cookies, before):
        a.cookies = cookies
        for _ in range(3):
            response = a.come_back(params)
            assert response.status_code == 400
            assert "finished already" in response.content.decode()
    assert exchanges(badgr) == 1
    assert ConnectedAccount.objects.values().get() == row


def test_who_changes_the_person_meanwhile_is_refused(
    a: Browser, ada: Any, bob: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    a.force_login(bob)
    response = a.come_back(params)
    assert response.status_code == 403
    assert "another user" in response.content.decode()
    assert ConnectedAccount.objects.count() == 0
    a.force_login(ada)
    assert a.come_back(params).status_code == 303


def test_who_was_signed_out_meanwhile_signs_in_and_goes_on(
    a: Browser, ada: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    session = a.session
    for name in (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY):
        del session[name]
    session.save()
    a.cookies["sessionid"] = session.session_key
    response = a.come_back(params)
    assert response.status_code == 303
    assert response["Location"].startswith("/accounts/login/?next=/connections/badgr/callback/")
    assert exchanges(badgr) == 0
    a.force_login(ada)
    assert a.come_back(params).status_code == 303


def test_a_state_of_one_provider_is_refused_at_another(a: Browser, badgr: FakeProvider) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    assert a.come_back(params, "bitbadges").status_code == 400
    assert exchanges(badgr) == 0
    assert a.come_back(params).status_code == 303


def test_what_took_too_long_is_refused(a: Browser, badgr: FakeProvider) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    row = AuthorizationRequest.objects.get()
    assert row.expires_at - row.created_at == timedelta(minutes=10)
    AuthorizationRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    response = a.come_back(params)
    assert response.status_code == 400
    assert "a little too long" in response.content.decode()
    assert exchanges(badgr) == 0


def test_looking_does_not_spend_the_state(a: Browser, badgr: FakeProvider) -> None:
    params = badgr.authorize(a.start(), subject="ada")
    address = "/connections/badgr/callback/"
    assert Browser().get(address, params).status_code in (200, 303)  # a link scanner
    for method in ("head", "options", "post", "put", "delete"):
        assert getattr(a, method)(address, params).status_code in (200, 303, 405)
    assert exchanges(badgr) == 0
    assert a.come_back(params).status_code == 303


def test_a_start_needs_the_csrf_token_and_is_a_303(a: Browser, ada: Any) -> None:
    strict = Browser(ada, enforce_csrf_checks=True)
    assert strict.post("/connections/badgr/connect/").status_code == 403
    assert strict.get("/connections/badgr/connect/").status_code == 200
    assert not AuthorizationRequest.objects.exists()
    a.start()
    assert AuthorizationRequest.objects.count() == 1
