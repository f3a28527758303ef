"""The sandbox's Badgr: codes, tokens and their families, the API, and revocation."""

from concurrent.futures import ThreadPoolExecutor

import requests

from tests.sandbox.badgr_and_bitbadges import (
    BADGR_CALLBACK,
    BADGR_CLIENT,
    Person,
    Sandbox,
    badgr_exchange,
)
from tests.sandbox.sandbox_client import S256, VERIFIER, callback_parameters


def test_badgr_from_login_to_revocation(sandbox: Sandbox) -> None:
    before = sandbox.state("badgr")
    query = {"client_id": "badgr-demo", "redirect_uri": BADGR_CALLBACK}
    ada = Person(sandbox)
    page = ada.open(
        "/badgr/auth/oauth2/authorize", **query, scope="r:profile r:backpack", state="s-1"
    )
    assert "<h1>Sandbox Badgr</h1>" in page.text
    assert "See the badges in your backpack" in page.text
    callback = callback_parameters(ada.answer(page, allow="true"))
    assert callback["state"] == "s-1"
    assert callback["scope"] == "r:profile r:backpack"

    answer = sandbox.badgr_token(badgr_exchange(callback["code"]))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json()
    assert len(token["access_token"]) == 30
    assert token | {"access_token": "", "refresh_token": ""} == {
        "access_token": "",
        "refresh_token": "",
        "expires_in": 60,
        "token_type": "Bearer",
        "scope": "r:profile r:backpack",
    }
    person = sandbox.badgr_self(token["access_token"]).json()["result"][0]
    assert person["emails"][0]["email"] == "ada@sandbox.example"
    assert sandbox.state("badgr")["alive_by_user"]["ada"] >= 1

    renewed = sandbox.badgr_refresh(token["refresh_token"]).json()
    assert sandbox.badgr_self(token["access_token"]).status_code == 401
    assert (
        sandbox.badgr_self(renewed["access_token"]).json()["result"][0]["entityId"]
        == (person["entityId"])
    )

    revoked = requests.post(
        f"{sandbox.url}/badgr/o/revoke_token/",
        data={"token": renewed["refresh_token"], "token_type_hint": "refresh_token"},
        auth=("badgr-demo", "badgr-demo-secret"),
        timeout=5,
    )
    assert (revoked.status_code, revoked.text) == (200, "")
    assert revoked.headers["Content-Type"].startswith("text/html")
    assert sandbox.badgr_self(renewed["access_token"]).status_code == 401
    assert sandbox.badgr_refresh(renewed["refresh_token"]).json() == {"error": "invalid_grant"}
    after = sandbox.state("badgr")
    assert after["alive_grants"] == before["alive_grants"]
    assert after["revocations"] == before["revocations"] + 1
    assert after["reuse_detected"] == before["reuse_detected"]


def test_for_a_scope_that_badgr_does_not_know_the_person_stays_there(sandbox: Sandbox) -> None:
    page = Person(sandbox).open(
        "/badgr/auth/oauth2/authorize",
        client_id="badgr-demo",
        redirect_uri=BADGR_CALLBACK,
        scope="r:profile r:unheard-of",
    )
    assert (page.status_code, page.json()) == (400, {"error": ""})


def test_without_the_scope_the_backpack_is_not_found(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr("r:profile")
    assert token["scope"] == "r:profile"
    assert sandbox.get("/badgr/v2/backpack/assertions", token["access_token"]).status_code == 404


def test_badgr_shows_the_backpack_and_the_old_profile(sandbox: Sandbox) -> None:
    token = Person(sandbox, "grace").connect_badgr()["access_token"]
    assertions = sandbox.get("/badgr/v2/backpack/assertions", token).json()
    assert assertions["status"] == {"success": True, "description": "ok"}
    assert {row["entityType"] for row in assertions["result"]} == {"Assertion"}
    profile = sandbox.get("/badgr/v1/user/profile", token).json()
    current = sandbox.badgr_self(token).json()["result"][0]
    assert profile["slug"] == current["entityId"]
    assert sandbox.get("/badgr/v2/user/profile", token).status_code == 404


def test_a_badgr_code_works_once(sandbox: Sandbox) -> None:
    code = Person(sandbox).allow(
        "/badgr/auth/oauth2/authorize", client_id="badgr-demo", redirect_uri=BADGR_CALLBACK
    )["code"]
    assert sandbox.badgr_token(badgr_exchange(code)).status_code == 200
    again = sandbox.badgr_token(badgr_exchange(code))
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})


def test_a_code_challenge_that_was_sent_is_verified(sandbox: Sandbox) -> None:
    code = Person(sandbox).allow(
        "/badgr/auth/oauth2/authorize",
        client_id="badgr-demo",
        redirect_uri=BADGR_CALLBACK,
        **S256,
    )["code"]
    assert sandbox.badgr_token(badgr_exchange(code)).status_code == 400
    wrong = sandbox.badgr_token(badgr_exchange(code, code_verifier="w" * 64))
    assert wrong.json() == {"error": "invalid_grant"}
    assert sandbox.badgr_token(badgr_exchange(code, code_verifier=VERIFIER)).status_code == 200


def test_an_old_refresh_token_kills_the_whole_family(sandbox: Sandbox) -> None:
    first = Person(sandbox).connect_badgr()
    second = sandbox.badgr_refresh(first["refresh_token"]).json()
    before = sandbox.state("badgr")
    assert sandbox.badgr_refresh(first["refresh_token"]).status_code == 400
    assert sandbox.badgr_self(second["access_token"]).status_code == 401
    assert sandbox.badgr_refresh(second["refresh_token"]).status_code == 400
    after = sandbox.state("badgr")
    assert after["reuse_detected"] == before["reuse_detected"] + 1
    assert after["alive_grants"] == before["alive_grants"] - 1
    assert after["failed_token_requests"] == before["failed_token_requests"] + 2


def test_of_many_uses_of_one_refresh_token_at_once_one_succeeds(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr()["refresh_token"]
    before = sandbox.state("badgr")
    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status_code for answer in pool.map(sandbox.badgr_refresh, [token] * 8)]
    assert sorted(statuses) == [200] + [400] * 7
    after = sandbox.state("badgr")
    counted = after["token_requests"]["refresh_token"] - before["token_requests"]["refresh_token"]
    assert counted == 8
    assert after["reuse_detected"] - before["reuse_detected"] == 7


def test_a_revoked_access_token_leaves_a_refresh_token_that_breaks_badgr(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr()
    revoked = requests.post(
        f"{sandbox.url}/badgr/o/revoke_token/",
        data={"token": token["access_token"]} | BADGR_CLIENT,
        timeout=5,
    )
    assert revoked.status_code == 200
    answer = sandbox.badgr_refresh(token["refresh_token"])
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("text/html")


def test_badgrs_revocation_forgives_an_unknown_token_but_not_a_missing_slash(
    sandbox: Sandbox,
) -> None:
    data = {"token": "unknown"} | BADGR_CLIENT
    url = f"{sandbox.url}/badgr/o/revoke_token"
    assert requests.post(f"{url}/", data=data, timeout=5).status_code == 200
    moved = requests.post(url, data=data, allow_redirects=False, timeout=5)
    assert moved.status_code == 301
    assert moved.headers["Location"] == "/badgr/o/revoke_token/"


def test_a_narrower_scope_at_refresh_narrows_the_token(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr()
    data = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    narrowed = sandbox.badgr_token(data | BADGR_CLIENT | {"scope": "r:profile"}).json()
    assert narrowed["scope"] == "r:profile"
