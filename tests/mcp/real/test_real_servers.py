"""Servers and clients that nobody here wrote: ``fastmcp`` and ``mcp``, each in its own process."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import shared_task

from connected_accounts.models import ConnectedAccount, Outcome, Revocation
from connected_accounts.oauth2 import discovery
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.web.way import way_to_more
from tests.mcp.person import Person

ROOT = Path(__file__).parents[3]
pytest.importorskip("fastmcp", reason="optional: make mcp installs it")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module", params=["fastmcp", "mcp"])
def server(request: Any) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.mcp.real.server", request.param, str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/mcp"
    process.terminate()
    process.wait(30)


@pytest.fixture
def account(server: str, ada: Any, settings: Any) -> ConnectedAccount:
    discovery.clear_cache()
    entry = {
        "BACKEND": "connected_accounts.providers.mcp.MCP",
        "OPTIONS": {"servers": [server.removesuffix("/mcp")]},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mcp": entry}}
    found: ConnectedAccount = Person(ada, "mcp").connect(server)
    return found


async def by_mcp(account: ConnectedAccount) -> Any:
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
        return (await session.call_tool("add", {"a": 1, "b": 2})).content[0].text


async def by_fastmcp(account: ConnectedAccount) -> Any:
    from fastmcp import Client

    from connected_accounts.contrib.httpx2 import ConnectedAccountAuth

    async with Client(account.inputs["server"], auth=ConnectedAccountAuth(account)) as client:
        return (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text


@shared_task(name="tests.use_tool")
def use_tool(account_id: int, by: str) -> Any:
    call = {"mcp": by_mcp, "fastmcp": by_fastmcp}[by]
    return asyncio.run(call(ConnectedAccount.objects.get(pk=account_id)))


@pytest.mark.parametrize("by", ["mcp", "fastmcp"])
def test_a_task_calls_a_tool_with_a_persons_connection(account: ConnectedAccount, by: str) -> None:
    assert use_tool.apply([account.pk, by]).get() == "3"


def test_a_connection_lives_and_is_dead_after_it_ended(
    account: ConnectedAccount, ada: Any, server: str
) -> None:
    assert account.label.endswith("/mcp (Numbers)")
    tokens = [get_access_token(account)]
    for _ in range(3):
        refresh(account)
        tokens.append(get_access_token(account))
        assert asyncio.run(by_mcp(account)) == "3"
    assert len(set(tokens)) == 4

    more = Person(ada, "mcp").give_more(way_to_more(account, ["write"], "/"))
    assert set(more.scopes_granted) >= {"read", "write"}
    tokens.append(get_access_token(more))
    assert asyncio.run(by_mcp(more)) == "3"

    disconnect(more)
    revoke_pending_tokens.apply()
    assert set(Revocation.objects.values_list("outcome", flat=True)) == {Outcome.REVOKED}
    for token in tokens:
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
        }
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert requests.post(server, json=ping, headers=headers, timeout=30).status_code == 401
