"""What is left in a request for trackers, mails and servers that read it afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.views.debug import SafeExceptionReporterFilter

from connected_accounts.clients.credentials import open_client
from connected_accounts.contrib.sentry import COOKIE, before_send, before_send_transaction
from connected_accounts.models import ConnectedAccount, ProviderClient
from connected_accounts.testing import CANARY, Answer, FakeProvider
from connected_accounts.web import browser
from tests.journeys import finish, query_of, run, start
from tests.sinks import ADMINS

pytestmark = pytest.mark.django_db

SECRET = f"{CANARY}entered"
SEEN: list[HttpRequest] = []


class Late:
    """A middleware of the site that reads requests when they are over, as trackers do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        SEEN.append(request)
        return response


@pytest.fixture(autouse=True)
def late(settings: Any) -> list[HttpRequest]:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Late"]
    SEEN.clear()
    return SEEN


def left_in(request: HttpRequest) -> str:
    parts: list[Any] = [request.GET, request.POST, request.META, request.COOKIES, request.FILES]
    parts += [request, getattr(request, "_body", b""), getattr(request, "scope", 0)]
    parts += [] if request._stream.closed else [request.read()]  # type: ignore[attr-defined]
    return "".join(map(repr, parts))


@pytest.fixture
def bits(fake_provider: Any, settings: Any) -> FakeProvider:
    one = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    whole = settings.CONNECTED_ACCOUNTS
    settings.CONNECTED_ACCOUNTS = whole | {"PROVIDERS": whole["PROVIDERS"] | {"bits": one}}
    fake: FakeProvider = fake_provider("bits")
    fake.add_client("adas", SECRET, subject="ada")
    return fake


@pytest.mark.parametrize("secret", [SECRET, f"{CANARY}wrong"])
@pytest.mark.parametrize("way", ["form", "multipart", "API"])
def test_what_was_posted_is_gone_when_a_connection_by_it_is_over(
    way: str, secret: str, client_of_ada: Client, bits: FakeProvider
) -> None:
    entered = {"client_id": "adas", "client_secret": secret, "next": "/"}
    if way == "API":
        url = "/api/connections/providers/bits/connect/"
        body: Any = {"inputs": {"client_id": "adas", "client_secret": secret}}
        client_of_ada.post(url, body, content_type="application/json")
    elif way == "multipart":
        client_of_ada.post("/connections/bits/connect/", entered)
    else:
        form = f"client_id=adas&client_secret={secret}&next=/"
        kind = "application/x-www-form-urlencoded"
        client_of_ada.post("/connections/bits/connect/", form, content_type=kind)
    assert ConnectedAccount.objects.count() == (secret == SECRET)
    assert secret not in left_in(SEEN[-1])


def test_what_was_posted_signed_out_is_gone_as_well(client: Client, bits: FakeProvider) -> None:
    client.post("/connections/bits/connect/", {"client_id": "adas", "client_secret": SECRET})
    assert SECRET not in left_in(SEEN[-1])


@pytest.mark.parametrize("path", ["connectedaccount/connect/", "providerclient/add/"])
def test_what_staff_posted_is_gone_as_well(
    path: str, admin_client: Client, bits: FakeProvider, settings: Any
) -> None:
    sent = {"provider": "badgr", "client_id": "new", "new_secret": SECRET, "client_secret": SECRET}
    admin_client.post(f"/admin/connected_accounts/{path}", sent)
    assert SECRET not in left_in(SEEN[-1])
    if path.startswith("providerclient"):
        assert open_client(ProviderClient.objects.get()).client_secret.reveal() == SECRET


def test_a_crash_of_the_admin_shows_nothing_that_was_entered(
    admin_client: Client, settings: Any
) -> None:
    settings.ADMINS, settings.DEBUG = ADMINS, False
    admin_client.raise_request_exception = False

    def full(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and "providerclient" in sql:
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, context)

    sent = {"provider": "badgr", "client_id": "new", "new_secret": SECRET}
    for debug in (False, True):
        settings.DEBUG = debug
        with connection.execute_wrapper(full):
            answer = admin_client.post("/admin/connected_accounts/providerclient/add/", sent)
        assert answer.status_code == 500
        assert SECRET.encode() not in answer.content
    assert mail.outbox
    assert not [one for one in mail.outbox if SECRET in str(one.message())]


@pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize("status", [303, 502])
def test_a_callbacks_address_is_gone_from_what_the_server_set(
    name: str, status: int, client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    settings.ADMINS = ADMINS
    params = badgr.authorize(start(client_of_ada))
    if status == 502:
        badgr.script("token", Answer(500))
    address = f"/connections/badgr/callback/?code={params['code']}&state={params['state']}"
    cookie = client_of_ada.cookies[browser.COOKIE].value
    answer = client_of_ada.get(address, **{name: address})
    assert answer.status_code == status
    left = left_in(SEEN[-1]) + "".join(str(one.message()) for one in mail.outbox)
    assert SEEN[-1].META[name] == "/connections/badgr/callback/"
    for secret in (params["code"], params["state"], cookie):
        assert secret not in left


@pytest.mark.django_db(transaction=True)  # it is answered in a thread of its own
def test_a_callback_by_asgi_leaves_nothing_in_its_scope(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada))
    client: Any = AsyncClient()
    client.cookies = client_of_ada.cookies
    answer = run(client.get("/connections/badgr/callback/", params))
    assert answer.status_code == 303
    left = left_in(SEEN[-1])
    cookie = client_of_ada.cookies[browser.COOKIE].value
    assert not [one for one in (params["code"], params["state"], cookie) if one in left]


def test_a_signed_out_callback_is_kept_while_the_person_signs_in(
    client_of_ada: Client, badgr: FakeProvider, ada: Any
) -> None:
    params = badgr.authorize(start(client_of_ada))
    client_of_ada.cookies.pop("sessionid")
    answer = finish(client_of_ada, params)
    assert answer.status_code == 303
    assert query_of(answer["Location"])["next"] == "/connections/badgr/callback/"
    kept = str(dict(client_of_ada.session.items()))
    assert kept != "{}"
    assert params["code"] not in kept
    client_of_ada.force_login(ada)
    assert client_of_ada.get("/connections/badgr/callback/").status_code == 303
    assert ConnectedAccount.objects.filter(user=ada).exists()
    # Once only.
    assert client_of_ada.get("/connections/badgr/callback/").status_code == 400


@pytest.mark.parametrize("query", ["code=a&state=made-up", "code=a", ""])
def test_a_callback_that_the_site_did_not_begin_makes_no_session(
    query: str, client: Client
) -> None:
    answer = client.get(f"/connections/badgr/callback/?{query}")
    assert (answer.status_code, "sessionid" in client.cookies) == (303, False)


def test_a_callback_that_was_kept_is_no_good_at_another_providers(
    client_of_ada: Client, badgr: FakeProvider, ada: Any
) -> None:
    params = badgr.authorize(start(client_of_ada))
    client_of_ada.cookies.pop("sessionid")
    finish(client_of_ada, params)
    client_of_ada.force_login(ada)
    assert client_of_ada.get("/connections/bitbadges/callback/").status_code == 400
    assert not ConnectedAccount.objects.exists()


def test_the_cookie_has_a_name_that_tools_mask() -> None:
    assert SafeExceptionReporterFilter.hidden_settings.search(browser.COOKIE)
    assert COOKIE == browser.COOKIE


def test_sentry_is_sent_no_secret_of_a_request_and_all_the_rest() -> None:
    event = {
        "request": {
            "url": "https://site.example/connections/acme/callback/",
            "query_string": "code=s%2Fx&state=s&lang=de",
            "data": {"client_secret": "s", "personal_token": "s", "label": "mine", "pages": 2},
            "headers": {"Cookie": f"a=b; __Host-{COOKIE}=s", "Referer": "https://x.example/?q=1"},
            "cookies": {COOKIE: "s", "theme": "dark"},
        },
        "exception": {"vars": {"request": "<WSGIRequest: GET '/cb/?code=s&state=s&lang=de'>"}},
        "breadcrumbs": [{"data": {"http.query": "access_token=s&page=2"}, "message": "code=bad"}],
        "spans": [{"description": "GET /login/?next=/cb/%3Fcode%3Ds%252F%26state%3Ds%26lang%3Dde"}],
    }
    cut = "[Filtered]"
    assert before_send_transaction is before_send
    assert before_send(event, {}) == {
        "request": {
            "url": "https://site.example/connections/acme/callback/",
            "query_string": f"code={cut}&state={cut}&lang=de",
            "data": {"client_secret": cut, "personal_token": cut, "label": "mine", "pages": 2},
            "headers": {
                "Cookie": f"a=b; __Host-{COOKIE}={cut}",
                "Referer": "https://x.example/?q=1",
            },
            "cookies": {COOKIE: cut, "theme": "dark"},
        },
        "exception": {
            "vars": {"request": f"<WSGIRequest: GET '/cb/?code={cut}&state={cut}&lang=de'>"}
        },
        "breadcrumbs": [
            {"data": {"http.query": f"access_token={cut}&page=2"}, "message": "code=bad"}
        ],
        "spans": [
            {"description": f"GET /login/?next=/cb/%3Fcode%3D{cut}%26state%3D{cut}%26lang%3Dde"}
        ],
    }
    pairs = {"request": {"query_string": [("code", "s"), ("lang", "de")]}}
    assert before_send(pairs, {}) == {"request": {"query_string": [["code", cut], ["lang", "de"]]}}
