"""The JSON API does what the pages do, with the same session, checks and limits."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.api.bodies import MAX_BODY, MAX_ITEMS
from connected_accounts.api.documents import moment
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Reason,
    Revocation,
    Status,
)
from connected_accounts.owners import Owner
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import Answer, BadGateway, FakeProvider, connect_account
from connected_accounts.web import throttle
from tests.api import openapi
from tests.docs.doc_pages import PACKAGE
from tests.journeys import finish, query_of, set_row, start
from tests.owners import teams

pytestmark = pytest.mark.django_db

API = openapi.PREFIX
CONNECT = f"{API}/providers/badgr/connect/"


class Front:
    """A front end in a signed-in person's browser. Each answer is held to the OpenAPI file."""

    def __init__(self, user: Any = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.token = ""
        if user is not None:
            self.client.force_login(user)
            self.get("/accounts/")

    def get(self, path: str, **headers: str) -> HttpResponse:
        response = self._held(self.client.get(f"{API}{path}", headers=headers), path, "get")
        self.token = response.get("X-CSRFToken") or self.token
        return response

    def post(self, path: str, document: Any = None, **headers: str) -> HttpResponse:
        body = "" if document is None else json.dumps(document)
        return self.send(path, body, **headers)

    def send(
        self, path: str, body: Any, content_type: str = "application/json", **headers: str
    ) -> HttpResponse:
        headers = {"X-CSRFToken": self.token, **headers}
        sent: Any = self.client.post(f"{API}{path}", body, content_type, headers=headers)
        return self._held(sent, path, "post")

    def delete(self, path: str) -> HttpResponse:
        sent: Any = self.client.delete(f"{API}{path}", headers={"X-CSRFToken": self.token})
        return self._held(sent, path, "delete")

    def _held(self, response: Any, path: str, method: str) -> HttpResponse:
        openapi.check(response, f"{API}{path}", method)
        assert response["Cache-Control"] == "no-store, private"
        assert response["X-Content-Type-Options"] == "nosniff"
        return response  # type: ignore[no-any-return]


@pytest.fixture
def front(ada: Any) -> Front:
    return Front(ada)


def document(response: HttpResponse) -> Any:
    return json.loads(response.content)


def problem(response: HttpResponse) -> tuple[int, str]:
    said = document(response)
    assert said["type"] == f"urn:connected-accounts:problem:{said['code']}"
    assert said["status"] == response.status_code
    assert said["title"]
    return response.status_code, said["code"]


def pointers(response: HttpResponse) -> list[str]:
    return [error["pointer"] for error in document(response)["errors"]]


# --- Reading ------------------------------------------------------------------------------------


def test_accounts_are_listed_as_their_owner_sees_them(
    front: Front, account: ConnectedAccount, bob: Any, badgr: FakeProvider
) -> None:
    connect_account(badgr, bob, subject="bobs")
    (told,) = document(front.get("/accounts/"))["accounts"]
    assert told["id"] == account.pk
    assert (told["provider"], told["service"]) == ("badgr", "Badgr")
    assert (told["label"], told["state"], told["owner"]) == ("ada@example.org", "connected", None)
    assert told["may_use"] is told["may_reconnect"] is told["may_disconnect"] is True
    assert told["scopes"][0]["text"]
    assert document(front.get(f"/accounts/{account.pk}/")) == told


def test_what_was_asked_for_and_not_granted_is_told(
    front: Front, ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada, granted=["r:profile"])
    assert document(front.get(f"/accounts/{account.pk}/"))["scopes_missing"] == ["r:backpack"]


def test_an_account_that_needs_its_owner_says_so(front: Front, account: ConnectedAccount) -> None:
    set_row(account, status=Status.RECONNECT_REQUIRED, reason=Reason.REVOKED)
    told = document(front.get(f"/accounts/{account.pk}/"))
    assert told["state"] == "needs_you"
    assert "permission has ended" in told["state_text"]


def test_what_can_be_connected_is_listed(front: Front, account: ConnectedAccount) -> None:
    told = document(front.get("/providers/"))
    known = {provider["alias"]: provider for provider in told["providers"]}
    assert list(known) == ["badgr", "bitbadges"]
    assert [known[alias]["connected"] for alias in known] == [True, False]
    assert [line["scope"] for line in known["badgr"]["scopes"]] == ["r:profile", "r:backpack"]
    assert told["owners"] == []


def test_what_a_service_asks_for_first_is_listed(front: Front, settings: Any) -> None:
    bime = {"BACKEND": "connected_accounts.providers.bime.Bime", "CLIENT_ID": "client"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": bime}}
    (told,) = document(front.get("/providers/"))["providers"]
    assert [field["name"] for field in told["fields"]] == ["account"]
    assert told["fields"][0]["secret"] is False


def test_the_history_is_told_in_words(front: Front, account: ConnectedAccount) -> None:
    (told,) = document(front.get(f"/accounts/{account.pk}/history/"))["events"]
    assert (told["kind"], told["mood"], told["text"]) == ("connected", "good", "Connected.")


def test_a_site_in_local_time_tells_moments_with_their_offset(settings: Any, now: datetime) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    told = moment(timezone.make_naive(now))
    assert told is not None
    assert told[-6:] in ("+01:00", "+02:00")
    assert datetime.fromisoformat(told) == now
    assert moment(None) is None


def test_reading_asks_few_queries_however_many_accounts(
    front: Front, ada: Any, badgr: FakeProvider, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        connect_account(badgr, ada, subject=f"ada-{number}")
    with django_assert_max_num_queries(4):  # session, user, accounts, who is away
        assert len(document(front.get("/accounts/"))["accounts"]) == 10


# --- Connecting ---------------------------------------------------------------------------------


def test_connecting_gives_the_address_and_the_callback_finishes_it(
    front: Front, ada: Any, badgr: FakeProvider
) -> None:
    response = front.post("/providers/badgr/connect/", {"next": "/app/#done"})
    told = document(response)
    assert told["account"] is None
    assert query_of(told["authorization_url"])["redirect_uri"] == (
        "http://testserver/connections/badgr/callback/"
    )
    back = finish(front.client, badgr.authorize(told["authorization_url"]))
    assert (back.status_code, back["Location"]) == (303, "/app/#done")
    assert ConnectedAccount.objects.for_user(ada).exists()


def test_it_begins_as_the_button_does(front: Front, client_of_ada: Client) -> None:
    by_button = query_of(start(client_of_ada, next="/after/"))
    url = document(front.post("/providers/badgr/connect/", {"next": "/after/"}))
    by_api = query_of(url["authorization_url"])
    for name in ("state", "code_challenge"):
        by_button.pop(name), by_api.pop(name)
    assert by_api == by_button
    first, second = AuthorizationRequest.objects.order_by("pk")
    for name in ("user_id", "owner_key", "redirect_uri", "next", "scopes", "inputs", "client_id"):
        assert getattr(first, name) == getattr(second, name)
    cookie = front.client.cookies["connected_accounts_token"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_no_body_at_all_is_enough(front: Front) -> None:
    assert document(front.post("/providers/badgr/connect/"))["authorization_url"]


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil"]
)
def test_a_next_that_leads_off_the_site_is_dropped(front: Front, elsewhere: str) -> None:
    assert front.post("/providers/badgr/connect/", {"next": elsewhere}).status_code == 200
    assert AuthorizationRequest.objects.get().next == ""


def test_a_scope_of_the_site_can_be_asked_for_and_no_other(
    front: Front, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    told = document(front.post("/providers/badgr/connect/", {"scopes": ["rw:backpack"]}))
    assert "rw:backpack" in query_of(told["authorization_url"])["scope"]
    refused = front.post("/providers/badgr/connect/", {"scopes": ["rw:issuer"]})
    assert problem(refused) == (400, "unknown_scope")


def test_a_reconnect_as_another_account_changes_nothing(
    front: Front, account: ConnectedAccount, badgr: FakeProvider
) -> None:
    told = document(front.post(f"/accounts/{account.pk}/reconnect/", {"next": "/app/"}))
    other = badgr.authorize(told["authorization_url"], subject="somebody-else")
    assert finish(front.client, other).status_code == 409
    told = document(front.post(f"/accounts/{account.pk}/reconnect/"))
    same = badgr.authorize(told["authorization_url"], subject=account.subject)
    assert finish(front.client, same).status_code == 303
    assert Event.objects.filter(kind="reconnected").count() == 1


def test_a_reconnect_keeps_the_optional_scopes_unless_it_is_said_otherwise(
    front: Front, ada: Any, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    account = connect_account(badgr, ada, scopes=["rw:backpack"])
    for sent, kept in (({}, True), ({"keep_scopes": True}, True), ({"keep_scopes": False}, False)):
        told = document(front.post(f"/accounts/{account.pk}/reconnect/", sent))
        asked = query_of(told["authorization_url"])["scope"]
        assert ("rw:backpack" in asked) == kept
    refused = front.post(f"/accounts/{account.pk}/reconnect/", {"keep_scopes": "no"})
    assert pointers(refused) == ["/keep_scopes"]


@pytest.fixture
def bits(settings: Any, fake_provider: Any) -> FakeProvider:
    entry = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    providers = settings.CONNECTED_ACCOUNTS["PROVIDERS"] | {"bits": entry}
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": providers}
    fake: FakeProvider = fake_provider("bits")
    fake.add_client("adas-client", "adas-very-own-secret", subject="ada")
    return fake


GIVEN = {"client_id": "adas-client", "client_secret": "adas-very-own-secret"}


def test_credentials_connect_at_once_and_are_never_told(front: Front, bits: FakeProvider) -> None:
    response = front.post("/providers/bits/connect/", {"inputs": GIVEN})
    assert response.status_code == 201
    assert document(response)["authorization_url"] is None
    assert document(response)["account"]["provider"] == "bits"
    assert "adas-very-own-secret" not in response.content.decode()
    again = front.post("/providers/bits/connect/", {"inputs": GIVEN})
    assert again.status_code == 200


def test_inputs_that_are_missing_wrong_or_unknown_are_named(
    front: Front, bits: FakeProvider
) -> None:
    response = front.post("/providers/bits/connect/")
    assert problem(response) == (400, "inputs")
    assert pointers(response) == ["/inputs/client_id", "/inputs/client_secret"]
    wrong = {**GIVEN, "client_secret": "a secret\nwith a line", "more": "x"}
    response = front.post("/providers/bits/connect/", {"inputs": wrong})
    assert pointers(response) == ["/inputs", "/inputs/client_secret"]
    assert "with a line" not in response.content.decode()
    assert not bits.requests
    refused = front.post(
        "/providers/bits/connect/", {"inputs": {**GIVEN, "client_secret": "another"}}
    )
    assert problem(refused) == (400, "credentials")


def test_a_provider_without_a_client_or_with_wrong_settings_says_so(
    front: Front, provider_settings: Any
) -> None:
    provider_settings("badgr", CLIENT_ID="")
    assert problem(front.post("/providers/badgr/connect/")) == (503, "no_client")
    provider_settings("badgr", OPTIONS={"region": "moon"})
    assert problem(front.post("/providers/badgr/connect/")) == (500, "misconfigured")
    assert problem(front.post("/providers/nobody/connect/")) == (404, "not_found")


def test_who_starts_too_often_is_told_when_to_go_on(
    front: Front, monkeypatch: pytest.MonkeyPatch, client_of_ada: Client
) -> None:
    moment = timezone.now()
    monkeypatch.setattr(throttle.timezone, "now", lambda: moment)  # all in one minute
    for _ in range(throttle.STARTS_PER_USER - 1):
        start(client_of_ada)  # pages and API are counted together
    front.post("/providers/badgr/connect/")
    response = front.post("/providers/badgr/connect/")
    assert problem(response) == (429, "too_many")
    assert 0 < int(response["Retry-After"]) <= 60


# --- Disconnecting ------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    tasks_sent: list[Any] = []
    monkeypatch.setattr(tasks, "enqueue", lambda *args: tasks_sent.append(args))
    return tasks_sent


def test_disconnecting_says_that_the_grant_is_being_withdrawn_and_then_that_it_is(
    front: Front, account: ConnectedAccount, badgr: FakeProvider, sent: list[Any]
) -> None:
    owed = document(front.delete(f"/accounts/{account.pk}/"))["revocation"]
    assert (owed["outcome"], owed["by_hand"]) == ("pending", False)
    assert sent == [(tasks.revoke_pending_tokens,)]
    assert problem(front.get(f"/accounts/{account.pk}/")) == (404, "not_found")
    assert problem(front.delete(f"/accounts/{account.pk}/")) == (404, "not_found")
    badgr.script("revocation", BadGateway())
    revoke_pending_tokens.apply()
    (told,) = document(front.get("/revocations/"))["revocations"]
    assert (told["id"], told["outcome"]) == (owed["id"], "pending")
    assert "tried again" in told["text"]
    Revocation.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
    revoke_pending_tokens.apply()
    (told,) = document(front.get("/revocations/"))["revocations"]
    assert told["outcome"] == "revoked"


def test_what_cannot_be_withdrawn_from_here_is_said_at_once_with_the_place(
    front: Front, ada: Any, make_account: Any, provider_settings: Any
) -> None:
    options = {"revocation_endpoint": "", "manage_url": "https://badgr.example/apps"}
    provider_settings("badgr", OPTIONS=options)
    account = make_account(ada)
    told = document(front.delete(f"/accounts/{account.pk}/"))["revocation"]
    assert told["by_hand"] is True
    assert told["manage_url"] == "https://badgr.example/apps"


def test_where_nothing_is_owed_nothing_is_said(front: Front, ada: Any, make_account: Any) -> None:
    account = make_account(ada, token=None)
    assert document(front.delete(f"/accounts/{account.pk}/")) == {"revocation": None}


def test_an_account_whose_provider_left_the_settings_is_shown_and_disconnected(
    front: Front, account: ConnectedAccount, app_settings: Any
) -> None:
    app_settings(PROVIDERS={})
    told = document(front.get(f"/accounts/{account.pk}/"))
    assert (told["service"], told["state"]) == ("badgr", "not_offered")
    assert (told["may_reconnect"], told["may_disconnect"]) == (False, True)
    assert problem(front.post(f"/accounts/{account.pk}/reconnect/")) == (404, "not_found")
    assert front.delete(f"/accounts/{account.pk}/").status_code == 200


# --- Testing ------------------------------------------------------------------------------------


def test_testing_says_what_came_back(
    front: Front,
    account: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = timezone.now()
    monkeypatch.setattr(throttle.timezone, "now", lambda: moment)  # all in one minute
    assert document(front.post(f"/accounts/{account.pk}/test/"))["state"] == "connected"
    badgr.script("identity", Answer(status=503))
    told = document(front.post(f"/accounts/{account.pk}/test/"))
    assert told["state"] == "not_answering"
    for _ in range(throttle.TESTS_PER_USER - 2):
        front.post(f"/accounts/{account.pk}/test/")
    assert problem(front.post(f"/accounts/{account.pk}/test/")) == (429, "too_many")


# --- Who is asking ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post", "delete", "put", "options"])
def test_who_is_signed_out_gets_401_and_no_way_to_the_login_page(
    account: ConnectedAccount, method: str
) -> None:
    for path in ("/accounts/", f"/accounts/{account.pk}/", "/providers/badgr/connect/"):
        response = getattr(Client(enforce_csrf_checks=True), method)(f"{API}{path}")
        assert problem(response) == (401, "not_signed_in")
        assert response["WWW-Authenticate"]
        assert "X-CSRFToken" not in response


def test_with_the_login_required_middleware_it_is_the_same(
    settings: Any, account: ConnectedAccount
) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert problem(Client().get(f"{API}/accounts/")) == (401, "not_signed_in")


@pytest.mark.parametrize("middleware", [True, False])
def test_without_the_csrf_token_nothing_is_done(
    ada: Any, account: ConnectedAccount, settings: Any, middleware: bool
) -> None:
    if not middleware:
        name = "django.middleware.csrf.CsrfViewMiddleware"
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if each != name]
    front = Front(ada)
    paths = ["/providers/badgr/connect/", f"/accounts/{account.pk}/test/"]
    paths.append(f"/accounts/{account.pk}/reconnect/")
    for wrong in ("", "x" * 64, front.token[::-1]):
        for path in paths:
            response = front.post(path, {}, **{"X-CSRFToken": wrong})
            assert problem(response) == (403, "csrf_failed")
    right, front.token = front.token, ""
    assert problem(front.delete(f"/accounts/{account.pk}/")) == (403, "csrf_failed")
    front.token = right
    assert not AuthorizationRequest.objects.filter(consumed_at=None).exists()
    assert front.post(paths[0]).status_code == 200
    assert front.delete(f"/accounts/{account.pk}/").status_code == 200


def test_another_origin_is_refused(front: Front) -> None:
    response = front.post("/providers/badgr/connect/", {}, Origin="https://evil.example")
    assert problem(response) == (403, "csrf_failed")


@pytest.mark.parametrize("name", ["CSRF_USE_SESSIONS", "CSRF_COOKIE_HTTPONLY"])
def test_a_token_that_scripts_cannot_read_is_in_the_header(
    ada: Any, settings: Any, name: str
) -> None:
    setattr(settings, name, True)
    assert Front(ada).post("/providers/badgr/connect/").status_code == 200


def test_nobody_else_finds_ones_accounts(account: ConnectedAccount, bob: Any) -> None:
    front = Front(bob)
    assert document(front.get("/accounts/")) == {"accounts": [], "next_page": None}
    for pk in (account.pk, account.pk + 999, 2**63, 10**30):
        path = f"/accounts/{pk}/"
        found = [
            *(front.get(path), front.get(f"{path}history/"), front.delete(path)),
            *(front.post(f"{path}reconnect/", {}), front.post(f"{path}test/")),
        ]
        assert {problem(response) for response in found} == {(404, "not_found")}
        assert len({response.content for response in found}) == 1  # whoever's it is, if anybody's
    assert document(front.get("/revocations/")) == {"revocations": []}


def test_nobody_finishes_what_another_began_by_api(
    front: Front, client_of_bob: Client, badgr: FakeProvider
) -> None:
    url = document(front.post("/providers/badgr/connect/"))["authorization_url"]
    params = badgr.authorize(url)
    assert finish(client_of_bob, params).status_code == 403
    other = Client()
    other.force_login(ConnectedAccount._meta.get_field("user").related_model.objects.first())
    assert finish(other, params).status_code == 403


# --- Teams --------------------------------------------------------------------------------------


@pytest.fixture
def team(app_settings: Any, ada: Any, bob: Any) -> Iterator[None]:
    app_settings(OWNERS=teams.HOOK)
    teams.members.clear()
    teams.join("crew", ada, teams.ALL)
    teams.join("crew", bob, teams.USES)
    yield
    teams.members.clear()


def test_a_teams_account_is_connected_shown_and_ended_as_its_people_may(
    team: None, ada: Any, bob: Any, badgr: FakeProvider
) -> None:
    lead, member = Front(ada), Front(bob)
    crew = {"key": "team:crew", "name": "The crew team"}
    assert document(lead.get("/providers/"))["owners"] == [crew]
    assert document(member.get("/providers/"))["owners"] == []
    sent = {"owner": "team:crew", "next": "/team/"}
    assert problem(member.post("/providers/badgr/connect/", sent)) == (403, "not_permitted")
    url = document(lead.post("/providers/badgr/connect/", sent))["authorization_url"]
    assert finish(lead.client, badgr.authorize(url))["Location"] == "/team/"
    (told,) = document(member.get("/accounts/"))["accounts"]
    assert (told["owner"], told["may_use"]) == (crew, True)
    assert (told["may_reconnect"], told["may_disconnect"]) == (False, False)
    path = f"/accounts/{told['id']}/"
    assert problem(member.delete(path)) == (403, "not_permitted")
    assert problem(member.post(f"{path}reconnect/")) == (403, "not_permitted")
    assert document(member.post(f"{path}test/"))["state"] == "connected"
    assert problem(lead.post(f"{path}reconnect/", {"owner": "team:crew"})) == (400, "invalid_body")
    assert lead.delete(path).status_code == 200
    assert Event.objects.get(kind="disconnected").detail == f"user:{ada.pk}"
    assert len(document(member.get("/revocations/"))["revocations"]) == 1
    teams.leave("crew", bob)
    assert document(member.get("/revocations/"))["revocations"] == []


@pytest.mark.parametrize("owner", ["team:rivals", "site", "user:1", "user:2", "x" * 999, "\ud800"])
def test_nobody_connects_for_an_owner_that_is_not_theirs(
    team: None, django_user_model: Any, owner: str
) -> None:
    eve = django_user_model.objects.create_user("eve")
    response = Front(eve).post("/providers/badgr/connect/", {"owner": owner})
    assert problem(response) == (404, "not_found")
    assert not AuthorizationRequest.objects.exists()


def test_who_left_finds_the_teams_accounts_no_more(
    team: None, ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada, owner="team:crew")
    front = Front(ada)
    assert front.get(f"/accounts/{account.pk}/").status_code == 200
    teams.leave("crew", ada)
    assert problem(front.get(f"/accounts/{account.pk}/")) == (404, "not_found")
    assert problem(front.delete(f"/accounts/{account.pk}/")) == (404, "not_found")
    assert document(front.get("/accounts/")) == {"accounts": [], "next_page": None}


# --- What is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ('"text"', "invalid_json"),
        ("null", "invalid_json"),
        ('{"next": NaN}', "invalid_json"),
        ('{"next": "/a", "next": "/b"}', "invalid_json"),
        (b'{"next": "\xff"}', "invalid_json"),
        ('{"next": "/"}'.encode("utf-16"), "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        ("[" * 30000, "invalid_json"),
        ('{"a":' * 12000, "invalid_json"),
        ('{"next": ' + "9" * 5000 + "}", "invalid_json"),
        ('{"nxt": "/"}', "invalid_body"),
        ('{"next": 7}', "invalid_body"),
        ('{"next": null}', "invalid_body"),
        ('{"owner": ["team:crew"]}', "invalid_body"),
        ('{"scopes": "r:profile"}', "invalid_body"),
        ('{"scopes": [1]}', "invalid_body"),
        ('{"scopes": [' + ",".join(['"x"'] * (MAX_ITEMS + 1)) + "]}", "invalid_body"),
        ('{"keep_scopes": false}', "invalid_body"),
        ('{"inputs": ["x"]}', "invalid_body"),
        ('{"inputs": {"account": {}}}', "invalid_body"),
        ('{"inputs": {"' + "x" * 5000 + '": 1}}', "invalid_body"),
        ('{"\\ud800\\n": 1}', "invalid_body"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(front: Front, body: Any, code: str) -> None:
    response = front.send("/providers/badgr/connect/", body)
    assert problem(response) == (400, code)
    assert not AuthorizationRequest.objects.exists()
    assert len(response.content) < 20_000


def test_everything_that_is_wrong_is_named_at_once(front: Front) -> None:
    response = front.post(
        "/providers/badgr/connect/", {"a/b~": 1, "next": 1, "scopes": ["x", 2], "inputs": {"y": 3}}
    )
    assert pointers(response) == ["/a~1b~0", "/inputs/y", "/next", "/scopes/1"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/jsonp",
        "application/vnd.api+json",
    ],
)
def test_a_body_of_another_type_is_refused(front: Front, content_type: str) -> None:
    response = front.send("/providers/badgr/connect/", '{"next": "/"}', content_type)
    assert problem(response) == (415, "not_json")
    assert not AuthorizationRequest.objects.exists()


def test_a_charset_does_not_matter(front: Front) -> None:
    sent = front.send("/providers/badgr/connect/", "{}", "application/json; charset=utf-8")
    assert sent.status_code == 200


def test_a_body_that_is_too_large_is_refused(front: Front, settings: Any) -> None:
    body = json.dumps({"next": "x" * MAX_BODY})
    assert problem(front.send("/providers/badgr/connect/", body)) == (413, "too_large")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    response = front.send("/providers/badgr/connect/", json.dumps({"next": "/after/"}))
    assert problem(response) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/accounts/", "GET, HEAD, OPTIONS"),
        ("/accounts/1/", "GET, DELETE, HEAD, OPTIONS"),
        ("/accounts/1/reconnect/", "POST, OPTIONS"),
        ("/accounts/1/test/", "POST, OPTIONS"),
        ("/accounts/1/history/", "GET, HEAD, OPTIONS"),
        ("/providers/", "GET, HEAD, OPTIONS"),
        ("/providers/badgr/connect/", "POST, OPTIONS"),
        ("/revocations/", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_refused_with_those_that_there_are(
    front: Front, path: str, allowed: str
) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"):
        if method in allowed:
            continue
        response: Any = front.client.generic(method, f"{API}{path}")
        openapi.is_problem(response)
        assert problem(response) == (405, "method_not_allowed")
        assert response["Allow"] == allowed
    assert front.client.options(f"{API}{path}")["Allow"] == allowed


# --- What goes wrong inside ---------------------------------------------------------------------


def test_a_fault_of_the_site_is_told_to_the_site_and_not_to_the_person(
    front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("something-private")

    monkeypatch.setattr("connected_accounts.web.actions.start_authorization", fail)
    front.client.raise_request_exception = False
    with caplog.at_level(logging.ERROR, "django.request"):
        response = front.post("/providers/badgr/connect/")
    assert problem(response) == (500, "internal_error")
    assert "something-private" not in response.content.decode()
    assert "Internal Server Error" in caplog.text
    front.client.raise_request_exception = True
    with pytest.raises(ZeroDivisionError):  # what trackers listen to was told of it
        front.post("/providers/badgr/connect/")


def test_what_is_wrong_with_settings_is_told_to_the_site_alone(
    front: Front, provider_settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provider_settings("badgr", BACKEND="nowhere.Backend")
    response = front.post("/providers/badgr/connect/")
    assert problem(response) == (500, "misconfigured")
    assert "nowhere" not in response.content.decode()
    assert "nowhere.Backend" in caplog.text


def test_what_was_sent_is_not_left_in_the_request(
    front: Front, bits: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def fail(request: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(request)
        raise ZeroDivisionError

    monkeypatch.setattr("connected_accounts.web.actions.start_connecting", fail)
    front.client.raise_request_exception = False
    response = front.post("/providers/bits/connect/", {"inputs": GIVEN})
    assert response.status_code == 500
    assert b"secret" not in seen[0].body


def test_texts_are_in_the_persons_language(ada: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    front = Front(ada)
    told = front.get("/accounts/9/", **{"Accept-Language": "de"})
    assert document(told)["title"] != document(front.get("/accounts/9/"))["title"]


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_who_leaves_a_team_during_a_request_sees_its_account_or_does_not(
    ada: Any, badgr: FakeProvider, app_settings: Any, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    app_settings(OWNERS="tests.owners.teams.malformed")
    crew = Owner("team:crew", "The crew", **teams.ALL)
    teams.given[0] = [crew]
    front = Front(ada)
    account = connect_account(badgr, ada, owner="team:crew")
    for path, gone in (("/accounts/", 200), (f"/accounts/{account.pk}/", 404)):
        answers = iter([[crew]] * asked)
        monkeypatch.setattr(teams, "malformed", lambda user, answers=answers: next(answers, []))
        assert front.get(path).status_code in (200, gone)


# --- A site without our pages -------------------------------------------------------------------


@pytest.fixture
def bare(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.bare_urls"
    (engine,) = settings.TEMPLATES  # without the templates of the example site
    folder = [str(PACKAGE / "templates")]
    settings.TEMPLATES = [engine | {"APP_DIRS": False, "DIRS": folder}]


def test_a_site_without_our_pages_connects_by_api_and_callback_alone(
    bare: None, front: Front, badgr: FakeProvider
) -> None:
    url = document(front.post("/providers/badgr/connect/"))["authorization_url"]
    back = finish(front.client, badgr.authorize(url))
    assert (back.status_code, back["Location"]) == (303, "/")
    assert len(document(front.get("/accounts/"))["accounts"]) == 1


@pytest.mark.parametrize(("following", "leads_to"), [("/app/", "/app/"), ("", "/")])
def test_its_failure_page_leads_to_where_the_person_came_from(
    bare: None, front: Front, badgr: FakeProvider, following: str, leads_to: str
) -> None:
    url = document(front.post("/providers/badgr/connect/", {"next": following}))
    page = finish(front.client, badgr.authorize(url["authorization_url"], deny=True))
    text = page.content.decode()
    assert page.status_code == 200
    assert f'href="{leads_to}"' in text
    assert "Your connections" not in text


def test_an_api_without_a_callback_is_an_error_of_settings(settings: Any) -> None:
    from django.core import checks

    def found() -> list[Any]:
        return [message.id for message in checks.run_checks(tags=["connected_accounts"])]

    assert "connected_accounts.E020" not in found()
    settings.ROOT_URLCONF = "tests.bare_urls"
    assert "connected_accounts.E020" not in found()
    settings.ROOT_URLCONF = "connected_accounts.urls"
    assert "connected_accounts.E020" not in found()
    settings.ROOT_URLCONF = "tests.api.api_only_urls"
    assert "connected_accounts.E020" in found()
