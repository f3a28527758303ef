"""``generic.OAuth2`` with nothing but an issuer, a client id and a secret, against real servers: an
unmodified django-oauth-toolkit, and the sandbox's OpenID provider."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.oauth2 import discovery
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, get_session, refresh
from tests.journeys import finish, query_of, start
from tests.sandbox.sandbox_client import Person, Server

pytestmark = pytest.mark.django_db

SITE = "http://testserver"


@pytest.fixture(scope="module", params=["unmodified", "sandbox"])
def running(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[dict[str, Any]]:
    """A server, and what its operator would tell a developer."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    database = ("--database", str(folder / "server.sqlite3"))
    if request.param == "unmodified":
        callback = ("--redirect-uri", f"{SITE}/connections/oidc/callback/")
        server = Server.run(folder, "tests.servers.plain_server", *database, *callback)
        told = {"issuer": f"{server.url}/o", "CLIENT_ID": "plain-client", "secret": "plain-secret"}
        told["agree"] = {"allow": "Authorize"}
    else:
        server = Server.run(folder, "example_project.sandbox", *database, "--redirect-base", SITE)
        told = {
            "issuer": f"{server.url}/oidc",
            "CLIENT_ID": "oidc-demo",
            "secret": "oidc-demo-secret",
        }
        told["agree"] = {"allow": "true"}
    yield {"server": server, **told}
    server.stop()


@pytest.fixture
def account(
    running: dict[str, Any], settings: Any, own_connections: None, client: Client, user: Any
) -> ConnectedAccount:
    discovery.clear_cache()
    entry = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": running["CLIENT_ID"],
        "CLIENT_SECRET": running["secret"],
        "OPTIONS": {"issuer": running["issuer"]},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"oidc": entry}}
    client.force_login(user)
    url = start(client, "oidc")
    query = query_of(url)
    assert (query["scope"], query["code_challenge_method"]) == ("openid", "S256")
    ada = Person(running["server"])
    with ada.browser:
        address, _, _ = url.removeprefix(running["server"].url).partition("?")
        answer = ada.answer(ada.open(address, **query), **running["agree"])
        params = query_of(answer.headers["Location"])
        assert answer.headers["Location"].startswith(SITE)
    response = finish(client, params, "oidc")
    assert response.status_code == 303, response.content
    made: ConnectedAccount = ConnectedAccount.objects.latest("pk")
    return made


def test_an_issuer_alone_connects_refreshes_calls_and_disconnects(
    account: ConnectedAccount, running: dict[str, Any]
) -> None:
    assert account.subject
    assert account.refresh_at is not None
    assert account.refresh_at < account.expires_at
    before = get_access_token(account)
    refresh(account)
    assert get_access_token(account) != before
    endpoints = discovery.server_metadata(running["issuer"])
    answer = get_session(account).get(endpoints["userinfo_endpoint"])
    assert answer.json()["sub"] == account.subject
    document = ConnectedAccount.objects.get().open_token()
    revocation = disconnect(account)
    revoke_pending()
    assert revocation is not None
    revocation.refresh_from_db()
    assert revocation.outcome == "revoked"
    path = endpoints["userinfo_endpoint"].removeprefix(running["server"].url)
    assert running["server"].get(path, document["access_token"]).status_code == 401


def test_a_grant_that_was_ended_there_needs_the_person(
    account: ConnectedAccount, running: dict[str, Any]
) -> None:
    disconnected = ConnectedAccount.objects.get(pk=account.pk)
    document = disconnected.open_token()
    endpoints = discovery.server_metadata(running["issuer"])
    path = endpoints["revocation_endpoint"].removeprefix(running["server"].url)
    client = (running["CLIENT_ID"], running["secret"])
    running["server"].post(path, {"token": document["refresh_token"]}, auth=client)
    ConnectedAccount.objects.update(expires_at=timezone.now())
    with pytest.raises(ReauthorizationRequired) as caught:
        get_access_token(account)
    assert caught.value.code == "revoked"
    assert not Revocation.objects.exists()
