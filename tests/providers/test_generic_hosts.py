"""One host of a service first, and others later."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount, Outcome, ProviderClient
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_session, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import query_of

pytestmark = pytest.mark.django_db

FIRST, SECOND = "first.example.org", "second.example.org"
URL = "https://{host}"
CONNECT, CALLBACK = "/connections/server/connect/", "/connections/server/callback/"


@pytest.fixture
def at_hosts(settings: Any) -> Callable[..., None]:
    """Let the alias ``server`` be at these hosts."""

    def change(*hosts: str, **entry: Any) -> None:
        options = {
            "hosts": hosts,
            "connect_fields": ["host"],
            "authorization_endpoint": f"{URL}/authorize",
            "token_endpoint": f"{URL}/token",
            "userinfo_endpoint": f"{URL}/me",
            "revocation_endpoint": f"{URL}/revoke",
            "api_base_url": f"{URL}/api/",
        }
        backend = "connected_accounts.providers.generic.OAuth2"
        entry = {"BACKEND": backend, "CLIENT_ID": "the-client", "OPTIONS": options, **entry}
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"server": entry}}

    return change


def connected(client: Client, fake: FakeProvider, **entered: str) -> ConnectedAccount:
    away: Any = client.post(CONNECT, entered)
    assert away.status_code == 303, away.content
    done: Any = client.get(CALLBACK, fake.authorize(away["Location"], subject="7"))
    assert done.status_code == 303, done.content
    found: ConnectedAccount = ConnectedAccount.objects.latest("connected_at")
    return found


def test_a_host_that_comes_later_leaves_what_was_connected_where_it_is(
    client_of_ada: Client, at_hosts: Any, fake_provider: Any
) -> None:
    at_hosts(FIRST)
    fake = fake_provider("server")
    account = connected(client_of_ada, fake)
    at_hosts(FIRST, SECOND)
    refresh(account)
    assert get_session(account).get("things").request.url == f"https://{FIRST}/api/things"
    asked = client_of_ada.post(f"/connections/{account.pk}/reconnect/")
    assert f'<option value="{SECOND}"' in asked.content.decode()
    again = connected(client_of_ada, fake, host=FIRST)
    assert (again.pk, again.subject) == (account.pk, f"{FIRST}:7")
    elsewhere = connected(
        client_of_ada, fake_provider("server", inputs={"host": SECOND}), host=SECOND
    )
    assert elsewhere.subject == f"{SECOND}:7"


def test_who_connects_again_where_the_host_is_gone_chooses_another(
    client_of_ada: Client, at_hosts: Any, fake_provider: Any
) -> None:
    at_hosts(FIRST, "gone.example.org")
    gone = fake_provider("server", inputs={"host": "gone.example.org"})
    account = connected(client_of_ada, gone, host="gone.example.org")
    at_hosts(FIRST, SECOND)
    again = f"/connections/{account.pk}/reconnect/"
    assert f'<option value="{SECOND}"' in client_of_ada.get(again).content.decode()
    asked = client_of_ada.post(again)
    assert (asked.status_code, asked.content.count(b"<option")) == (200, 2)
    assert client_of_ada.post(again, {"host": SECOND}).status_code == 303


def test_what_was_connected_at_the_one_host_is_withdrawn_there(
    client_of_ada: Client, at_hosts: Any, fake_provider: Any
) -> None:
    at_hosts(FIRST)
    account = connected(client_of_ada, fake_provider("server"))
    at_hosts(FIRST, SECOND)
    owed: Any = disconnect(account)
    assert revoke_pending() == 1
    owed.refresh_from_db()
    assert owed.outcome == Outcome.REVOKED


def test_nobody_connects_at_a_host_that_they_did_not_choose(
    client_of_ada: Client, at_hosts: Any
) -> None:
    at_hosts(FIRST, SECOND)
    assert client_of_ada.post(CONNECT).status_code == 200  # asked


def test_a_client_is_entered_for_each_host(
    admin_client: Client, client_of_ada: Client, at_hosts: Any
) -> None:
    at_hosts(FIRST, SECOND)
    add = "/admin/connected_accounts/providerclient/add/"
    for host in (SECOND, "third.example.org", ""):
        data = {"provider": "server", "host": host, "client_id": "given", "new_secret": "s"}
        admin_client.post(add, data)
    assert [row.host for row in ProviderClient.objects.all()] == [SECOND]
    for host, client_id in ((FIRST, "the-client"), (SECOND, "given")):
        away = client_of_ada.post(CONNECT, {"host": host})["Location"]
        assert query_of(away)["client_id"] == client_id
    at_hosts(FIRST, SECOND, CLIENT_ID="")
    assert CONNECT in client_of_ada.get("/connections/").content.decode()
    away = client_of_ada.post(CONNECT, {"host": SECOND})["Location"]
    assert query_of(away)["client_id"] == "given"
    assert client_of_ada.post(CONNECT, {"host": FIRST}).status_code == 503


def test_one_client_serves_the_one_host(admin_client: Client, at_hosts: Any) -> None:
    at_hosts(FIRST, CLIENT_ID="")
    data = {"provider": "server", "host": "", "client_id": "given", "new_secret": "s"}
    added = admin_client.post("/admin/connected_accounts/providerclient/add/", data)
    assert added.status_code == 302
    assert query_of(admin_client.post(CONNECT)["Location"])["client_id"] == "given"
