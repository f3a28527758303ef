"""Connecting and disconnecting through the pages, as a person does it."""

from typing import Any

from django.test import Client
from django.urls import reverse

from connected_accounts.models import ConnectedAccount
from connected_accounts.tasks import revoke_pending_tokens


def connect_url(alias: str) -> str:
    return reverse("connected_accounts:connect", args=[alias])


def callback_url(alias: str) -> str:
    return reverse("connected_accounts:callback", args=[alias])


def test_a_person_connects_and_comes_back_to_the_site(
    browser: Client, ada: Any, fake_provider: Any
) -> None:
    badgr = fake_provider("badgr")

    away = browser.post(connect_url("badgr"), {"next": "/"})
    back = badgr.authorize(away["Location"], subject="ada-at-badgr")
    answer = browser.get(callback_url("badgr"), back)

    assert answer["Location"] == "/"
    account = ConnectedAccount.objects.for_user(ada).get()
    assert account.subject == "ada-at-badgr"
    assert account.label in browser.get("/").content.decode()


def test_who_says_no_is_connected_to_nothing(browser: Client, fake_provider: Any) -> None:
    badgr = fake_provider("badgr")

    away = browser.post(connect_url("badgr"))
    answer = browser.get(callback_url("badgr"), badgr.authorize(away["Location"], deny=True))

    assert answer.status_code == 200
    assert not ConnectedAccount.objects.exists()


def test_another_account_does_not_take_the_place_of_the_first(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada, subject="ada")

    url = reverse("connected_accounts:reconnect", args=[account.pk])
    away = browser.post(url)
    back = fake_provider("badgr").authorize(away["Location"], subject="somebody-else")
    browser.get(callback_url("badgr"), back)

    assert ConnectedAccount.objects.get().subject == "ada"


def test_disconnecting_ends_the_grant_at_the_provider(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada)

    browser.post(reverse("connected_accounts:disconnect", args=[account.pk]))
    revoke_pending_tokens.apply()

    assert not ConnectedAccount.objects.exists()
    assert [grant.is_alive for grant in fake_provider("badgr").grants] == [False]


def test_every_service_with_known_endpoints_can_be_connected(
    ada: Any, connected_account: Any, settings: Any
) -> None:
    first = {
        "bime": {"account": "acme"},
        "bime-token": {"account": "acme"},
        "badges": {"host": settings.BADGE_CONNECT_HOSTS[0]},
        "mcp": {"server": settings.MCP_SERVERS[0]},
    }
    for alias, entry in settings.CONNECTED_ACCOUNTS["PROVIDERS"].items():
        if entry["OPTIONS"].get("issuer"):
            continue  # its endpoints are the server's own word, and none is asked here
        account = connected_account(alias, ada, inputs=first.get(alias))
        assert (account.provider, account.user) == (alias, ada)
