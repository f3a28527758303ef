"""Whatever breaks, wherever it breaks: no error page, mail or tracker gets to see a secret.

The n-th statement to the database fails, for each n, and each answer of the provider trips the
code; with DEBUG on and off.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.signals import got_request_exception
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount
from connected_accounts.refresh.drain import drain
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from connected_accounts.testing import CANARY, FakeProvider
from tests.journeys import connect, expire, query_of, start
from tests.sinks import ADMINS, Sinks, all_logs, note_error, sentry

pytestmark = pytest.mark.django_db


class FailAt:
    """Lets the n-th statement fail, as a database does that runs full."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, context)


class Trip:
    """An answer of the provider on which the code below stumbles: a fault of our own."""

    reaches_server = True

    def play(self, request: Any, act: Callable[[], Any]) -> Any:
        act()
        raise RuntimeError("a fault of our own")


@pytest.fixture
def sinks(settings: Any, provider_settings: Any) -> Iterator[Sinks]:
    settings.ADMINS = ADMINS
    provider_settings("badgr", CLIENT_SECRET=f"{CANARY}client-secret")
    found = Sinks()

    def note(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
        error = sys.exc_info()[1]
        assert error is not None
        note_error(found, error, request)

    got_request_exception.connect(note)
    with all_logs(found), sentry(found):
        yield found
    got_request_exception.disconnect(note)


def ready(flow: str, client: Client, badgr: FakeProvider) -> Callable[[], Any]:
    """One flow, up to the step that is to break."""
    if flow == "connect":
        return lambda: client.post("/connections/badgr/connect/")
    if flow == "callback":
        params = badgr.authorize(start(client))
        return lambda: client.get("/connections/badgr/callback/", params)
    if flow == "API: connect":
        return lambda: client.post("/api/connections/providers/badgr/connect/", **JSON)
    account = connect(client, badgr)
    if flow == "revoke":
        disconnect(account)
        return revoke_pending
    if flow == "access token":
        expire(account)
    ConnectedAccount.objects.filter(pk=account.pk).update(refresh_at=timezone.now())
    return {
        "refresh": lambda: refresh(account),
        "access token": lambda: get_access_token(account),
        "session": lambda: get_session(account).get("/v2/users/self"),
        "drain": lambda: drain("badgr"),
        "disconnect": lambda: client.post(f"/connections/{account.pk}/disconnect/"),
        "API: test": lambda: client.post(f"/api/connections/accounts/{account.pk}/test/", **JSON),
        "API: disconnect": lambda: client.delete(f"/api/connections/accounts/{account.pk}/"),
    }[flow]


def attempt(sinks: Sinks, run: Callable[[], Any]) -> bool:
    """Run one flow; note what it raised. Whether it broke."""
    try:
        response = run()
    except Exception as error:
        note_error(sinks, error)
        return True
    if getattr(response, "status_code", 0) >= 500:
        sinks.add("pages of errors", response.content)
        return True
    return False


def secrets_of(badgr: FakeProvider, client: Client) -> set[str]:
    verifiers = {r.fields.get("code_verifier", CANARY) for r in badgr.sent_to("token")}
    cookies = {morsel.value for name, morsel in client.cookies.items() if "connected" in name}
    return set(badgr.secrets) | cookies | verifiers


SERVICES = ["refresh", "access token", "session", "drain", "revoke"]
PAGES = ["connect", "callback", "disconnect"]
PAGES += ["API: connect", "API: test", "API: disconnect"]
JSON: Any = {"content_type": "application/json"}


@pytest.mark.parametrize(
    ("flow", "debug"),
    [*((f, True) for f in PAGES + SERVICES), ("callback", False)],
)
def test_a_crash_shows_no_secret(
    flow: str, debug: bool, sinks: Sinks, badgr: FakeProvider, client_of_ada: Client, settings: Any
) -> None:
    settings.DEBUG = debug
    client_of_ada.raise_request_exception = False
    crashes = number = 0
    # The drain's raw query cannot be put into a traceback with its values: its repr fails.
    while number < 40 and flow != "drain":
        number += 1
        cache.clear()  # it holds how many attempts there were
        run, fail = ready(flow, client_of_ada, badgr), FailAt(number)
        with connection.execute_wrapper(fail):
            crashes += attempt(sinks, run)
        transaction.set_rollback(False)  # the statement never reached the database
        if fail.left > 0:
            break
    for endpoint in ("token", "identity", "api", "revocation"):
        cache.clear()
        run = ready(flow, client_of_ada, badgr)
        badgr.script(endpoint, Trip())
        crashes += attempt(sinks, run)
        badgr._scripts[endpoint].clear()
    sinks.add("mail", *(message.message() for message in mail.outbox))
    secrets = secrets_of(badgr, client_of_ada) | {settings.FIELD_ENCRYPTION_KEY[0]}
    secrets.add(query_of(start(client_of_ada))["state"])
    print(f"\n{flow}, DEBUG={debug}: {number} places", end="")
    print(sinks.report(crashes, secrets))
    assert sinks.hits(secrets) == []
    assert crashes or flow == "drain"


@pytest.mark.parametrize("way", ["form", "JSON"])
def test_credentials_that_were_entered_are_in_no_crash(
    way: str, sinks: Sinks, fake_provider: Any, client_of_ada: Client, settings: Any
) -> None:
    bits = {"BACKEND": "connected_accounts.providers.bits.Bits"}
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": {"bits": bits}}
    settings.DEBUG = True
    fake: FakeProvider = fake_provider("bits")
    entered = {"client_id": "adas", "client_secret": f"{CANARY}entered"}
    fake.add_client(entered["client_id"], entered["client_secret"], subject="ada")
    client_of_ada.raise_request_exception = False

    def run() -> Any:
        if way == "form":
            return client_of_ada.post("/connections/bits/connect/", entered)
        url = "/api/connections/providers/bits/connect/"
        return client_of_ada.post(url, {"inputs": entered}, **JSON)

    crashes = number = 0
    while number < 40:
        number += 1
        fail = FailAt(number)
        with connection.execute_wrapper(fail):
            crashes += attempt(sinks, run)
        transaction.set_rollback(False)
        if fail.left > 0:
            break
    for endpoint in ("token", "identity"):
        fake.script(endpoint, Trip())
        crashes += attempt(sinks, run)
        fake._scripts[endpoint].clear()
    assert crashes > 3
    assert sinks.hits({*fake.secrets, entered["client_secret"]}) == []
