"""Servers inside applications that people run, each by its recipe in the catalogue."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import expire, finish, start, stored
from tests.servers.bare_client import BareClient
from tests.servers.listed import PERSON, SITE, Running, applications
from tests.servers.person import Person
from tests.servers.test_life import end_there

RECIPES = ["django-allauth", "django-mcp-oauth", "fastmcp", *applications()]
NO_REFRESH = {"jupyterhub"}
NO_REVOCATION = {"django-mcp-oauth", "jupyterhub"}
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.parametrize(
        "server",
        [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in RECIPES],
        indirect=True,
    ),
]


class OfHomeAssistant(Person):
    """Its page is a script, which asks these questions with what she enters."""

    def walk(self, url: str, *, agree: bool = True) -> dict[str, str]:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        flows = "{0.scheme}://{0.netloc}/auth/login_flow".format(urlsplit(url))
        client = {"client_id": asked["client_id"]}
        begun = {
            **client,
            "redirect_uri": asked["redirect_uri"],
            "handler": ["homeassistant", None],
        }
        flow = self.browser.post(flows, json=begun, timeout=20).json()["flow_id"]
        entered = {**client, "username": PERSON["name"], "password": PERSON["password"]}
        answer = self.browser.post(f"{flows}/{flow}", json=entered, timeout=20).json()
        return {"code": answer["result"], "state": asked["state"]}


@pytest.fixture
def person(server: Running) -> Iterator[Person]:
    kind = OfHomeAssistant if server.entry.name == "home-assistant" else Person
    ada = kind(server.entry)
    yield ada
    ada.close()


@pytest.fixture
def connect(
    server: Running, settings: Any, client: Client, user: Any, own_connections: None, person: Person
) -> Callable[[], ConnectedAccount]:
    """``connect()``: by the site's own pages, with what its settings name."""
    entry = {"SERVICE": server.entry.name, "CLIENT_ID": server.client["id"]}
    if server.client["secret"]:
        entry["CLIENT_SECRET"] = server.client["secret"]
    providers = {"stock": {**entry, "OPTIONS": {"hosts": [server.url]}}}
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": SITE, "PROVIDERS": providers}
    client.force_login(user)

    def go() -> ConnectedAccount:
        url = start(client, "stock", host=server.url)
        response = finish(client, person.walk(url), "stock")
        assert response.status_code == 303, response.content.decode()[-1500:]
        account: ConnectedAccount = ConnectedAccount.objects.latest("connected_at")
        return account

    return go


def test_it_connects_refreshes_and_its_api_is_used(
    server: Running, bare: BareClient, connect: Callable[[], ConnectedAccount]
) -> None:
    account = connect()
    assert account.is_renewable is (server.entry.name not in NO_REFRESH)
    for _ in range(3 if account.is_renewable else 0):
        refresh(account)
        assert account.status == "active"
    assert bare.lives(get_access_token(account))
    if server.entry.name != "fastmcp":  # an MCP server takes no GET without more
        answer = get_session(account).get(server.url + server.entry.api)
        assert answer.status_code == 200


def test_a_grant_that_died_there_needs_the_person(
    server: Running, bare: BareClient, connect: Callable[[], ConnectedAccount]
) -> None:
    if server.entry.name in NO_REVOCATION:
        pytest.skip("optional: nothing but time, or a page for people, ends a grant there")
    account = connect()
    end_there(bare, stored(account))
    expire(account)
    with pytest.raises(ReauthorizationRequired):
        get_access_token(account)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "revoked")


def test_a_disconnect_ends_the_grant_there_or_says_that_nobody_can(
    server: Running, bare: BareClient, client: Client, connect: Callable[[], ConnectedAccount]
) -> None:
    account = connect()
    document = stored(account)
    assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    ended = server.entry.name not in NO_REVOCATION
    assert Revocation.objects.get().outcome == ("revoked" if ended else "unsupported")
    assert bare.lives(document["access_token"]) is not ended
    if document.get("refresh_token"):
        assert bare.renews(document["refresh_token"]) is not ended


def test_a_code_that_is_over_connects_nobody(
    server: Running, client: Client, connect: Callable[[], ConnectedAccount], person: Person
) -> None:
    connect()
    back = person.walk(start(client, "stock", host=server.url))
    response = finish(client, {**back, "code": "a-code-that-is-over"}, "stock")
    assert response.status_code == 400
    assert ConnectedAccount.objects.count() == 1
