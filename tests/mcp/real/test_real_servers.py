"""Servers and clients that nobody here wrote, each server in a process of its own."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from asgiref.sync import sync_to_async
from celery import shared_task
from django.db import connection, connections
from django.utils import timezone

from connected_accounts.exceptions import InsufficientScope
from connected_accounts.models import ConnectedAccount, Outcome, Revocation
from connected_accounts.oauth2 import discovery, transport
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.web.way import way_to_more
from tests.lost_answer import LostAnswer
from tests.mcp.person import Person
from tests.mcp.real.crowd import digest

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
NPM: Final = Path(sys.prefix) / "npm"  # where make mcp installs HERE / "package.json"
pytest.importorskip("fastmcp", reason="optional: make mcp installs it")

pytestmark = pytest.mark.django_db(transaction=True)


SITE: Final = "http://127.0.0.1:8000"
IN_PYTHON: Final = ("fastmcp", "mcp")
IN_NODE: Final = ("sdk", "workers", "better_auth")
# Where an access token that a refresh has replaced is good until it expires, whatever is revoked.
OUTLIVED: Final = ("better_auth",)
PROCESSES: Final = 50
STARTS_WITHIN: Final = 180.0  # seconds; a slow machine is no failure
ACCEPT: Final = {"Accept": "application/json, text/event-stream"}
PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@contextmanager
def running(name: str) -> Iterator[str]:
    """A server of that name; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    if name in IN_PYTHON:
        command = [sys.executable, "-m", "tests.mcp.real.server", name, port]
    else:
        # A module of Node finds its packages beside itself only.
        for module in HERE.glob("*.mjs"):
            shutil.copy(module, NPM)
        command = [str(NPM / "node_modules/.bin/node"), str(NPM / f"{name}.mjs"), port]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", int(port)), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=[*IN_PYTHON, *IN_NODE])
def kind(request: Any) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[str]:
    with running(kind) as address:
        yield address


@pytest.fixture
def better_auth() -> Iterator[str]:
    with running("better_auth") as address:
        yield address


def agree(url: str) -> str:
    """The way through the pages of a server that asks nobody."""
    browser = requests.Session()
    while not url.startswith(SITE):
        location = browser.get(url, allow_redirects=False, timeout=30).headers["Location"]
        url = urljoin(url, location)
    return url


def person(user: Any) -> Person:
    return Person(user, "mcp", site=SITE, decide=agree)


def connect(user: Any, server: str, settings: Any) -> ConnectedAccount:
    discovery.clear_cache()
    entry = {
        "BACKEND": "connected_accounts.providers.mcp.MCP",
        "OPTIONS": {"servers": [server.removesuffix("/mcp")]},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mcp": entry}}
    found: ConnectedAccount = person(user).connect(server)
    return found


@pytest.fixture
def account(server: str, ada: Any, settings: Any) -> ConnectedAccount:
    return connect(ada, server, settings)


def run(call: Coroutine[Any, Any, Any]) -> Any:
    async def alone() -> Any:
        try:
            return await call
        finally:  # asgiref keeps the thread, and with it the database's connection
            await sync_to_async(connections.close_all)()

    return asyncio.run(alone())


async def by_mcp(account: ConnectedAccount, tool: str = "add") -> Any:
    import httpx2
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    from connected_accounts.contrib.httpx2 import ConnectedAccountAuth

    auth = ConnectedAccountAuth(account)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as client,
        streamable_http_client(account.inputs["server"], http_client=client) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        return (await session.call_tool(tool, {"a": 1, "b": 2})).content[0].text


async def by_fastmcp(account: ConnectedAccount) -> Any:
    from fastmcp import Client

    from connected_accounts.contrib.httpx2 import ConnectedAccountAuth

    async with Client(account.inputs["server"], auth=ConnectedAccountAuth(account)) as client:
        return (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text


@shared_task(name="tests.use_tool")
def use_tool(account_id: int, by: str) -> Any:
    call = {"mcp": by_mcp, "fastmcp": by_fastmcp}[by]
    return run(call(ConnectedAccount.objects.get(pk=account_id)))


@pytest.mark.parametrize("by", ["mcp", "fastmcp"])
def test_a_task_calls_a_tool_with_a_persons_connection(account: ConnectedAccount, by: str) -> None:
    assert use_tool.apply([account.pk, by]).get() == "3"


def refused_for(account: ConnectedAccount, tool: str) -> list[str]:
    """The scopes to ask for after a call of ``tool`` was refused."""
    call = {"method": "tools/call", "params": {"name": tool, "arguments": {"a": 1, "b": 2}}}
    with pytest.raises(InsufficientScope) as caught:
        get_session(account).post(account.inputs["server"], json=PING | call, headers=ACCEPT)
    return list(caught.value.scopes)


def test_a_connection_lives_and_is_dead_after_it_ended(
    account: ConnectedAccount, ada: Any, server: str, kind: str
) -> None:
    assert account.label.endswith("/mcp (Numbers)")
    tokens = [get_access_token(account)]
    for _ in range(3):
        refresh(account)
        tokens.append(get_access_token(account))
        assert run(by_mcp(account)) == "3"
    assert len(set(tokens)) == 4

    # Those in Python have one list of scopes for all tools.
    wanted = ["write"] if kind in IN_PYTHON else refused_for(account, "keep")
    more = person(ada).give_more(way_to_more(account, wanted, "/"))
    assert set(more.scopes_granted) >= {"read", "write"}
    if kind in IN_NODE:
        assert run(by_mcp(more, "keep")) == "1 2"
    tokens.append(get_access_token(more))
    assert run(by_mcp(more)) == "3"

    disconnect(more)
    revoke_pending_tokens.apply()
    assert set(Revocation.objects.values_list("outcome", flat=True)) == {Outcome.REVOKED}
    for token in tokens[3:] if kind in OUTLIVED else tokens:
        headers = ACCEPT | {"Authorization": f"Bearer {token}"}
        assert requests.post(server, json=PING, headers=headers, timeout=30).status_code == 401


def test_an_answer_that_was_lost_is_asked_for_again_where_the_server_answers_twice(
    ada: Any, settings: Any
) -> None:
    """Of two answers for one refresh token the last one counts there."""
    with running("workers") as server:
        account = connect(ada, server, settings)
        losing = LostAnswer()
        previous = transport.install_adapter(losing)
        try:
            refresh(account)
        finally:
            transport.install_adapter(previous)
            losing.poolmanager.clear()
        assert losing.lost == 1
        assert run(by_mcp(account)) == "3"
        refresh(account)
        assert run(by_mcp(account)) == "3"


@pytest.mark.postgres
def test_fifty_processes_that_want_one_expired_token_make_one_request(
    better_auth: str, ada: Any, settings: Any
) -> None:
    """At a server that ends the grant when a refresh token comes twice."""
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no postgresql")
    account = connect(ada, better_auth, settings)
    ConnectedAccount.objects.update(expires_at=timezone.now())
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    done = subprocess.run(
        [sys.executable, "-m", "tests.mcp.real.crowd", str(account.pk), str(PROCESSES)],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": url.geturl(),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SITE_SETTINGS": json.dumps({"PROVIDERS": settings.CONNECTED_ACCOUNTS["PROVIDERS"]}),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    account.refresh_from_db()
    digests = done.stdout.split()
    assert len(digests) == PROCESSES
    assert set(digests) == {digest(get_access_token(account))}
    assert requests.get(f"{better_auth.removesuffix('/mcp')}/refreshes", timeout=30).json() == 1
    assert run(by_mcp(account)) == "3"
