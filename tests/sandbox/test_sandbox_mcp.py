"""The sandbox's MCP server, and the authorization server that guards it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.sandbox_client import S256, SITE, VERIFIER, Person, Sandbox, Server

CALLBACK = f"{SITE}/connections/mcp/callback/"
ACCEPT = {"Accept": "application/json, text/event-stream"}
TOOL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "badges"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def guard(folder: Path) -> Iterator[Sandbox]:
    running = Sandbox.start(folder)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(folder: Path, guard: Sandbox) -> Iterator[str]:
    """The address of the MCP server."""
    database = str(folder / "sandbox.sqlite3")
    options = ("--guard", f"{guard.url}/mcp", "--database", database)
    apart = folder / "server"
    apart.mkdir()
    running = Server.run(apart, "example_project.sandbox.mcp_server", *options)
    yield running.url
    running.stop()


def register(guard: Sandbox, **sent: Any) -> requests.Response:
    return requests.post(f"{guard.url}/mcp/register", json=sent, timeout=10)


def call(server: str, token: str) -> requests.Response:
    headers = ACCEPT | {"Authorization": f"Bearer {token}"}
    return requests.post(server, json=TOOL, headers=headers, timeout=10)


def tokens_of(guard: Sandbox, name: str) -> tuple[dict[str, str], tuple[str, str]]:
    client = register(guard, redirect_uris=[CALLBACK], client_name="A site").json()
    pair = client["client_id"], client["client_secret"]
    query = {"client_id": pair[0], "redirect_uri": CALLBACK, "state": "s", "response_type": "code"}
    code = Person(guard, name).allow("/mcp/authorize", scope="badges:read", **query, **S256)["code"]
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    answer = guard.post("/mcp/token", sent | {"code_verifier": VERIFIER}, auth=pair)
    found: dict[str, str] = answer.json()
    return found, pair


def test_a_tool_tells_each_person_their_own_badges(guard: Sandbox, server: str) -> None:
    ada, _pair = tokens_of(guard, "ada")
    grace, _pair = tokens_of(guard, "grace")
    assert "Wheelwright" in call(server, ada["access_token"]).text
    assert "Wheelwright" not in call(server, grace["access_token"]).text
    assert "Compiler builder" in call(server, grace["access_token"]).text


def test_a_token_that_was_revoked_or_made_up_is_refused(guard: Sandbox, server: str) -> None:
    tokens, pair = tokens_of(guard, "ada")
    guard.post("/mcp/revoke", {"token": tokens["refresh_token"]}, auth=pair)
    for token in (tokens["access_token"], "made-up"):
        answer = call(server, token)
        assert answer.status_code == 401
        assert "resource_metadata=" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("sent", [{}, {"redirect_uris": []}, {"redirect_uris": "x"}])
def test_a_site_without_a_redirect_uri_is_not_registered(guard: Sandbox, sent: Any) -> None:
    answer = register(guard, **sent)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")
