"""The sandbox's three Badge Connect hosts: what they say of themselves, and who may register."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.sandbox import badge_connect_client
from tests.sandbox.badge_connect_client import CALLBACK, METADATA, OB2
from tests.sandbox.sandbox_client import Sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("badge-connect"))
    yield running
    running.stop()


# Discovery


def test_the_manifest_is_at_the_root_too_and_may_be_kept(sandbox: Sandbox) -> None:
    at_root = sandbox.get("/.well-known/badgeconnect.json")
    assert "max-age=300" in at_root.headers["Cache-Control"]
    assert sandbox.get("/badgeconnect/.well-known/badgeconnect.json").json() == at_root.json()
    (host,) = at_root.json()["badgeConnectAPI"]
    assert (host["version"], host["apiBase"]) == (
        "v2p1",
        f"{sandbox.url}/badgeconnect/ims/ob/v2p1",
    )
    assert "offline_access" in host["scopesOffered"]
    url = f"{sandbox.url}/.well-known/badgeconnect.json"
    known = {"If-None-Match": at_root.headers["ETag"]}
    assert requests.get(url, headers=known, timeout=5).status_code == 304
    assert sandbox.state("badgeconnect")["discoveries"] >= 3


def test_badgrs_manifest_is_elsewhere_and_says_less(sandbox: Sandbox) -> None:
    path = "/badgeconnect-badgr/.well-known/badgeconnect.json"
    moved = sandbox.get(path, allow_redirects=False)
    assert moved.status_code == 302
    assert moved.headers["Location"].startswith("/badgeconnect-badgr/bcv1/manifest/")
    (host,) = sandbox.get(path).json()["badgeConnectAPI"]
    assert host["version"] == "v1p0"
    assert host["apiBase"].endswith("/bcv1")
    assert "tokenRevocationUrl" not in host
    assert "//static" in host["image"]
    assert [name.removeprefix(OB2) for name in host["scopesOffered"]] == [
        "assertion.readonly",
        "assertion.create",
        "profile.readonly",
    ]


def test_open_badges_3_is_described_by_openapi(sandbox: Sandbox) -> None:
    described = sandbox.get("/badgeconnect3/ims/ob/v3p0/discovery").json()
    assert described["openapi"].startswith("3.0")
    assert {"title", "termsOfService", "x-imssf-privacyPolicyUrl"} <= set(described["info"])
    assert sandbox.get("/ims/ob/v3p0/discovery").json() == described


# Registration


def test_a_site_registers_itself(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    before = ob2.sandbox.state("badgeconnect")["registrations"]
    answer = ob2.register(scope=f"{OB2}profile.readonly offline_access {OB2}unheard.of")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json()
    assert METADATA.items() <= told.items()
    assert told["scope"] == f"{OB2}profile.readonly offline_access"
    assert told["client_secret_expires_at"] == 0
    assert told["client_id_issued_at"] > 1_700_000_000
    assert len(told["client_secret"]) > 40
    assert ob2.sandbox.state("badgeconnect")["registrations"] == before + 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        *(
            pytest.param({field: None}, "invalid_client_metadata", id=f"no {field}")
            for field in ("client_name", "logo_uri", "tos_uri", "policy_uri", "software_id")
        ),
        pytest.param({"redirect_uris": []}, "invalid_redirect_uri", id="no redirect_uris"),
        pytest.param(
            {"client_uri": "http://site.example/"}, "invalid_client_metadata", id="http elsewhere"
        ),
        pytest.param(
            {"redirect_uris": ["https://other.example/"]},
            "invalid_redirect_uri",
            id="another host",
        ),
        pytest.param(
            {"redirect_uris": [f"{CALLBACK} https://other.example/"]},
            "invalid_redirect_uri",
            id="two in one",
        ),
        pytest.param({"client_name": "x" * 256}, "invalid_client_metadata", id="long name"),
        pytest.param(
            {"redirect_uris": [f"{CALLBACK}#part"]}, "invalid_redirect_uri", id="fragment"
        ),
        pytest.param(
            {"token_endpoint_auth_method": "client_secret_post"},
            "invalid_client_metadata",
            id="secret in the body",
        ),
        pytest.param({"grant_types": ["implicit"]}, "invalid_client_metadata", id="grant"),
        pytest.param({"response_types": ["token"]}, "invalid_client_metadata", id="response"),
    ],
)
def test_a_registration_that_lacks_something_is_refused(
    sandbox: Sandbox, changes: dict[str, Any], error: str
) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    badgr = badge_connect_client.badgr(sandbox)
    before = ob2.sandbox.state("badgeconnect")["registrations"]
    answer = ob2.register(**changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"].startswith(next(iter(changes)))
    assert ob2.sandbox.state("badgeconnect")["registrations"] == before
    prose = badgr.register(**changes).json()
    assert prose["error"] == prose["error_description"] == answer.json()["error_description"]


@pytest.mark.parametrize("body", ["[]", "no JSON", ""])
def test_a_registration_must_be_an_object(sandbox: Sandbox, body: str) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    answer = requests.post(ob2.register_url, data=body, timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


def test_https_addresses_of_one_host_are_fine(sandbox: Sandbox) -> None:
    ob2 = badge_connect_client.open_badges_2(sandbox)
    names = ("client_uri", "logo_uri", "tos_uri", "policy_uri")
    elsewhere: dict[str, Any] = {name: f"https://site.example/{name}" for name in names}
    assert ob2.register(**elsewhere).status_code == 400
    assert ob2.register(**elsewhere, redirect_uris=["https://site.example/back/"]).ok


def test_badgr_tells_other_things_than_it_was_asked(sandbox: Sandbox) -> None:
    badgr = badge_connect_client.badgr(sandbox)
    answer = badgr.register()
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/ld+json"
    assert answer.json()["grant_types"] == ["authorization_code"]
    assert answer.json()["logo_uri"] != METADATA["logo_uri"]


@pytest.mark.parametrize("scope", ["offline_access", "r:profile"])
def test_badgr_refuses_all_for_one_scope(sandbox: Sandbox, scope: str) -> None:
    badgr = badge_connect_client.badgr(sandbox)
    answer = badgr.register(scope=f"{badgr.scope} {scope}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"scope: Scope {scope} not valid")


def test_open_badges_3_wants_to_be_told_the_scope(sandbox: Sandbox) -> None:
    ob3 = badge_connect_client.open_badges_3(sandbox)
    answer = ob3.register(scope=None)
    assert answer.status_code == 400
    assert answer.json()["error_description"].startswith("scope")
