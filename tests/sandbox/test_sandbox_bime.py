"""The sandbox's Bime: accounts, both workflows, both dialects, and the limit on requests."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

import pytest
import requests

from tests.sandbox.sandbox_client import (
    SITE,
    Person,
    Sandbox,
    callback_parameters,
    wait_for,
)

CALLBACK = f"{SITE}/connections/bime/callback/"
CLIENT = {"client_id": "bime-demo", "client_secret": "bime-demo-secret"}
DASHBOARDS = "/bime/api/v3/dashboards"
ASK = {"client_id": "bime-demo", "redirect_uri": CALLBACK, "response_type": "code"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("bime"))
    yield running
    running.stop()


def allow(sandbox: Sandbox, account: str = "acme", name: str = "ada") -> str:
    """A code for that account."""
    return Person(sandbox, name).allow(f"/bime/{account}/oauth/authorize", **ASK)["code"]


def exchange(code: str, **changes: str) -> dict[str, str]:
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    return data | CLIENT | changes


def refresh(token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token} | CLIENT


def token_of(sandbox: Sandbox, account: str = "acme", name: str = "ada") -> dict[str, str]:
    code = allow(sandbox, account, name)
    answer = sandbox.post(f"/bime/{account}/oauth/token", exchange(code))
    token: dict[str, str] = answer.json()
    return token


def assert_invalid_grant(answer: requests.Response) -> None:
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_grant"
    assert answer.json()["error_description"].startswith("The provided authorization grant is")


def test_bime_from_login_to_a_dead_refresh_token(sandbox: Sandbox) -> None:
    before = sandbox.state("bime")["reuse_detected"]
    ada = Person(sandbox)
    with ada.browser:
        page = ada.open("/bime/acme/oauth/authorize", **ASK, state="s-1")
        assert "See and use the dashboards of acme" in page.text
        callback = callback_parameters(ada.answer(page, allow="true"))
    assert set(callback) == {"code", "state"}
    answer = sandbox.post("/bime/acme/oauth/token", exchange(callback["code"]))
    token = answer.json()
    assert token | {"access_token": "", "refresh_token": ""} == {
        "access_token": "",
        "refresh_token": "",
        "token_type": "bearer",
        "expires_in": 7200,
        "scope": "",
    }
    listed = sandbox.get(DASHBOARDS, token["access_token"]).json()
    assert listed["error"] is None
    assert {row["account"] for row in listed["result"]} == {"acme"}
    in_query = sandbox.get(f"{DASHBOARDS}?access_token={token['access_token']}")
    assert in_query.json() == listed

    renewed = sandbox.post("/bime/acme/oauth/token", refresh(token["refresh_token"])).json()
    assert renewed["refresh_token"] != token["refresh_token"]
    assert sandbox.get(DASHBOARDS, token["access_token"]).status_code == 401
    assert sandbox.get(DASHBOARDS, renewed["access_token"]).json() == listed
    assert_invalid_grant(sandbox.post("/bime/acme/oauth/token", refresh(token["refresh_token"])))
    assert sandbox.state("bime")["reuse_detected"] == before + 1


def test_a_dead_token_gets_the_envelope_of_the_api(sandbox: Sandbox) -> None:
    answer = sandbox.get(DASHBOARDS, "dead")
    assert answer.status_code == 401
    assert answer.json()["result"] is None
    assert answer.json()["error"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["oauth/authorize", "oauth/applications", "draft5/oauth/authorize"]
)
def test_an_unknown_account_is_not_found(sandbox: Sandbox, path: str) -> None:
    assert sandbox.get(f"/bime/initech/{path}").status_code == 404
    assert sandbox.post("/bime/initech/oauth/token", exchange("x")).status_code == 404


def test_a_code_and_a_token_keep_to_their_account(sandbox: Sandbox) -> None:
    code = allow(sandbox, "globex")
    assert_invalid_grant(sandbox.post("/bime/acme/oauth/token", exchange(code)))
    token = sandbox.post("/bime/globex/oauth/token", exchange(code)).json()
    listed = sandbox.get(DASHBOARDS, token["access_token"]).json()["result"]
    assert {row["account"] for row in listed} == {"globex"}
    assert_invalid_grant(sandbox.post("/bime/acme/oauth/token", refresh(token["refresh_token"])))
    assert sandbox.post("/bime/globex/oauth/token", refresh(token["refresh_token"])).ok


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({}, "invalid_grant", id="unknown code"),
        pytest.param({"client_secret": "wrong"}, "invalid_client", id="wrong secret"),
        pytest.param({"client_id": "badgr-demo"}, "invalid_client", id="client of another"),
        pytest.param({"grant_type": "client_credentials"}, "unsupported_grant_type", id="grant"),
        pytest.param({"code": ""}, "invalid_request", id="no code"),
    ],
)
def test_every_refusal_is_a_401_with_a_description(
    sandbox: Sandbox, changes: dict[str, str], error: str
) -> None:
    fields = exchange("unknown") | changes
    sent = {name: value for name, value in fields.items() if value}
    answer = sandbox.post("/bime/acme/oauth/token", sent)
    assert (answer.status_code, answer.json()["error"]) == (401, error)
    assert answer.json()["error_description"]


def test_another_redirect_uri_is_a_wrong_grant(sandbox: Sandbox) -> None:
    other = "http://localhost:8000/connections/bime/callback/"
    data = exchange(allow(sandbox), redirect_uri=other)
    assert_invalid_grant(sandbox.post("/bime/acme/oauth/token", data))


def test_the_parameters_may_be_in_the_query(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/bime/acme/oauth/token"
    answer = requests.post(url, params=exchange(allow(sandbox)), timeout=5)
    assert answer.status_code == 200


def test_a_refusal_comes_back(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    with ada.browser:
        page = ada.open("/bime/acme/oauth/authorize", **ASK, state="s-2")
        callback = callback_parameters(ada.answer(page, deny="true"))
        assert callback == {"error": "access_denied", "state": "s-2"}
        draft5 = {"type": "web_server", "client_id": "bime-demo", "redirect_uri": CALLBACK}
        page = ada.open("/bime/acme/draft5/oauth/authorize", **draft5)
        assert callback_parameters(ada.answer(page, deny="true")) == {"error": "user_denied"}


def test_draft_5_has_types_and_answers_as_a_form(sandbox: Sandbox) -> None:
    ask = {"type": "web_server", "client_id": "bime-demo", "redirect_uri": CALLBACK}
    code = Person(sandbox).allow("/bime/acme/draft5/oauth/authorize", **ask)["code"]
    path = "/bime/acme/draft5/oauth/token"
    data = {"type": "web_server", "code": code, "redirect_uri": CALLBACK} | CLIENT
    answer = sandbox.post(path, data)
    assert answer.headers["Content-Type"] == "application/x-www-form-urlencoded"
    token = dict(parse_qsl(answer.text))
    assert sorted(token) == ["access_token", "expires_in", "refresh_token"]
    assert sandbox.get(DASHBOARDS, token["access_token"]).status_code == 200

    before = sandbox.state("bime")["token_requests"]["refresh_token"]
    again = {"type": "refresh", "refresh_token": token["refresh_token"]} | CLIENT
    renewed = dict(parse_qsl(sandbox.post(path, again).text))
    assert sandbox.get(DASHBOARDS, renewed["access_token"]).status_code == 200
    assert sandbox.state("bime")["token_requests"]["refresh_token"] == before + 1

    refusals = [(data, "bad_authorization_code"), (again, "authorization_expired")]
    refusals += [(again | {"client_secret": "wrong"}, "invalid_client_credentials")]
    refusals += [(again | {"type": "user_agent"}, "unsupported_grant_type")]
    for fields, error in refusals:
        refused = sandbox.post(path, fields)
        assert (refused.status_code, refused.text) == (400, f"error={error}")


def test_a_personal_token_works_until_it_is_revoked(sandbox: Sandbox) -> None:
    grace = Person(sandbox, "grace")
    with grace.browser:
        page = grace.answer(grace.open("/bime/globex/oauth/applications"), make="true")
        token = re.search(r'id="personal-token">(\w+)<', page.text)
        assert token
        listed = sandbox.get(DASHBOARDS, token[1]).json()["result"]
        assert {row["account"] for row in listed} == {"globex"}
        assert sandbox.get(f"{DASHBOARDS}?access_token={token[1]}").status_code == 200
        assert sandbox.state("bime")["alive_by_user"]["grace"] == 1

        page = grace.open("/bime/globex/oauth/applications")
        assert token[1] not in page.text
        number = re.search(r'name="revoke" value="(\d+)"', page.text)
        assert number
        assert "You have none." in grace.answer(page, revoke=number[1]).text
    assert sandbox.get(DASHBOARDS, token[1]).status_code == 401
    assert "grace" not in sandbox.state("bime")["alive_by_user"]


def test_a_person_removes_a_site_on_the_page_of_the_account(sandbox: Sandbox) -> None:
    token = token_of(sandbox, name="grace")
    grace = Person(sandbox, "grace")
    with grace.browser:
        page = grace.open("/bime/acme/oauth/applications")
        number = re.search(r'name="remove" value="(\d+)"', page.text)
        assert number
        assert "There are none." in grace.answer(page, remove=number[1]).text
    assert sandbox.get(DASHBOARDS, token["access_token"]).status_code == 401
    assert_invalid_grant(sandbox.post("/bime/acme/oauth/token", refresh(token["refresh_token"])))


def test_revoking_from_outside_leaves_the_person_nothing(sandbox: Sandbox) -> None:
    token = token_of(sandbox)
    assert sandbox.post("/sandbox/users/ada/revoke/bime", {}).json()["revoked"] >= 1
    assert "ada" not in sandbox.state("bime")["alive_by_user"]
    assert sandbox.get(DASHBOARDS, token["access_token"]).status_code == 401


def test_too_many_requests_to_an_account_have_to_wait(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    options = ["--throttle", "--access-token-seconds", "30"]
    throttled = Sandbox.start(tmp_path_factory.mktemp("throttle"), *options)
    try:
        token = token_of(throttled)
        assert token["expires_in"] == 30
        wait_for(lambda: throttled.get(DASHBOARDS, token["access_token"]).status_code == 429)
        refused = throttled.get(DASHBOARDS, token["access_token"])
        assert 1 <= int(refused.headers["Retry-After"]) <= 10
        assert refused.json()["result"] is None
        refused = throttled.post("/bime/acme/oauth/token", refresh(token["refresh_token"]))
        assert (refused.status_code, refused.json()["error"]) == (429, "too_many_requests")
        assert int(refused.headers["Retry-After"])
        # Another account has a count of its own.
        assert throttled.post("/bime/globex/oauth/token", exchange("x")).status_code == 401
    finally:
        throttled.stop()
