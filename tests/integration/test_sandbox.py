"""The sandbox's authorization servers, run as the real process and walked over real HTTP."""

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration import sandbox_client
from tests.integration.sandbox_client import (
    S256,
    SITE,
    VERIFIER,
    FirstForm,
    callback_parameters,
    wait_for,
)

BADGR_CALLBACK = f"{SITE}/connections/badgr/callback/"
BITBADGES_CALLBACK = f"{SITE}/connections/bitbadges/callback/"
BADGR_CLIENT = {"client_id": "badgr-demo", "client_secret": "badgr-demo-secret"}
BITBADGES_CLIENT = {"client_id": "bitbadges-demo", "client_secret": "bitbadges-demo-secret"}
API_KEY = "sandbox-key"


class Sandbox(sandbox_client.Sandbox):
    """With what a client site asks of Badgr and of BitBadges."""

    @property
    def api(self) -> str:
        return f"{self.url}/bitbadges/api/v0"

    def badgr_token(self, data: dict[str, str]) -> requests.Response:
        return self.post("/badgr/o/token", data)

    def badgr_refresh(self, token: str) -> requests.Response:
        data = {"grant_type": "refresh_token", "refresh_token": token}
        return self.badgr_token(data | BADGR_CLIENT)

    def badgr_self(self, token: str) -> requests.Response:
        return self.get("/badgr/v2/users/self", token)

    def bitbadges(self, path: str, body: dict[str, Any], token: str = "") -> requests.Response:
        headers = {"x-api-key": API_KEY}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return requests.post(f"{self.api}/{path}", json=body, headers=headers, timeout=10)

    def bitbadges_refresh(self, token: str, path: str = "siwbb/token") -> requests.Response:
        body = {"grant_type": "refresh_token", "refresh_token": token}
        return self.bitbadges(path, body | BITBADGES_CLIENT)


class Person(sandbox_client.Person):
    """With accounts at Badgr and at BitBadges."""

    server: Sandbox

    def connect_badgr(self, scope: str = "r:profile r:backpack") -> dict[str, Any]:
        code = self.allow(
            "/badgr/auth/oauth2/authorize",
            client_id="badgr-demo",
            redirect_uri=BADGR_CALLBACK,
            scope=scope,
        )["code"]
        token: dict[str, Any] = self.server.badgr_token(badgr_exchange(code)).json()
        return token

    def connect_bitbadges(self, scope: str = "readProfile,completeClaims") -> dict[str, Any]:
        code = self.allow(
            "/bitbadges/siwbb/authorize",
            client_id="bitbadges-demo",
            redirect_uri=BITBADGES_CALLBACK,
            scope=scope,
        )["code"]
        token: dict[str, Any] = self.server.bitbadges(
            "siwbb/token", bitbadges_exchange(code)
        ).json()
        return token


def badgr_exchange(code: str, **changes: str) -> dict[str, str]:
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": BADGR_CALLBACK}
    return data | BADGR_CLIENT | changes


def bitbadges_exchange(code: str, **changes: str) -> dict[str, str]:
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": BITBADGES_CALLBACK}
    return data | BITBADGES_CLIENT | changes


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("sandbox"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def strict_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Short lives, the throttle on, and an API key to be shown."""
    lives = ["--access-token-seconds", "1", "--refresh-token-seconds", "1"]
    options = ["--throttle", "--require-api-key", API_KEY]
    running = Sandbox.start(tmp_path_factory.mktemp("strict"), *lives, *options)
    yield running
    running.stop()


# The process


def test_it_stops_with_0_when_told_to_and_remembers_its_grants(tmp_path: Path) -> None:
    first = Sandbox.start(tmp_path)
    try:
        token = Person(first).connect_badgr()
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(timeout=5) == 0
    finally:
        first.stop()

    second = Sandbox.start(tmp_path)
    try:
        assert second.badgr_self(token["access_token"]).status_code == 200
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(timeout=5) == 0
    finally:
        second.stop()
    assert (tmp_path / "server.log").read_text().splitlines() == [f"sandbox ready on {second.url}"]


def test_the_state_tells_no_secrets(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr()
    answer = requests.get(f"{sandbox.url}/sandbox/state", timeout=5).text
    assert token["access_token"] not in answer
    assert token["refresh_token"] not in answer
    assert "secret" not in answer


# Badgr


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


def test_a_refusal_at_badgr_comes_back_in_its_own_words(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    page = ada.open(
        "/badgr/auth/oauth2/authorize",
        client_id="badgr-demo",
        redirect_uri=BADGR_CALLBACK,
        state="s-2",
    )
    assert callback_parameters(ada.answer(page, deny="true")) == {
        "error": "access_denied",
        "error_code": "200",
        "error_description": "Permissions error",
        "error_reason": "user_denied",
        "state": "s-2",
    }


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:8001/connections/badgr/callback/",
        f"{BADGR_CALLBACK}?next=/",
        "https://elsewhere.example/connections/badgr/callback/",
    ],
)
def test_a_redirect_uri_that_is_not_registered_is_refused_on_the_page(
    sandbox: Sandbox, redirect_uri: str
) -> None:
    page = Person(sandbox).open(
        "/badgr/auth/oauth2/authorize", client_id="badgr-demo", redirect_uri=redirect_uri
    )
    assert page.status_code == 400
    assert "cannot be answered" in page.text


def test_scopes_that_badgr_does_not_know_are_left_out(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr("r:profile r:unheard-of")
    assert token["scope"] == "r:profile"
    assert sandbox.get("/badgr/v2/backpack/assertions", token["access_token"]).status_code == 403


def test_badgr_shows_the_backpack_and_the_old_profile(sandbox: Sandbox) -> None:
    token = Person(sandbox, "grace").connect_badgr()["access_token"]
    assertions = sandbox.get("/badgr/v2/backpack/assertions", token).json()
    assert assertions["status"] == {"success": True, "description": "ok"}
    assert {row["entityType"] for row in assertions["result"]} == {"Assertion"}
    profile = sandbox.get("/badgr/v1/user/profile", token).json()
    current = sandbox.badgr_self(token).json()["result"][0]
    assert profile["slug"] == current["entityId"]
    assert sandbox.get("/badgr/v2/user/profile", token).status_code == 404


def test_a_dead_token_gets_badgrs_envelope(sandbox: Sandbox) -> None:
    answer = sandbox.badgr_self("dead")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/ld+json"
    assert answer.json() == {
        "status": {"success": False, "description": "no valid auth token found"},
        "result": [],
        "fieldErrors": {},
        "validationErrors": [],
    }


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


CODE_GRANT = {"grant_type": "authorization_code", "code": "x", "redirect_uri": BADGR_CALLBACK}


@pytest.mark.parametrize(
    ("options", "status", "content_type", "body"),
    [
        pytest.param(
            {"data": CODE_GRANT, "auth": ("badgr-demo", "wrong")},
            400,
            "text/html",
            {"error": "invalid client_secret"},
            id="wrong secret by Basic",
        ),
        pytest.param(
            {"data": CODE_GRANT, "auth": ("%62adgr-demo", "badgr-demo-secret")},
            400,
            "text/html",
            {"error": "invalid client_id"},
            id="Basic is not percent-decoded",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT | {"client_secret": "wrong"}},
            401,
            "application/json",
            {"error": "invalid_client"},
            id="wrong secret in the body",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT | {"client_id": "unknown"}},
            400,
            "text/html",
            {"error": "invalid client_id"},
            id="unknown client",
        ),
        pytest.param(
            {"data": CODE_GRANT | BITBADGES_CLIENT},
            400,
            "text/html",
            {"error": "invalid client_id"},
            id="client of the other provider",
        ),
        pytest.param(
            {"data": CODE_GRANT},
            400,
            "application/json",
            {"error": "invalid_grant"},
            id="no client",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT},
            400,
            "application/json",
            {"error": "invalid_grant"},
            id="unknown code",
        ),
        pytest.param(
            {"data": CODE_GRANT | BADGR_CLIENT | {"scope": "rw:everything"}},
            400,
            "text/html",
            {"error": "invalid scope requested"},
            id="unknown scope",
        ),
        pytest.param(
            {"json": CODE_GRANT | BADGR_CLIENT},
            400,
            "application/json",
            {
                "error": "invalid_request",
                "error_description": "Request is missing username parameter.",
            },
            id="JSON body",
        ),
        pytest.param(
            {"data": {"grant_type": "client_credentials"} | BADGR_CLIENT},
            400,
            "application/json",
            {"error": "unauthorized_client"},
            id="client credentials",
        ),
    ],
)
def test_badgr_words_its_refusals(
    sandbox: Sandbox,
    options: dict[str, Any],
    status: int,
    content_type: str,
    body: dict[str, str],
) -> None:
    answer = requests.post(f"{sandbox.url}/badgr/o/token", timeout=5, **options)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.json() == body


def test_badgr_refuses_a_query_string_and_takes_a_trailing_slash(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/badgr/o/token"
    answer = requests.post(f"{url}?code=x", data=CODE_GRANT | BADGR_CLIENT, timeout=5)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.json()["error"].startswith("Token grant parameters must be sent in post body")
    slashed = requests.post(f"{url}/", data=CODE_GRANT | BADGR_CLIENT, timeout=5)
    assert slashed.json() == {"error": "invalid_grant"}


def test_badgr_compares_the_redirect_uri_of_the_exchange(sandbox: Sandbox) -> None:
    code = Person(sandbox).allow(
        "/badgr/auth/oauth2/authorize", client_id="badgr-demo", redirect_uri=BADGR_CALLBACK
    )["code"]
    other = "http://localhost:8000/connections/badgr/callback/"
    answer = sandbox.badgr_token(badgr_exchange(code, redirect_uri=other))
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_request",
        "error_description": "Mismatching redirect URI.",
    }


def test_a_narrower_scope_at_refresh_narrows_the_token(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_badgr()
    data = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    narrowed = sandbox.badgr_token(data | BADGR_CLIENT | {"scope": "r:profile"}).json()
    assert narrowed["scope"] == "r:profile"


def test_the_throttle_locks_every_client_out_after_an_invalid_grant(
    strict_sandbox: Sandbox,
) -> None:
    token = Person(strict_sandbox).connect_badgr()["refresh_token"]
    assert strict_sandbox.badgr_token(CODE_GRANT | BADGR_CLIENT).status_code == 400
    throttled = strict_sandbox.badgr_refresh(token)
    assert throttled.status_code == 429
    assert throttled.headers["Content-Type"].startswith("text/html")
    assert "Retry-After" not in throttled.headers
    assert throttled.json() == {
        "error_description": "Too many login attempts. Please wait and try again.",
        "error": "login attempts throttled",
        "expires": 2,
    }
    assert wait_for(lambda: strict_sandbox.badgr_refresh(token).status_code == 200)


# BitBadges


def test_bitbadges_from_login_to_revocation(sandbox: Sandbox) -> None:
    before = sandbox.state("bitbadges")
    ada = Person(sandbox)
    page = ada.open(
        "/bitbadges/siwbb/authorize",
        client_id="bitbadges-demo",
        redirect_uri=BITBADGES_CALLBACK,
        state="s-3",
        scope="readProfile,completeClaims",
    )
    assert "<h1>Sandbox BitBadges</h1>" in page.text
    callback = callback_parameters(ada.answer(page, allow="true"))
    assert callback["state"] == "s-3"

    token = sandbox.bitbadges("siwbb/token", bitbadges_exchange(callback["code"])).json()
    assert re.fullmatch("[0-9a-f]{64}", token["access_token"])
    assert abs(token["access_token_expires_at"] / 1000 - time.time() - 60) < 10
    assert int(token["refresh_token_expires_at"]) / 1000 > time.time() + 29 * 86400
    assert isinstance(token["refresh_token_expires_at"], str)
    assert not {"expires_in", "scope"} & set(token)

    status = sandbox.bitbadges("auth/status", {}, token["access_token"]).json()
    assert status == {
        "signedIn": True,
        "address": token["address"],
        "chain": token["chain"],
        "bitbadgesAddress": token["bitbadgesAddress"],
        "scopes": [{"scopeName": "readProfile"}, {"scopeName": "completeClaims"}],
    }
    renewed = sandbox.bitbadges_refresh(token["refresh_token"]).json()
    assert renewed["bitbadgesAddress"] == token["bitbadgesAddress"]
    dead = sandbox.bitbadges("auth/status", {}, token["access_token"])
    assert (dead.status_code, dead.json()) == (200, {"signedIn": False})

    by_refresh_token = sandbox.bitbadges("siwbb/token/revoke", {"token": renewed["refresh_token"]})
    assert by_refresh_token.status_code == 500
    assert "Could not find doc" in by_refresh_token.json()["errorMessage"]
    revoked = sandbox.bitbadges("siwbb/token/revoke", {"token": renewed["access_token"]})
    assert (revoked.status_code, revoked.json()) == (200, {"message": "Token revoked"})
    again = sandbox.bitbadges("siwbb/token/revoke", {"token": renewed["access_token"]})
    assert again.status_code == 500
    refused = sandbox.bitbadges_refresh(renewed["refresh_token"])
    assert refused.status_code == 500
    assert refused.json() == {"errorMessage": "Invalid refresh token."}
    after = sandbox.state("bitbadges")
    assert after["alive_grants"] == before["alive_grants"]
    assert after["revocations"] == before["revocations"] + 1


def test_bitbadges_of_may_2024_speaks_camel_case_and_labels(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    code = ada.allow(
        "/bitbadges/oauth",
        client_id="bitbadges-demo",
        redirect_uri=BITBADGES_CALLBACK,
        scope="Create Address Lists,Complete Claims",
    )["code"]
    token = sandbox.bitbadges("oauth/token", bitbadges_exchange(code)).json()
    assert sorted(token["scopes"]) == ["Complete Claims", "Create Address Lists"]
    assert token["tokenType"] == "bearer"
    assert token["accessTokenExpiresAt"] > time.time() * 1000
    assert token["cosmosAddress"].startswith("cosmos1")

    renewed = sandbox.bitbadges_refresh(token["refreshToken"], "oauth/token").json()
    reused = sandbox.bitbadges_refresh(token["refreshToken"], "oauth/token")
    assert reused.status_code == 400
    assert reused.json() == {"error": "Invalid refresh token"}
    status = sandbox.bitbadges("auth/status", {}, renewed["accessToken"]).json()
    assert status == {"signedIn": False}
    gone = sandbox.bitbadges("oauth/token/revoke", {"token": renewed["accessToken"]})
    assert gone.status_code == 500


def test_without_a_scope_the_person_ticks_them(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    page = ada.open(
        "/bitbadges/siwbb/authorize",
        client_id="bitbadges-demo",
        redirect_uri=BITBADGES_CALLBACK,
    )
    assert "completeClaims" in FirstForm(page.text).choices
    nothing = ada.answer(page, allow="true")
    asked_again = ada.browser.get(sandbox.url + nothing.headers["Location"], timeout=5)
    assert "at least one" in asked_again.text
    answer = ada.answer(asked_again, allow="true", scope=["report", "completeClaims"])
    code = callback_parameters(answer)["code"]
    token = sandbox.bitbadges("siwbb/token", bitbadges_exchange(code)).json()["access_token"]
    scopes = sandbox.bitbadges("auth/status", {}, token).json()["scopes"]
    assert {row["scopeName"] for row in scopes} == {"report", "completeClaims"}
    refusal = callback_parameters(ada.answer(page, deny="true"))
    assert refusal["error"] == "access_denied"


def test_a_claim_needs_the_scope_for_it(sandbox: Sandbox) -> None:
    able = Person(sandbox).connect_bitbadges()["access_token"]
    unable = Person(sandbox).connect_bitbadges("readProfile")["access_token"]
    assert sandbox.bitbadges("claims/complete/c1/bb1x", {}, able).status_code == 200
    refused = sandbox.bitbadges("claims/complete/c1/bb1x", {}, unable)
    assert refused.status_code == 401
    assert refused.json()["unauthorized"] is True


def test_bitbadges_takes_a_form_and_basic_too(sandbox: Sandbox) -> None:
    token = Person(sandbox).connect_bitbadges()["refresh_token"]
    answer = requests.post(
        f"{sandbox.api}/siwbb/token",
        data={"grant_type": "refresh_token", "refresh_token": token},
        auth=("bitbadges-demo", "bitbadges-demo-secret"),
        timeout=5,
    )
    assert answer.status_code == 200


BITBADGES_CODE = CODE_GRANT | {"redirect_uri": BITBADGES_CALLBACK} | BITBADGES_CLIENT
BITBADGES_REFRESH = {"grant_type": "refresh_token", "refresh_token": "x"} | BITBADGES_CLIENT


@pytest.mark.parametrize(
    ("body", "now", "legacy"),
    [
        pytest.param(
            BITBADGES_CODE | {"client_secret": "wrong"},
            "Invalid client secret.",
            "Invalid client credentials",
            id="wrong secret",
        ),
        pytest.param(
            BITBADGES_CODE | {"client_id": "unknown"},
            "Invalid client ID or redirect URI.",
            None,
            id="unknown client",
        ),
        pytest.param(BITBADGES_CODE, "Invalid code.", None, id="unknown code"),
        pytest.param(
            BITBADGES_REFRESH,
            "Invalid refresh token.",
            "Invalid refresh token",
            id="unknown refresh token",
        ),
        pytest.param(
            BITBADGES_REFRESH | {"redirect_uri": "https://elsewhere.example/"},
            "Invalid redirect URI.",
            "Invalid redirect URI",
            id="redirect URI of somebody else",
        ),
        pytest.param(
            BITBADGES_CODE | {"grant_type": "client_credentials"},
            "Invalid grant type.",
            "Unsupported grant type",
            id="grant type",
        ),
    ],
)
def test_bitbadges_words_its_refusals(
    sandbox: Sandbox, body: dict[str, str], now: str, legacy: str | None
) -> None:
    answer = sandbox.bitbadges("siwbb/token", body)
    assert (answer.status_code, answer.json()) == (500, {"errorMessage": now})
    answer = sandbox.bitbadges("oauth/token", body)
    if legacy is not None:
        assert (answer.status_code, answer.json()) == (400, {"error": legacy})
    else:
        assert answer.status_code == 500
        assert "Could not find doc w/ id" in answer.json()["errorMessage"]


@pytest.mark.parametrize("body", [[], {}, {"grant_type": 1}])
def test_a_payload_of_the_wrong_shape_is_a_400(sandbox: Sandbox, body: Any) -> None:
    answer = sandbox.bitbadges("siwbb/token", body)
    assert answer.status_code == 400
    assert answer.json()["errorMessage"].startswith("Invalid request payload.")


def test_a_token_of_one_provider_is_nothing_to_the_other(sandbox: Sandbox) -> None:
    badgr = Person(sandbox).connect_badgr()
    bitbadges = Person(sandbox).connect_bitbadges()
    assert sandbox.badgr_self(bitbadges["access_token"]).status_code == 401
    status = sandbox.bitbadges("auth/status", {}, badgr["access_token"])
    assert status.json() == {"signedIn": False}
    assert sandbox.badgr_refresh(bitbadges["refresh_token"]).status_code == 400
    assert sandbox.bitbadges_refresh(bitbadges["refresh_token"]).status_code == 200


def test_a_person_can_end_the_connection_at_the_provider(sandbox: Sandbox) -> None:
    grace = Person(sandbox, "grace")
    badgr, bitbadges = grace.connect_badgr(), grace.connect_bitbadges()
    url = f"{sandbox.url}/sandbox/users/grace/revoke/bitbadges"
    assert requests.post(url, timeout=5).json()["revoked"] >= 1
    assert "grace" not in sandbox.state("bitbadges")["alive_by_user"]
    assert sandbox.bitbadges_refresh(bitbadges["refresh_token"]).status_code == 500
    assert sandbox.badgr_refresh(badgr["refresh_token"]).status_code == 200
    assert (
        requests.post(f"{sandbox.url}/sandbox/users/nobody/revoke/badgr", timeout=5).status_code
        == 404
    )


def test_the_api_key_is_demanded_when_asked_for(strict_sandbox: Sandbox) -> None:
    for path in ("siwbb/token", "siwbb/token/revoke", "auth/status", "claims/complete/c/a"):
        answer = requests.post(f"{strict_sandbox.api}/{path}", json={}, timeout=5)
        assert answer.status_code == 401
        assert answer.json() == {"errorMessage": "Unauthorized request. Error validating API key."}
    assert strict_sandbox.bitbadges("auth/status", {}).json() == {"signedIn": False}


def test_tokens_die_of_age(strict_sandbox: Sandbox) -> None:
    token = Person(strict_sandbox).connect_bitbadges()
    assert wait_for(
        lambda: (
            strict_sandbox.bitbadges("auth/status", {}, token["access_token"]).json()
            == {"signedIn": False}
        )
    )
    assert wait_for(lambda: strict_sandbox.state("bitbadges")["alive_grants"] == 0)
    answer = strict_sandbox.bitbadges_refresh(token["refresh_token"])
    assert answer.json() == {"errorMessage": "Refresh token expired."}
    assert strict_sandbox.bitbadges_refresh(token["refresh_token"], "oauth/token").json() == {
        "error": "Token has expired"
    }
