"""The unmodified django-oauth-toolkit, walked as a client site would that knows its issuer."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox.sandbox_client import S256, SITE, VERIFIER, FirstForm, Person, Server

CALLBACK = f"{SITE}/connections/plain/callback/"
CLIENT = ("a-client", "a-secret")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plain")
    running = Server.run(
        folder,
        "tests.servers.plain_server",
        *("--database", str(folder / "plain.sqlite3"), "--redirect-uri", CALLBACK),
        *("--client-id", CLIENT[0], "--client-secret", CLIENT[1]),
    )
    yield running
    running.stop()


@pytest.fixture
def described(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = server.get("/o/.well-known/openid-configuration").json()
    return answer


def test_it_is_the_toolkits_own(server: Server, described: dict[str, Any]) -> None:
    assert described["issuer"] == f"{server.url}/o"
    page = Person(server).open("/o/authorize/", **ask())
    assert "Application requires the following permissions" in page.text
    assert "sandbox" not in page.text.lower()
    metadata = server.get("/o/.well-known/oauth-authorization-server").json()
    assert metadata["revocation_endpoint"] == f"{server.url}/o/revoke_token/"


def ask() -> dict[str, str]:
    query = {"client_id": CLIENT[0], "redirect_uri": CALLBACK, "response_type": "code"}
    return query | {"scope": "openid", "state": "s-1"} | S256


def test_a_connection_from_login_to_revocation(server: Server, described: dict[str, Any]) -> None:
    ada = Person(server)
    with ada.browser:
        page = ada.open("/o/authorize/", **ask())
        assert FirstForm(page.text).fields["scope"] == "openid"
        sent_back = ada.answer(page, allow="Authorize")
    callback = parse_qs(urlsplit(sent_back.headers["Location"]).query)
    assert callback["state"] == ["s-1"]
    code = {
        "grant_type": "authorization_code",
        "code": callback["code"][0],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    token = requests.post(described["token_endpoint"], data=code, auth=CLIENT, timeout=10).json()
    path = described["userinfo_endpoint"].removeprefix(server.url)
    assert server.get(path, token["access_token"]).json() == {"sub": "1"}

    again = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    renewed = server.post("/o/token/", again, auth=CLIENT).json()
    assert server.get(path, token["access_token"]).status_code == 401
    gone = {"token": renewed["refresh_token"]}
    assert server.post("/o/revoke_token/", gone, auth=CLIENT).status_code == 200
    assert server.get(path, renewed["access_token"]).status_code == 401
    dead = server.post("/o/token/", again, auth=CLIENT)
    assert (dead.status_code, dead.json()["error"]) == (400, "invalid_grant")
