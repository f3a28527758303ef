"""The sandbox's OpenID provider, found by nothing but its issuer."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from jwcrypto import jwk, jwt

from tests.sandbox.sandbox_client import (
    S256,
    SITE,
    VERIFIER,
    Person,
    Sandbox,
    callback_parameters,
)

CALLBACK = f"{SITE}/connections/oidc/callback/"
CLIENT = ("oidc-demo", "oidc-demo-secret")
SCOPE = "openid profile email"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("oidc"))
    yield running
    running.stop()


@pytest.fixture
def described(sandbox: Sandbox) -> dict[str, Any]:
    answer: dict[str, Any] = sandbox.get("/oidc/.well-known/openid-configuration").json()
    return answer


def ask(**changes: str) -> dict[str, str]:
    query = {"client_id": CLIENT[0], "redirect_uri": CALLBACK, "response_type": "code"}
    return query | {"scope": SCOPE, "state": "s-1", "nonce": "n-1"} | S256 | changes


def token_of(sandbox: Sandbox, name: str = "ada") -> dict[str, str]:
    code = Person(sandbox, name).allow("/oidc/authorize/", **ask())["code"]
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    answer = sandbox.post("/oidc/token/", data | {"code_verifier": VERIFIER}, auth=CLIENT)
    token: dict[str, str] = answer.json()
    return token


def refresh(sandbox: Sandbox, token: str) -> requests.Response:
    data = {"grant_type": "refresh_token", "refresh_token": token}
    return sandbox.post("/oidc/token/", data, auth=CLIENT)


def test_all_addresses_are_found_by_the_issuer(sandbox: Sandbox, described: dict[str, Any]) -> None:
    issuer = f"{sandbox.url}/oidc"
    assert described["issuer"] == issuer
    assert described["authorization_endpoint"] == f"{issuer}/authorize/"
    assert described["token_endpoint"] == f"{issuer}/token/"
    assert described["userinfo_endpoint"] == f"{issuer}/userinfo/"
    assert described["code_challenge_methods_supported"] == ["S256"]
    assert described["authorization_response_iss_parameter_supported"] is True
    assert sorted(described["scopes_supported"]) == ["email", "openid", "profile"]
    assert {"sub", "name", "email"} <= set(described["claims_supported"])


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server/oidc",
        "/oidc/.well-known/oauth-authorization-server",
    ],
)
def test_rfc_8414_says_the_same_and_names_the_revocation(
    sandbox: Sandbox, described: dict[str, Any], path: str
) -> None:
    before = sandbox.state("oidc")["discoveries"]
    metadata = sandbox.get(path).json()
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"):
        assert metadata[name] == described[name]
    assert metadata["revocation_endpoint"] == f"{sandbox.url}/oidc/revoke_token/"
    assert sandbox.state("oidc")["discoveries"] == before + 1


def test_from_login_to_revocation(sandbox: Sandbox, described: dict[str, Any]) -> None:
    before = sandbox.state("oidc")
    ada = Person(sandbox)
    with ada.browser:
        page = ada.open("/oidc/authorize/", **ask())
        assert "See your e-mail address" in page.text
        callback = callback_parameters(ada.answer(page, allow="true"))
    assert callback["iss"] == described["issuer"]
    assert callback["state"] == "s-1"
    data = {
        "grant_type": "authorization_code",
        "code": callback["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    token = sandbox.post("/oidc/token/", data, auth=CLIENT).json()
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
    assert token["scope"] == SCOPE
    person = sandbox.get("/oidc/userinfo/", token["access_token"]).json()
    assert person["email"] == "ada@sandbox.example"
    assert person["name"] == "Ada Lovelace"

    renewed = refresh(sandbox, token["refresh_token"]).json()
    assert sandbox.get("/oidc/userinfo/", token["access_token"]).status_code == 401
    assert sandbox.get("/oidc/userinfo/", renewed["access_token"]).json() == person
    gone = {"token": renewed["refresh_token"], "token_type_hint": "refresh_token"}
    assert sandbox.post("/oidc/revoke_token/", gone, auth=CLIENT).status_code == 200
    assert sandbox.get("/oidc/userinfo/", renewed["access_token"]).status_code == 401
    dead = refresh(sandbox, renewed["refresh_token"])
    assert (dead.status_code, dead.json()["error"]) == (400, "invalid_grant")
    after = sandbox.state("oidc")
    assert after["alive_grants"] == before["alive_grants"]
    assert after["revocations"] == before["revocations"] + 1


def test_the_id_token_is_signed_by_a_published_key(
    sandbox: Sandbox, described: dict[str, Any]
) -> None:
    token = token_of(sandbox)
    keys = jwk.JWKSet.from_json(requests.get(described["jwks_uri"], timeout=5).text)
    opened = jwt.JWT(jwt=token["id_token"], key=keys, algs=["RS256"])
    claims = jwt.json_decode(opened.claims)
    assert claims["iss"] == described["issuer"]
    assert claims["aud"] == CLIENT[0]
    assert claims["nonce"] == "n-1"
    assert claims["sub"] == sandbox.get("/oidc/userinfo/", token["access_token"]).json()["sub"]


def test_a_challenge_is_demanded_and_verified(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    without = {name: value for name, value in ask().items() if name not in S256}
    with ada.browser:
        ada.open("/oidc/authorize/", **ask())
        url = f"{sandbox.url}/oidc/authorize/"
        sent_back = ada.browser.get(url, params=without, allow_redirects=False, timeout=5)
    assert callback_parameters(sent_back)["error"] == "invalid_request"
    code = Person(sandbox).allow("/oidc/authorize/", **ask())["code"]
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    wrong = sandbox.post("/oidc/token/", data | {"code_verifier": "w" * 64}, auth=CLIENT)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")


def test_a_refusal_tells_the_issuer_too(sandbox: Sandbox) -> None:
    ada = Person(sandbox)
    with ada.browser:
        page = ada.open("/oidc/authorize/", **ask())
        answer = callback_parameters(ada.answer(page, deny="true"))
    assert answer == {"error": "access_denied", "state": "s-1", "iss": f"{sandbox.url}/oidc"}


def test_only_this_provider_tells_its_issuer(sandbox: Sandbox) -> None:
    callback = f"{SITE}/connections/badgr/callback/"
    answer = Person(sandbox).allow(
        "/badgr/auth/oauth2/authorize", client_id="badgr-demo", redirect_uri=callback
    )
    assert "iss" not in answer


def test_a_client_and_a_token_of_another_provider_are_nothing_here(sandbox: Sandbox) -> None:
    bits = sandbox.post(
        "/bits/v1/oauth2/token",
        {"grant_type": "client_credentials"},
        auth=("bits-demo", "bits-demo-secret"),
    ).json()
    assert sandbox.get("/oidc/userinfo/", bits["access_token"]).status_code == 401
    data = {"grant_type": "refresh_token", "refresh_token": "x"}
    answer = sandbox.post("/oidc/token/", data, auth=("badgr-demo", "badgr-demo-secret"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    # An id_token is no access token anywhere else.
    id_token = token_of(sandbox)["id_token"]
    assert sandbox.get("/badgr/v2/users/self", id_token).status_code == 401
    assert sandbox.get("/bits/v1/oauth2/userinfo", id_token).status_code == 401


def test_a_person_can_end_the_connection(sandbox: Sandbox) -> None:
    token = token_of(sandbox, "grace")
    assert sandbox.post("/sandbox/users/grace/revoke/oidc", {}).json()["revoked"] >= 1
    assert sandbox.get("/oidc/userinfo/", token["access_token"]).status_code == 401
    assert refresh(sandbox, token["refresh_token"]).json()["error"] == "invalid_grant"
