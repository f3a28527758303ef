"""What staff and a person see of servers that people name, and clients that staff enter for one."""

from base64 import b64decode
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount, ProviderClient
from tests.mcp.guarded import Guarded
from tests.mcp.person import Person

pytestmark = pytest.mark.django_db(transaction=True)

CLIENTS = "/admin/connected_accounts/providerclient/"
ACCOUNTS = "/admin/connected_accounts/connectedaccount/"


def without_scheme(url: str) -> str:
    return url.removeprefix("http://")


def add(admin: Client, host: str, **sent: str) -> Any:
    data = {"provider": "mcp", "host": host, "client_id": "given", "new_secret": "its-secret"}
    return admin.post(f"{CLIENTS}add/", data | sent)


def test_staff_enter_a_client_for_one_authorization_server(
    admin_client: Client, person: Person, guarded: Guarded, start_guarded: Any, configure: Any
) -> None:
    other = start_guarded()
    configure(other.url)
    assert add(admin_client, guarded.url).status_code == 302
    assert person.connect(guarded.server).client_id == "given"
    assert not guarded.asked("/register")
    [exchange] = guarded.asked("/token")
    assert b64decode(exchange.headers["Authorization"].split()[1]) == b"given:its-secret"
    person.decide = other.allow
    assert person.connect(other.server).client_id in other.clients, "it is nobody else's"
    assert guarded.url in admin_client.get(CLIENTS).content.decode()


def test_what_staff_entered_takes_the_place_of_a_registered_client_for_new_connections(
    admin_client: Client, person: Person, guarded: Guarded
) -> None:
    registered = person.connect(guarded.server)
    add(admin_client, guarded.url)
    assert ConnectedAccount.objects.get().client_id == registered.client_id
    assert person.connect(guarded.server).client_id == "given"


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("mcp", ""),
        ("mcp", "guard.example"),
        ("mcp", "http://guard.example"),
        ("mcp", "https://guard.example/" + "x" * 250),
        ("badges", "https://elsewhere.example"),
        ("badgr", "https://guard.example"),
    ],
)
def test_a_host_that_is_none_is_not_taken(
    admin_client: Client, settings: Any, provider: str, host: str
) -> None:
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {
            "mcp": {"BACKEND": "connected_accounts.providers.mcp.MCP"},
            "badgr": settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"],
            "badges": {
                "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
                "OPTIONS": {"hosts": ["badges.example"]},
            },
        }
    }
    page = add(admin_client, host, provider=provider)
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert not ProviderClient.objects.exists()


def test_a_host_of_badges_is_written_as_its_accounts_have_it(
    admin_client: Client, settings: Any
) -> None:
    entry = {
        "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
        "OPTIONS": {"hosts": ["badges.example", "other.example"]},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}
    assert add(admin_client, "badges.example", provider="badges").status_code == 302
    assert ProviderClient.objects.get().host == "badges.example"


def test_accounts_are_found_by_the_host_they_are_at(
    admin_client: Client, person: Person, guarded: Guarded, start_guarded: Any, configure: Any
) -> None:
    other = start_guarded()
    configure(other.url)
    for one in (guarded, other):
        person.decide = one.allow
        person.connect(one.server)
    page = admin_client.get(f"{ACCOUNTS}?provider=mcp").content.decode()
    for one in (guarded, other):
        assert f"host={quote(one.url, safe='')}&amp;provider=mcp" in page
    found = admin_client.get(ACCOUNTS, {"provider": "mcp", "host": guarded.url})
    page = found.content.decode()
    assert f"{without_scheme(guarded.server)} (Notes" in page
    assert f"{without_scheme(other.server)} (Notes" not in page
    page = admin_client.get(ACCOUNTS).content.decode()
    assert "host=" not in page, "hosts are those of one provider"


def test_the_page_of_a_person_names_the_server_once_and_by_its_own_name(
    admin_client: Client, person: Person, guarded: Guarded
) -> None:
    account = person.connect(guarded.server)
    shown = f"{without_scheme(guarded.server)} (Notes of the house)"
    assert account.display_name == shown
    page = admin_client.get(f"{ACCOUNTS}person/{account.owner_key}/").content.decode()
    assert f">{shown}</a>" in page


def test_a_guard_elsewhere_is_named_too(
    person: Person, guarded: Guarded, start_guarded: Any, configure: Any
) -> None:
    guard = start_guarded()
    configure(guard.url)
    guarded.resource["authorization_servers"] = [guard.url]
    guarded.grants = guard.grants
    person.decide = guard.allow
    account = person.connect(guarded.server)
    assert account.display_name.endswith(f"(Notes of the house) ({guard.url})")


def test_a_person_reads_the_history_of_a_server_and_tests_it(
    person: Person, guarded: Guarded
) -> None:
    account = person.connect(guarded.server)
    history = person.browser.get(f"/connections/{account.pk}/history/").content.decode()
    assert "Notes of the house" in history
    tested = person.browser.post(f"/connections/{account.pk}/test/").content.decode()
    assert "works" in tested
    guarded.grants.clear()
    tested = person.browser.post(f"/connections/{account.pk}/test/").content.decode()
    assert "works" not in tested


def test_staff_test_the_connection_of_a_person(
    admin_client: Client, person: Person, guarded: Guarded
) -> None:
    account = person.connect(guarded.server)
    before = len(guarded.asked("/mcp"))
    admin_client.post(f"{ACCOUNTS}{account.pk}/test/")
    assert len(guarded.asked("/mcp")) == before + 1
