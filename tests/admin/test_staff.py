"""Accounts of the site itself, which staff connect in the admin."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from connected_accounts.connect import completion
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Revocation
from connected_accounts.services import (
    complete_authorization,
    get_access_token,
    start_authorization,
)
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect, finish

pytestmark = pytest.mark.django_db

ACCOUNTS = "/admin/connected_accounts/connectedaccount/"
CONNECT = f"{ACCOUNTS}connect/"


@pytest.fixture
def issuer(django_user_model: Any) -> Any:
    """A member of staff who may connect the site's accounts, and look at them."""
    user = django_user_model.objects.create_user("staff", is_staff=True)
    names = ("add_connectedaccount", "view_connectedaccount")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def client_of_staff(issuer: Any) -> Client:
    client = Client()
    client.force_login(issuer)
    return client


def begin(client: Client, alias: str = "badgr") -> str:
    response = client.post(CONNECT, {"provider": alias})
    assert response.status_code == 303, response.content
    return str(response["Location"])


def connect_the_site(client: Client, fake: FakeProvider, subject: str = "issuer") -> Any:
    response = finish(client, fake.authorize(begin(client), subject=subject))
    assert (response.status_code, response["Location"]) == (303, ACCOUNTS)
    return ConnectedAccount.objects.for_user(None).get(subject=subject)


def test_who_is_staff_no_longer_connects_nothing_for_the_site(
    client_of_staff: Client, badgr: FakeProvider, issuer: Any
):
    params = badgr.authorize(begin(client_of_staff))
    type(issuer).objects.filter(pk=issuer.pk).update(is_staff=False)
    assert finish(client_of_staff, params).status_code == 403
    assert not ConnectedAccount.objects.exists()
    assert not badgr.sent_to("token")


def test_staff_connect_an_account_that_belongs_to_the_site(
    client_of_staff: Client, badgr: FakeProvider
):
    assert "Connect an account of the site" in client_of_staff.get(ACCOUNTS).content.decode()
    page = client_of_staff.get(CONNECT).content.decode()
    assert "Badgr" in page
    assert "BitBadges" in page
    page = client_of_staff.get(CONNECT, {"provider": "badgr"}).content.decode()
    assert "belong to the site itself" in page

    account = connect_the_site(client_of_staff, badgr)

    assert (account.user, account.owner_key, account.status) == (None, "site", "active")
    assert get_access_token(account) == badgr.grants[0].access_token
    assert "Badgr is connected." in client_of_staff.get(ACCOUNTS).content.decode()


def test_the_callback_is_the_users_own(client_of_staff: Client):
    query = parse_qs(urlsplit(begin(client_of_staff)).query)
    assert query["redirect_uri"] == ["http://testserver/connections/badgr/callback/"]


def test_it_is_kept_apart_from_the_accounts_of_users(
    client_of_staff: Client, client_of_ada: Client, issuer: Any, ada: Any, badgr: FakeProvider
):
    sites = connect_the_site(client_of_staff, badgr, subject="same")
    users = connect(client_of_ada, badgr, subject="same")

    assert sites.pk != users.pk
    assert list(ConnectedAccount.objects.for_user(None)) == [sites]
    assert list(ConnectedAccount.objects.for_user(ada)) == [users]
    assert not ConnectedAccount.objects.for_user(issuer).exists()
    for client in (client_of_staff, client_of_ada):
        page = client.get("/connections/").content.decode()
        assert f"/connections/{sites.pk}/" not in page
        for name in ("reconnect", "disconnect"):
            assert client.get(f"/connections/{sites.pk}/{name}/").status_code == 404
            assert client.post(f"/connections/{sites.pk}/{name}/").status_code == 404
    assert ConnectedAccount.objects.count() == 2
    only = client_of_staff.get(f"{ACCOUNTS}?owner=site").context["cl"].result_list
    assert [row.pk for row in only] == [sites.pk]
    only = client_of_staff.get(f"{ACCOUNTS}?owner=users").context["cl"].result_list
    assert [row.pk for row in only] == [users.pk]


def test_staff_connect_the_sites_account_again(client_of_staff: Client, badgr: FakeProvider):
    account = connect_the_site(client_of_staff, badgr)
    address = f"{ACCOUNTS}{account.pk}/connect-again/"
    assert address in client_of_staff.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    response = client_of_staff.post(address)
    finish(client_of_staff, badgr.authorize(response["Location"], subject="issuer"))
    assert ConnectedAccount.objects.get().generation > account.generation
    # As another one: left as it is.
    response = client_of_staff.post(address)
    refused = finish(client_of_staff, badgr.authorize(response["Location"], subject="another"))
    assert refused.status_code == 409
    assert f'href="{ACCOUNTS}"' in refused.content.decode() or address in refused.content.decode()
    assert ConnectedAccount.objects.get().subject == "issuer"


def test_a_users_account_is_not_for_staff_to_connect(
    client_of_staff: Client, client_of_ada: Client, badgr: FakeProvider
):
    account = connect(client_of_ada, badgr)
    address = f"{ACCOUNTS}{account.pk}/connect-again/"
    assert client_of_staff.get(address).status_code == 404
    assert client_of_staff.post(address).status_code == 404
    assert address not in client_of_staff.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()


@pytest.mark.parametrize("permission", ["view_connectedaccount", "change_connectedaccount"])
def test_without_the_permission_nobody_connects_the_site(
    django_user_model: Any, permission: str, client_of_ada: Client
):
    user = django_user_model.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename=permission))
    viewer = Client()
    viewer.force_login(user)
    assert viewer.get(CONNECT).status_code == 403
    assert viewer.post(CONNECT, {"provider": "badgr"}).status_code == 403
    assert "Connect an account of the site" not in viewer.get(ACCOUNTS).content.decode()
    for way in (client_of_ada.get, client_of_ada.post):
        assert way(CONNECT).status_code == 302  # to the admin's login
    assert not AuthorizationRequest.objects.exists()


def test_a_permission_that_was_withdrawn_meanwhile_ends_it(
    client_of_staff: Client, issuer: Any, badgr: FakeProvider
):
    params = badgr.authorize(begin(client_of_staff))
    issuer.user_permissions.clear()
    response = finish(client_of_staff, params)
    assert response.status_code == 403
    assert not badgr.sent_to("token")
    assert not ConnectedAccount.objects.exists()


@pytest.mark.parametrize("change", ["permission", "deactivated", "deleted"])
def test_who_may_no_longer_when_the_provider_has_answered_connects_nothing(
    issuer: Any,
    client_of_staff: Client,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
):
    identify = completion.identify

    def change_meanwhile(*args: Any) -> Any:
        if change == "permission":
            issuer.user_permissions.clear()
        elif change == "deactivated":
            type(issuer).objects.update(is_active=False)
        else:
            issuer.delete()
        return identify(*args)

    monkeypatch.setattr(completion, "identify", change_meanwhile)
    params = badgr.authorize(begin(client_of_staff), subject="issuer")
    assert finish(client_of_staff, params).status_code == 403
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().outcome == "pending"


def test_another_browser_or_user_cannot_finish_it(
    client_of_staff: Client, client_of_ada: Client, issuer: Any, badgr: FakeProvider
):
    params = badgr.authorize(begin(client_of_staff))
    assert finish(client_of_ada, params).status_code == 403
    elsewhere = Client()
    elsewhere.force_login(issuer)
    assert finish(elsewhere, params).status_code == 403
    assert finish(client_of_staff, params).status_code == 303


def test_unknown_providers_and_accounts_are_404(client_of_staff: Client):
    assert client_of_staff.get(CONNECT, {"provider": "nobody"}).status_code == 404
    assert client_of_staff.post(CONNECT, {"provider": "nobody"}).status_code == 404
    assert client_of_staff.post(f"{ACCOUNTS}9999/connect-again/").status_code == 404
    assert client_of_staff.post(f"{ACCOUNTS}x/connect-again/").status_code == 404


def test_wrong_settings_are_said_and_are_no_unknown_provider(
    client_of_staff: Client, provider_settings: Any
):
    provider_settings("badgr", OPTIONS={"region": "nowhere"})
    response = client_of_staff.get(CONNECT, {"provider": "badgr"})
    assert response.status_code == 500
    assert "not set up correctly" in response.content.decode()


def test_the_sites_own_client_credentials_need_no_form(client_of_staff: Client, settings: Any):
    entry = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": "the-site",
        "CLIENT_SECRET": "site-secret",
        "OPTIONS": {
            "grant_type": "client_credentials",
            "authorization_endpoint": "https://machine.example/authorize",
            "token_endpoint": "https://machine.example/token",
            "userinfo_endpoint": "https://machine.example/me",
        },
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"machine": entry}}
    with FakeProvider("machine") as machine:
        page = client_of_staff.get(CONNECT, {"provider": "machine"}).content.decode()
        assert "client_secret" not in page
        machine.script("token", Answer(401, json={"error": "invalid_client"}))
        refused = client_of_staff.post(CONNECT, {"provider": "machine"})
        assert refused.status_code == 400
        assert "does not accept this" in refused.content.decode()
        machine.script("token", Answer(200, json={"access_token": "t", "expires_in": 60}))
        machine.script("identity", Answer(200, json={"sub": "the-site-itself"}))
        response = client_of_staff.post(CONNECT, {"provider": "machine"})
    account = ConnectedAccount.objects.get()
    assert response["Location"] == f"{ACCOUNTS}{account.pk}/change/"
    assert (account.user, account.subject, account.client_id) == (
        None,
        "the-site-itself",
        "the-site",
    )


def test_a_script_connects_the_site_without_any_user(badgr: FakeProvider):
    url = start_authorization(
        user=None,
        provider="badgr",
        redirect_uri="https://site.example/connections/badgr/callback/",
        browser_secret="s" * 43,
    )
    completed = complete_authorization(
        user=None, provider="badgr", browser_secret="s" * 43, params=badgr.authorize(url)
    )
    assert (completed.account.user, completed.account.owner_key) == (None, "site")
