"""Links in the admin lead somewhere, for whoever is shown them."""

import html
import re
from typing import Any
from urllib.parse import urljoin

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import path

from connected_accounts.admin.records import ProviderStateAdmin
from connected_accounts.models import ConnectedAccount, Event, ProviderState, Revocation
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider
from tests.admin.test_admin import staff
from tests.journeys import connect

pytestmark = pytest.mark.django_db

ADMIN = "/admin/connected_accounts/"
PAGES = (
    "connectedaccount/",
    "connectedaccount/{account}/change/",
    "connectedaccount/person/{owner}/",
    "connectedaccount/connect/",
    "connectedaccount/connect/?provider=badgr",
    "connectedaccount/{account}/test/",
    "event/",
    "event/{event}/change/",
    "revocation/",
    "revocation/{revocation}/change/",
    "providerstate/badgr/pause/",
)
PEOPLE = (
    "view_connectedaccount",
    "change_connectedaccount",
    "add_connectedaccount",
    "view_event",
    "view_revocation",
    "change_providerstate",
)


@pytest.fixture
def rows(account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider) -> dict[str, Any]:
    """An account, and of another one what remains after disconnecting."""
    disconnect(connect(client_of_ada, badgr, subject="second"))
    return {
        "account": account.pk,
        "owner": account.owner_key,
        "event": Event.objects.latest("pk").pk,
        "revocation": Revocation.objects.latest("pk").pk,
    }


@pytest.mark.parametrize("permission", PEOPLE)
def test_no_link_leads_to_what_the_reader_may_not_see(
    rows: dict[str, Any], django_user_model: Any, permission: str
) -> None:
    client = staff(django_user_model, permission)
    seen: dict[str, int] = {}
    for page in (ADMIN + page.format(**rows) for page in PAGES):
        response = client.get(page)
        if response.status_code != 200:
            continue
        for link in re.findall(r'href="([^"#]+)"', response.content.decode()):
            address = urljoin(page, html.unescape(link))
            if address.startswith(ADMIN) and address not in seen:
                seen[address] = client.get(address).status_code
    assert seen
    assert {address: status for address, status in seen.items() if status >= 400} == {}


def test_a_user_is_linked_for_who_may_see_users(
    rows: dict[str, Any], django_user_model: Any
) -> None:
    page = f"{ADMIN}connectedaccount/person/{rows['owner']}/"
    unseeing = staff(django_user_model, "view_connectedaccount")
    assert "/admin/auth/user/" not in unseeing.get(page).content.decode()
    django_user_model.objects.get(username="staff").delete()
    seeing = staff(django_user_model, "view_connectedaccount", "view_user")
    assert "/admin/auth/user/" in seeing.get(page).content.decode()


@pytest.mark.parametrize("permission", ["add_connectedaccount", "view_connectedaccount"])
def test_who_connected_the_site_ends_where_they_may_be(
    badgr: FakeProvider, django_user_model: Any, permission: str
) -> None:
    client = staff(django_user_model, "add_connectedaccount", permission)
    away = client.post(f"{ADMIN}connectedaccount/connect/", {"provider": "badgr"})
    back = client.get("/connections/badgr/callback/", badgr.authorize(away["Location"]))
    assert client.get(back["Location"]).status_code == 200


def test_who_paused_ends_where_they_may_be(django_user_model: Any, db: None) -> None:
    client = staff(django_user_model, "change_providerstate")
    assert client.post(f"{ADMIN}providerstate/badgr/pause/", follow=True).status_code == 200


def test_an_admin_site_of_the_pauses_alone_works(client_of_admin: Client, settings: Any) -> None:
    own = admin.AdminSite(name="pauses")
    own.register(ProviderState, ProviderStateAdmin)
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [path("pauses/", own.urls)]})
    page = "/pauses/connected_accounts/providerstate/badgr/pause/"
    assert client_of_admin.get(page).status_code == 200
    assert client_of_admin.post(page)["Location"] == "/pauses/"
