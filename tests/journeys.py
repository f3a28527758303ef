"""A person's way through the pages, for tests, and the stored account that it ends with."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.testing import FakeProvider

THREADS = 12


def start(client: Client, alias: str = "badgr", **data: Any) -> str:
    """Press the button; return the authorization URL the browser is sent to."""
    response = client.post(f"/connections/{alias}/connect/", data)
    assert response.status_code == 303, response.content
    return response["Location"]


def finish(client: Client, params: dict[str, Any], alias: str = "badgr") -> HttpResponse:
    """Come back from the provider, to the address that it was told."""
    begun = AuthorizationRequest.objects.filter(provider=alias).order_by("-pk").first()
    of_host = begun.redirect_uri.partition("/callback/")[2] if begun else ""
    return client.get(f"/connections/{alias}/callback/{of_host}", params)


def connect(
    client: Client, fake: FakeProvider, alias: str = "badgr", *, subject: str = "ada", **data: Any
) -> ConnectedAccount:
    """The whole way, without a hitch."""
    params = fake.authorize(start(client, alias, **data), subject=subject)
    response = finish(client, params, alias)
    assert response.status_code == 303, response.content
    account: ConnectedAccount = ConnectedAccount.objects.at(alias).latest("connected_at")
    return account


def set_row(account: ConnectedAccount, **values: Any) -> None:
    ConnectedAccount.objects.filter(pk=account.pk).transition(**values)
    account.refresh_from_db()


def expire(account: ConnectedAccount, *, seconds: float = -1) -> None:
    set_row(account, expires_at=timezone.now() + timedelta(seconds=seconds))


def stored(account: ConnectedAccount) -> dict[str, Any]:
    return dict(ConnectedAccount.objects.get(pk=account.pk).open_token())


def change_token_answers(
    fake: FakeProvider, change: Callable[[Any, Callable[[Any], Any]], Any]
) -> None:
    """Let ``change(seen, answer)`` alter, or replace, each answer of the token endpoint."""
    own = fake._dialect.token
    fake._dialect.token = lambda seen: change(seen, own)  # type: ignore[method-assign]


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL, each of which must stand there once."""
    found = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values()), found
    return {name: values[0] for name, values in found.items()}


def run(work: Awaitable[Any]) -> Any:
    """Run asynchronous code, and close the connection of the thread that it used."""

    async def run_and_close() -> Any:
        try:
            return await work
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(run_and_close())


def at_once(work: Callable[[], Any], threads: int = THREADS) -> list[Any]:
    """Run ``work`` in all threads, released together; return what they returned."""
    barrier = Barrier(threads)

    def run() -> Any:
        try:
            barrier.wait(timeout=20)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(threads)]]
