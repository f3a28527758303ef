"""Coming back from the provider: what finishes an authorization."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, finish, start

pytestmark = pytest.mark.django_db


def test_a_finished_authorization_stores_the_account(
    client_of_ada: Client, badgr: FakeProvider, ada: Any
) -> None:
    params = badgr.authorize(
        start(client_of_ada), subject="ada-at-badgr", label="ada@badgr.example"
    )
    response = finish(client_of_ada, params)
    assert (response.status_code, response["Location"]) == (303, "/connections/")
    assert [str(m) for m in get_messages(response.wsgi_request)] == ["Badgr is connected."]
    account = ConnectedAccount.objects.get()
    assert account.user == ada
    assert (account.provider, account.subject) == ("badgr", "ada-at-badgr")
    assert account.label == "ada@badgr.example"
    assert account.status == "active"
    assert account.scopes_granted == account.scopes_requested == ["r:profile", "r:backpack"]
    assert timedelta(hours=23) < account.expires_at - timezone.now() <= timedelta(hours=24)
    assert timedelta(hours=14) < account.refresh_at - timezone.now() < timedelta(hours=18)
    assert account.open_token()["access_token"] in badgr.secrets
    assert [event.kind for event in Event.objects.all()] == ["connected"]


def test_connecting_the_same_account_again_replaces_its_grant(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    first = connect(client_of_ada, badgr)
    old = first.open_token()
    response = finish(client_of_ada, badgr.authorize(start(client_of_ada), subject="ada"))
    assert [str(m) for m in get_messages(response.wsgi_request)][-1] == "Badgr is connected again."
    account = ConnectedAccount.objects.get()
    assert account.pk == first.pk
    assert account.seal_id != first.seal_id
    assert account.open_token()["access_token"] != old["access_token"]


def test_another_account_of_the_same_provider_is_a_second_connection(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    connect(client_of_ada, badgr, subject="one")
    connect(client_of_ada, badgr, subject="One")
    assert sorted(ConnectedAccount.objects.values_list("subject", flat=True)) == ["One", "one"]


def test_the_person_lands_where_they_were_going(client_of_ada: Client, badgr: FakeProvider) -> None:
    params = badgr.authorize(start(client_of_ada, next="/badges/?page=2"), subject="ada")
    assert finish(client_of_ada, params)["Location"] == "/badges/?page=2"


@pytest.mark.parametrize(
    "next_url",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "\\\\evil.example",
        "/\\evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "/ok\r\nSet-Cookie: a=b",
        "/%0a\tevil",
        "evil.example",
        "https://testserver.evil.example/",
        "https://testserver@evil.example/",
        " https://evil.example",
        "/" + "x" * 3000,
        "\x00/",
        "data:text/html,x",
    ],
)
def test_an_off_site_next_is_dropped_and_the_flow_goes_on(
    client_of_ada: Client, badgr: FakeProvider, next_url: str
) -> None:
    params = badgr.authorize(start(client_of_ada, next=next_url), subject="ada")
    response = finish(client_of_ada, params)
    assert (response.status_code, response["Location"]) == (303, "/connections/")
    assert ConnectedAccount.objects.count() == 1


def test_unknown_parameters_are_ignored(client_of_ada: Client, badgr: FakeProvider) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    assert finish(client_of_ada, {**params, "scope": "x", "session_state": "y"}).status_code == 303


def test_two_tabs_may_finish_in_either_order(client_of_ada: Client, badgr: FakeProvider) -> None:
    first, second = start(client_of_ada), start(client_of_ada)
    later = badgr.authorize(second, subject="two")
    earlier = badgr.authorize(first, subject="one")
    assert finish(client_of_ada, later).status_code == 303
    assert finish(client_of_ada, earlier).status_code == 303
    assert ConnectedAccount.objects.count() == 2


def test_a_rotated_secret_key_with_its_fallback_lets_open_flows_finish(
    client_of_ada: Client, badgr: FakeProvider, settings: Any, ada: Any
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new key" * 9
    assert finish(client_of_ada, params).status_code == 303
