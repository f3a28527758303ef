"""The sandbox's BitBadges: today's endpoints, those of May 2024, and the API key."""

import re
import time
from typing import Any

import pytest
import requests

from tests.sandbox.badgr_and_bitbadges import (
    BITBADGES_CALLBACK,
    BITBADGES_CLIENT,
    Person,
    Sandbox,
    bitbadges_exchange,
)
from tests.sandbox.sandbox_client import FirstForm, callback_parameters, wait_for

BITBADGES_CODE = bitbadges_exchange("x")
BITBADGES_REFRESH = {"grant_type": "refresh_token", "refresh_token": "x"} | BITBADGES_CLIENT


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
        "message": "Successfully signed in.",
        "scopes": [
            {"scopeName": name, "scopeId": name} for name in ("readProfile", "completeClaims")
        ],
    }
    renewed = sandbox.bitbadges_refresh(token["refresh_token"]).json()
    assert renewed["bitbadgesAddress"] == token["bitbadgesAddress"]
    dead = sandbox.bitbadges("auth/status", {}, token["access_token"])
    assert (dead.status_code, dead.json()) == (
        200,
        {"signedIn": False, "message": "Not signed in.", "scopes": []},
    )

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
    assert status == {"signedIn": False, "message": "Not signed in.", "scopes": []}
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


def test_the_api_key_is_demanded_when_asked_for(strict_sandbox: Sandbox) -> None:
    for path in ("siwbb/token", "siwbb/token/revoke", "auth/status", "claims/complete/c/a"):
        answer = requests.post(f"{strict_sandbox.api}/{path}", json={}, timeout=5)
        assert answer.status_code == 401
        assert answer.json() == {"errorMessage": "Unauthorized request. Error validating API key."}
    assert strict_sandbox.bitbadges("auth/status", {}).json() == {
        "signedIn": False,
        "message": "Not signed in.",
        "scopes": [],
    }


def test_tokens_die_of_age(strict_sandbox: Sandbox) -> None:
    token = Person(strict_sandbox).connect_bitbadges()
    assert wait_for(
        lambda: (
            strict_sandbox.bitbadges("auth/status", {}, token["access_token"]).json()
            == {"signedIn": False, "message": "Not signed in.", "scopes": []}
        )
    )
    assert wait_for(lambda: strict_sandbox.state("bitbadges")["alive_grants"] == 0)
    answer = strict_sandbox.bitbadges_refresh(token["refresh_token"])
    assert answer.json() == {"errorMessage": "Refresh token expired."}
    assert strict_sandbox.bitbadges_refresh(token["refresh_token"], "oauth/token").json() == {
        "error": "Token has expired"
    }
