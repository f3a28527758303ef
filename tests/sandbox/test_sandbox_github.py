"""The sandbox's GitHub: what is odd about its answers, and the documented settings against it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from tests.sandbox.sandbox_client import SITE, Person, Sandbox

CLIENT = {"client_id": "github-demo", "client_secret": "github-demo-secret"}
CALLBACK = f"{SITE}/connections/github/callback/"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    server = Sandbox.start(Path(tmp_path_factory.mktemp("github")))
    yield server
    server.stop()


def code(sandbox: Sandbox, scope: str = "read:user gist") -> str:
    query = {"client_id": "github-demo", "redirect_uri": CALLBACK, "scope": scope, "state": "s"}
    return Person(sandbox, "grace").allow("/github/login/oauth/authorize", **query)["code"]


def exchange(sandbox: Sandbox, headers: dict[str, str] = JSON, **fields: str) -> requests.Response:
    data = CLIENT | {"redirect_uri": CALLBACK} | fields
    return sandbox.post("/github/login/oauth/access_token", data, headers=headers)


def test_a_token_comes_alone_and_its_scopes_have_commas(sandbox: Sandbox) -> None:
    answer: dict[str, Any] = exchange(sandbox, code=code(sandbox)).json()
    assert set(answer) == {"access_token", "scope", "token_type"}
    assert (answer["scope"], answer["token_type"]) == ("read:user,gist", "bearer")
    person = sandbox.get("/github/api/user", answer["access_token"]).json()
    assert person["login"] == "grace"
    assert isinstance(person["id"], int)


def test_who_does_not_ask_for_json_gets_a_form(sandbox: Sandbox) -> None:
    answer = exchange(sandbox, {"Accept": "*/*"}, code=code(sandbox))
    assert answer.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert set(parse_qs(answer.text)) == {"access_token", "scope", "token_type"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"code": "made-up"}, "bad_verification_code"),
        ({"code": "made-up", "client_secret": "wrong"}, "incorrect_client_credentials"),
    ],
)
def test_a_refusal_has_status_200_and_words_of_its_own(
    sandbox: Sandbox, fields: dict[str, str], error: str
) -> None:
    answer = exchange(sandbox, **fields)
    assert (answer.status_code, answer.json()) == (200, {"error": error})


def test_a_code_is_good_once(sandbox: Sandbox) -> None:
    used = code(sandbox)
    assert "access_token" in exchange(sandbox, code=used).json()
    assert exchange(sandbox, code=used).json() == {"error": "bad_verification_code"}


def test_a_token_of_nobody_is_refused(sandbox: Sandbox) -> None:
    assert sandbox.get("/github/api/user", "made-up").status_code == 401
