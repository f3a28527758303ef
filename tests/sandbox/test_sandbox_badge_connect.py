"""The sandbox's three Badge Connect hosts, walked from consent to revocation."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox import badge_connect_client
from tests.sandbox.badge_connect_client import OB2
from tests.sandbox.sandbox_client import Person, Sandbox, callback_parameters, wait_for


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("badge-connect"))
    yield running
    running.stop()


# From consent to revocation


def test_open_badges_2_from_consent_to_revocation(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    before = ob2.sandbox.state("badgeconnect")
    host = ob2.registered()
    callback = host.allow()
    assert sorted(callback) == ["code", "state"]
    token = host.exchange(callback["code"]).json()
    assert (token["expires_in"], token["scope"]) == (3600, host.scope)
    answer = host.profile(token["access_token"]).json()
    assert answer["status"] == {"error": None, "statusCode": 200, "statusText": "OK"}
    assert answer["profile"]["name"] == "Ada Lovelace"
    assert answer["profile"]["id"].startswith("http")

    renewed = host.refresh(token["refresh_token"]).json()
    assert renewed["refresh_token"] != token["refresh_token"]
    dead = host.profile(token["access_token"])
    assert dead.status_code == 401
    assert dead.json()["status"]["statusText"] == "UNAUTHENTICATED"
    assert host.revoke(renewed["refresh_token"], token_type_hint="refresh_token").ok
    assert host.profile(renewed["access_token"]).status_code == 401
    assert host.refresh(renewed["refresh_token"]).json()["error"] == "invalid_grant"
    after = ob2.sandbox.state("badgeconnect")
    assert after["alive_grants"] == before["alive_grants"]
    assert after["revocations"] == before["revocations"] + 1


def test_badgr_from_consent_to_revocation(sandbox: Sandbox) -> None:
    badgr = badge_connect_client.badgr(sandbox)
    host = badgr.registered()
    token = host.exchange(host.allow()["code"]).json()
    (profile,) = host.profile(token["access_token"]).json()["results"]
    assert profile["email"] == "ada@sandbox.example"
    assert "id" not in profile
    renewed = host.refresh(token["refresh_token"]).json()
    assert host.revoke(renewed["refresh_token"]).status_code == 200
    assert host.profile(renewed["access_token"]).status_code == 401


def test_open_badges_3_from_consent_to_revocation(sandbox: Sandbox) -> None:
    ob3 = badge_connect_client.open_badges_3(sandbox)
    host = ob3.registered()
    callback = host.allow()
    assert (callback["scope"], callback["state"]) == (host.scope, "s-1")
    token = host.exchange(callback["code"]).json()
    profile = host.profile(token["access_token"]).json()
    assert (profile["type"], profile["name"]) == (["Profile"], "Ada Lovelace")

    # The old refresh token stays good, and is not told again.
    renewed = host.refresh(token["refresh_token"]).json()
    assert "refresh_token" not in renewed
    assert host.profile(token["access_token"]).status_code == 401
    assert host.profile(renewed["access_token"]).json() == profile
    again = host.refresh(token["refresh_token"]).json()

    assert host.revoke(token["refresh_token"]).json()["error"] == "invalid_request"
    odd = host.revoke(token["refresh_token"], token_type_hint="id_token")
    assert (odd.status_code, odd.json()["error"]) == (400, "unsupported_token_type")
    assert host.revoke(token["refresh_token"], token_type_hint="refresh_token").ok
    dead = host.profile(again["access_token"])
    assert (dead.status_code, dead.json()["imsx_codeMajor"]) == (401, "failure")


# What is demanded


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": ""}, "invalid_scope"),
        ({"state": ""}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": ""}, "invalid_request"),
    ],
)
def test_scope_state_and_s256_are_demanded(
    sandbox: Sandbox, changes: dict[str, str], error: str
) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    host = ob2.registered()
    query = {name: value for name, value in host.ask(**changes).items() if value}
    ada = Person(host.sandbox)
    with ada.browser:
        ada.open("/accounts/login/")
        sent_back = ada.browser.get(
            host.authorize_url, params=query, allow_redirects=False, timeout=5
        )
    assert callback_parameters(sent_back)["error"] == error


@pytest.mark.parametrize("without", ["scope", "code_verifier"])
def test_scope_and_verifier_are_demanded(sandbox: Sandbox, without: str) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    host = ob2.registered()
    answer = host.exchange(host.allow()["code"], without=without)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_basic_is_demanded(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    host = ob2.registered()
    code = host.allow()["code"]
    answer = host.exchange(code, auth=None)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    client_id, secret = host.client
    data = {"token": "x", "client_id": client_id, "client_secret": secret}
    assert requests.post(host.revoke_url, data=data, timeout=5).status_code == 401
    assert host.exchange(code).status_code == 200


def test_a_scope_that_was_not_allowed_is_refused(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    host = ob2.registered()
    narrow = f"{OB2}profile.readonly"
    answer = host.exchange(host.allow(scope=narrow)["code"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_a_site_may_ask_only_for_what_it_registered(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    host = ob2.registered(scope=f"{OB2}profile.readonly")
    ada = Person(host.sandbox)
    with ada.browser:
        ada.open("/accounts/login/")
        sent_back = ada.browser.get(
            host.authorize_url, params=host.ask(), allow_redirects=False, timeout=5
        )
    assert callback_parameters(sent_back)["error"] == "invalid_scope"


@pytest.mark.parametrize(
    ("metadata", "scope"),
    [
        ({"grant_types": ["authorization_code"]}, f"{OB2}profile.readonly offline_access"),
        ({}, f"{OB2}profile.readonly"),
    ],
)
def test_a_refresh_token_must_be_registered_for_and_allowed(
    sandbox: Sandbox, metadata: dict[str, Any], scope: str
) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    host = replace(ob2, scope=scope).registered(**metadata)
    token = host.exchange(host.allow("grace")["code"]).json()
    assert "refresh_token" not in token
    assert host.profile(token["access_token"]).status_code == 200
    revoked = host.sandbox.post("/sandbox/users/grace/revoke/badgeconnect", {}).json()
    assert revoked["revoked"] >= 1
    assert host.profile(token["access_token"]).status_code == 401


def test_a_client_of_one_host_is_unknown_to_the_others(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    ob3 = badge_connect_client.open_badges_3(sandbox)
    host = ob2.registered()
    elsewhere = replace(ob3, client=host.client)
    assert elsewhere.refresh("x").json()["error"] == "invalid_client"
    token = host.exchange(host.allow()["code"]).json()
    assert ob3.profile(token["access_token"]).status_code == 401


def test_a_secret_runs_out_when_told_to(tmp_path: Path) -> None:
    brief = Sandbox.start(tmp_path, "--client-secret-seconds", "2")
    try:
        host = badge_connect_client.open_badges_2(brief)
        answer = host.register().json()
        assert 0 < answer["client_secret_expires_at"] - answer["client_id_issued_at"] <= 2
        host = replace(host, client=(answer["client_id"], answer["client_secret"]))
        token = host.exchange(host.allow()["code"]).json()
        assert wait_for(lambda: host.refresh("x").json()["error"] == "invalid_client")
        assert host.refresh(token["refresh_token"]).status_code == 401
        assert host.profile(token["access_token"]).status_code == 200
    finally:
        brief.stop()


@pytest.mark.parametrize(
    ("find", "path", "key"),
    [
        (badge_connect_client.open_badges_2, "assertions", "results"),
        (badge_connect_client.badgr, "assertions", "results"),
        (badge_connect_client.open_badges_3, "credentials", "credential"),
    ],
    ids=["2.1", "badgr", "3.0"],
)
def test_badges_can_be_read_at_each_host(sandbox: Sandbox, find: Any, path: str, key: str) -> None:
    host = find(sandbox).registered()
    url = host.profile_url.removeprefix(sandbox.url).replace("profile", path)
    token = host.exchange(host.allow()["code"]).json()["access_token"]
    (badge,) = sandbox.get(url, token).json()[key]
    assert badge["id"].startswith(sandbox.url)
    assert sandbox.get(url, "dead").status_code == 401


@pytest.mark.parametrize(
    ("find", "status"),
    [(badge_connect_client.open_badges_2, 403), (badge_connect_client.badgr, 401)],
    ids=["2.1", "badgr"],
)
def test_a_missing_scope_is_refused_in_each_hosts_way(
    sandbox: Sandbox, find: Any, status: int
) -> None:
    host = replace(find(sandbox).registered(), scope=f"{OB2}profile.readonly")
    token = host.exchange(host.allow()["code"]).json()["access_token"]
    assert host.profile(token).status_code == 200
    path = host.profile_url.removeprefix(sandbox.url).replace("profile", "assertions")
    answer = sandbox.get(path, token)
    assert answer.status_code == status
    denied = answer.json()["status"]["statusText"] == "PERMISSION_DENIED"
    assert denied is (status == 401)


def test_badgr_has_no_manifest_of_another_domain(sandbox: Sandbox) -> None:
    place = "/badgeconnect-badgr/bcv1/manifest"
    assert sandbox.get(f"{place}/badgr.sandbox.example").status_code == 200
    assert sandbox.get(f"{place}/elsewhere.example").status_code == 404
