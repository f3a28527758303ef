"""The sandbox's Badgr has what those need who award badges, and collections, as the real one."""

from typing import Any

import pytest
import requests

from tests.sandbox.badgr_and_bitbadges import Person, Sandbox

LD_JSON = "application/ld+json"


@pytest.fixture(scope="module")
def issuing(sandbox: Sandbox) -> str:
    """The access token of somebody who may award."""
    token: str = Person(sandbox).connect_badgr("r:profile rw:issuer r:backpack")["access_token"]
    return token


def result(sandbox: Sandbox, path: str, token: str) -> list[dict[str, Any]]:
    answer = sandbox.get(path, token)
    assert answer.headers["Content-Type"] == LD_JSON
    assert answer.json()["status"] == {"success": True, "description": "ok"}
    found: list[dict[str, Any]] = answer.json()["result"]
    return found


def test_issuers_and_their_badge_classes_can_be_read(sandbox: Sandbox, issuing: str) -> None:
    (issuer,) = result(sandbox, "/badgr/v2/issuers", issuing)
    assert issuer["name"] == "Sandbox Academy"
    number = issuer["entityId"]
    assert result(sandbox, f"/badgr/v2/issuers/{number}", issuing) == [issuer]
    classes = result(sandbox, "/badgr/v2/badgeclasses", issuing)
    assert result(sandbox, f"/badgr/v2/issuers/{number}/badgeclasses", issuing) == classes
    assert {found["issuer"] for found in classes} == {number}
    one = f"/badgr/v2/badgeclasses/{classes[0]['entityId']}"
    assert result(sandbox, one, issuing) == classes[:1]
    assert sandbox.get(classes[0]["openBadgeId"].removeprefix(sandbox.url)).json()["name"]
    assert result(sandbox, "/badgr/v2/backpack/collections", issuing) == []


@pytest.mark.parametrize(
    "path",
    [
        "issuers/none",
        "badgeclasses/none",
        "issuers/none/badgeclasses",
        "badgeclasses/none/assertions",
    ],
)
def test_what_there_is_not_is_a_404_in_the_envelope(
    sandbox: Sandbox, issuing: str, path: str
) -> None:
    answer = sandbox.get(f"/badgr/v2/{path}", issuing)
    assert (answer.status_code, answer.json()["status"]["success"]) == (404, False)


@pytest.mark.parametrize("path", ["issuers", "badgeclasses"])
def test_without_the_scope_issuers_are_not_found(sandbox: Sandbox, path: str) -> None:
    token = Person(sandbox).connect_badgr("r:profile")["access_token"]
    answer = sandbox.get(f"/badgr/v2/{path}", token)
    assert answer.status_code == 404
    assert answer.json()["status"]["description"] == "entity not found or insufficient privileges"


def test_a_badge_that_one_person_awards_is_in_the_backpack_of_another(
    sandbox: Sandbox, issuing: str
) -> None:
    badge = result(sandbox, "/badgr/v2/badgeclasses", issuing)[0]["entityId"]
    url = f"{sandbox.url}/badgr/v2/badgeclasses/{badge}/assertions"
    bearer = {"Authorization": f"Bearer {issuing}"}
    grace = Person(sandbox, "grace").connect_badgr()["access_token"]
    (email,) = sandbox.badgr_self(grace).json()["result"][0]["emails"]
    body = {"recipient": {"type": "email", "identity": email["email"]}, "narrative": "Well done."}
    made = requests.post(url, json=body, headers=bearer, timeout=10)
    assert made.status_code == 201
    (award,) = made.json()["result"]
    assert (award["badgeclass"], award["narrative"]) == (badge, "Well done.")
    hers = result(sandbox, "/badgr/v2/backpack/assertions", grace)
    assert award["entityId"] in {found["entityId"] for found in hers}
    mine = result(sandbox, "/badgr/v2/backpack/assertions", issuing)
    assert award["entityId"] not in {found["entityId"] for found in mine}
    assert award in result(sandbox, url.removeprefix(sandbox.url), issuing)
    refused = requests.post(url, json={"recipient": "x"}, headers=bearer, timeout=10)
    assert (refused.status_code, refused.json()["status"]["success"]) == (400, False)
    reader = {"Authorization": f"Bearer {grace}"}
    assert requests.post(url, json=body, headers=reader, timeout=10).status_code == 404


def test_the_token_may_be_in_the_query(sandbox: Sandbox, issuing: str) -> None:
    path = f"/badgr/v2/users/self?access_token={issuing}"
    assert sandbox.get(path).json()["status"]["success"]
    assert sandbox.get(path, "dead").status_code == 401  # the header goes before
    assert sandbox.get("/badgr/v2/users/self?access_token=dead").status_code == 401
