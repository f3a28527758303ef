"""The page on badge clients: each of its blocks, run with the client itself against the sandbox.

The clients lie in the folder that ``CONNECTED_ACCOUNTS_BADGE_CLIENTS`` names, those of Python in
``python`` and that of npm in ``node_modules``; CONTRIBUTING.md says how to put them there.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from connected_accounts.services import refresh
from tests.docs.doc_pages import BADGE_CLIENTS, blocks
from tests.journeys import finish, query_of, start, stored
from tests.sandbox.badgr_and_bitbadges import API_KEY, Person, Sandbox

pytestmark = pytest.mark.django_db

SITE = "http://testserver"
BACKPACK = {"Wheelwright", "First Aider"}


@pytest.fixture(scope="module")
def clients() -> Path:
    named = os.environ.get("CONNECTED_ACCOUNTS_BADGE_CLIENTS", "")
    if not named or shutil.which("node") is None:
        pytest.skip(
            "service: CONNECTED_ACCOUNTS_BADGE_CLIENTS names no folder, or node is not there"
        )
    return Path(named)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    options = ["--redirect-base", SITE, "--access-token-seconds", "3600"]
    options += ["--require-api-key", API_KEY]
    running = Sandbox.start(tmp_path_factory.mktemp("badge-clients"), *options)
    yield running
    running.stop()


@pytest.fixture
def _configured(settings: Any, sandbox: Sandbox, own_connections: None) -> None:
    badgr = {
        "BACKEND": "connected_accounts.providers.badgr.Badgr",
        "CLIENT_ID": "badgr-demo",
        "CLIENT_SECRET": "badgr-demo-secret",
        "SCOPES": ["r:profile", "r:backpack", "rw:issuer"],
        "OPTIONS": {"ui_base": f"{sandbox.url}/badgr", "api_base": f"{sandbox.url}/badgr"},
    }
    bitbadges = {
        "BACKEND": "connected_accounts.providers.bitbadges.BitBadges",
        "CLIENT_ID": "bitbadges-demo",
        "CLIENT_SECRET": "bitbadges-demo-secret",
        "SCOPES": ["readProfile"],
        "OPTIONS": {"ui_base": f"{sandbox.url}/bitbadges", "api_base": sandbox.api}
        | {"api_key": API_KEY},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": badgr, "bitbadges": bitbadges}}


def connected(sandbox: Sandbox, client: Client, alias: str) -> ConnectedAccount:
    url = start(client, alias)
    ada = Person(sandbox)
    with ada.browser:
        address, _, _ = url.removeprefix(sandbox.url).partition("?")
        sent_back = ada.answer(ada.open(address, **query_of(url)), allow="true")
        assert finish(client, query_of(sent_back.headers["Location"]), alias).status_code == 303
    account: ConnectedAccount = ConnectedAccount.objects.at(alias).get()
    return account


@pytest.fixture
def page(
    clients: Path,
    sandbox: Sandbox,
    _configured: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """The names that the page's blocks make, with the sandbox in the place of both hosts."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(clients / "python")])  # behind our own
    (tmp_path / "node_modules").symlink_to(clients / "node_modules")
    for block in blocks(BADGE_CLIENTS, "js"):
        (tmp_path / block.title).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for block in blocks(BADGE_CLIENTS, "python"):
        exec(compile(block.text, str(block), "exec"), found)
    bases = {"BADGR": f"{sandbox.url}/badgr", "BITBADGES": f"{sandbox.url}/bitbadges"}
    found.update(bases, API_KEY=API_KEY)
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that this process sends, by whatever stands on ``http.client``, and to a child."""
    found: list[str] = []
    send, run = HTTPConnection.send, subprocess.run

    def noted_send(connection: HTTPConnection, data: Any) -> None:
        found.append(bytes(data).decode("latin-1"))
        send(connection, data)

    def noted_run(command: Any, **options: Any) -> Any:
        found.append(f"{command} {options}")
        return run(command, **options)

    monkeypatch.setattr(HTTPConnection, "send", noted_send)
    monkeypatch.setattr(subprocess, "run", noted_run)
    return found


def went_out(sent: list[str], account: ConnectedAccount) -> None:
    """The access token did, the refresh token did not, and the grant renews afterwards."""
    token = stored(account)
    text = "".join(sent)
    assert token["access_token"] in text
    assert token["refresh_token"] not in text
    refresh(account)
    assert stored(account)["refresh_token"] != token["refresh_token"]


@pytest.mark.parametrize("by", ["badges_by_requests", "badges_by_badgrclient"])
def test_a_client_reads_the_backpack_with_the_access_token_alone(
    page: dict[str, Any], sandbox: Sandbox, client_of_ada: Client, sent: list[str], by: str
) -> None:
    account = connected(sandbox, client_of_ada, "badgr")
    sent.clear()
    found = [getattr(badge, "data", badge) for badge in page[by](account)]
    assert len(found) == 2
    assert {badge["acceptance"] for badge in found} == {"Unaccepted"}
    went_out(sent, account)


def test_httpx_reads_the_backpack_and_asks_for_no_renewal(
    page: dict[str, Any], sandbox: Sandbox, client_of_ada: Client
) -> None:
    account = connected(sandbox, client_of_ada, "badgr")
    before = sandbox.state("badgr")["token_requests"]
    assert len(page["badges_by_httpx"](account)) == 2
    assert sandbox.state("badgr")["token_requests"] == before


def test_badgrclient_says_that_a_token_is_dead_and_renews_nothing(
    page: dict[str, Any], sandbox: Sandbox, sent: list[str]
) -> None:
    client = page["BadgrClient"](
        None, None, "unused", base_url=page["BADGR"], token="dead", refresh_token="unused"
    )
    before = sandbox.state("badgr")["token_requests"]
    with pytest.raises(Exception, match="no valid auth token found"):
        client.fetch_assertion()
    assert "unused" not in "".join(sent)
    assert sandbox.state("badgr")["token_requests"] == before
    with pytest.raises(Exception, match="also provide"):
        page["BadgrClient"](None, None, "unused", base_url=page["BADGR"], token="dead")


def test_badgr_lite_reads_badge_classes_and_has_a_dead_token_renewed_by_the_app(
    page: dict[str, Any], sandbox: Sandbox, client_of_ada: Client, sent: list[str]
) -> None:
    account = connected(sandbox, client_of_ada, "badgr")
    sent.clear()
    assert {badge.name for badge in page["badge_classes_by_badgr_lite"](account)} == BACKPACK
    went_out(sent, account)
    lite = page["ConnectedBadgrLite"](account)
    lite._token_data = {"access_token": "dead"}
    before = sandbox.state("badgr")
    url = "https://api.badgr.io/v2/badgeclasses"
    assert len(lite.get_from_server(url)["result"]) == 2
    after = sandbox.state("badgr")
    assert after["token_requests"]["refresh_token"] == before["token_requests"]["refresh_token"] + 1
    assert after["failed_token_requests"] == before["failed_token_requests"]


def test_bitbadgespy_tells_who_is_signed_in(
    page: dict[str, Any], sandbox: Sandbox, client_of_ada: Client, sent: list[str]
) -> None:
    account = connected(sandbox, client_of_ada, "bitbadges")
    sent.clear()
    status = page["status_by_bitbadgespy"](account)
    assert status.signed_in
    assert status.bitbadges_address == account.subject
    went_out(sent, account)


def test_bitbadgesjs_tells_who_is_signed_in(
    page: dict[str, Any], sandbox: Sandbox, client_of_ada: Client, sent: list[str]
) -> None:
    account = connected(sandbox, client_of_ada, "bitbadges")
    sent.clear()
    status = page["status_by_bitbadgesjs"](account)
    assert status["signedIn"]
    assert status["bitbadgesAddress"] == account.subject
    assert [scope["scopeName"] for scope in status["scopes"]] == ["readProfile"]
    went_out(sent, account)


@pytest.mark.parametrize("silenced", [True, False])
def test_bitbadgesjs_writes_the_token_to_stderr_unless_silenced(
    page: dict[str, Any], tmp_path: Path, silenced: bool
) -> None:
    program = (tmp_path / "badges.mjs").read_text().splitlines(keepends=True)
    kept = [line for line in program if silenced or not line.startswith("console.error =")]
    (tmp_path / "badges.mjs").write_text("".join(kept))
    assert len(program) - len(kept) == (0 if silenced else 1)
    given = {"token": "a-token-to-look-for", "apiUrl": "http://127.0.0.1:1", "apiKey": API_KEY}
    done = subprocess.run(
        ["node", "badges.mjs"], input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"failed": "ECONNREFUSED"}
    assert ("a-token-to-look-for" in done.stderr) is not silenced
