"""A person's whole way round a view that needs a connection: to the provider at most once, and back
to where they were, whatever they grant there."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client

from connected_accounts.models import ConnectedAccount, Reason, Status
from connected_accounts.services import get_access_token
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import set_row
from tests.owners.needing_urls import SCOPE

pytestmark = pytest.mark.django_db

ALL = ["r:profile", "r:backpack", SCOPE]
FEWER = ["r:profile", "r:backpack"]


@pytest.fixture(autouse=True)
def needing(settings: Any, provider_settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.owners.needing_urls"
    provider_settings("badgr", OPTIONAL_SCOPES=[SCOPE])


@pytest.fixture(params=["function", "coroutine", "class", "async-class"])
def page(request: pytest.FixtureRequest) -> str:
    return f"/needs/{request.param}/?shown=1"


class Way:
    """Follows where the site sends, and grants ``scopes`` as ``subject`` at the provider."""

    def __init__(self, client: Client, badgr: FakeProvider, scopes: Any, subject: str) -> None:
        self.client, self.badgr = client, badgr
        self.scopes, self.subject = scopes, subject
        self.trips = 0

    def follow(self, response: Any) -> HttpResponse:
        while response.status_code in (302, 303):
            assert self.trips < 3, "sent round in circles"
            address = urlsplit(response["Location"])
            if "/connect/" in address.path:
                response = self._at_the_provider(address.path, parse_qs(address.query))
            else:
                response = self.client.get(response["Location"])
        return response  # type: ignore[no-any-return]

    def _at_the_provider(self, path: str, asked: dict[str, list[str]]) -> Any:
        self.trips += 1
        away: Any = self.client.post(path, asked)
        back = self.badgr.authorize(away["Location"], subject=self.subject, scopes=self.scopes)
        return self.client.get("/connections/badgr/callback/", back)


@pytest.fixture
def go(client_of_ada: Client, badgr: FakeProvider) -> Any:
    def open_page(address: str, scopes: Any = ALL, subject: str = "ada") -> tuple[int, int, str]:
        way = Way(client_of_ada, badgr, scopes, subject)
        response = way.follow(client_of_ada.get(address))
        return response.status_code, way.trips, response.content.decode()

    return open_page


def test_who_has_nothing_connected_connects_once_and_is_there(page: str, go: Any) -> None:
    assert go(page) == (200, 1, "ada")
    assert go(page) == (200, 0, "ada")


def test_who_grants_less_is_told_what_is_missing_and_goes_nowhere(page: str, go: Any) -> None:
    status, trips, text = go(page, scopes=FEWER)
    assert (status, trips) == (403, 1)
    assert SCOPE in text
    assert go(page, scopes=FEWER)[:2] == (403, 0)  # until the person presses the button


def test_a_permission_that_was_never_asked_for_is_asked_for_once(
    page: str, go: Any, ada: Any, badgr: FakeProvider
) -> None:
    before = connect_account(badgr, ada, subject="ada")
    assert go(page) == (200, 1, "ada")
    assert ConnectedAccount.objects.get() == before


def test_an_upgrade_that_brings_less_leaves_what_there_was(
    page: str, go: Any, ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada, subject="ada")
    assert go(page, scopes=FEWER)[:2] == (403, 1)
    account.refresh_from_db()
    assert (account.status, account.scopes_granted) == (Status.ACTIVE, FEWER)
    assert set(account.scopes_requested) == set(ALL)
    assert get_access_token(account)


def test_another_account_at_the_provider_ends_it_no_less(
    page: str, go: Any, ada: Any, badgr: FakeProvider
) -> None:
    connect_account(badgr, ada, subject="ada")
    assert go(page, scopes=FEWER, subject="other")[:2] == (403, 1)
    assert go(page, scopes=ALL, subject="other")[:2] == (403, 0)
    assert ConnectedAccount.objects.count() == 2


def test_what_must_be_connected_again_is_connected_once(
    page: str, go: Any, ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada, subject="ada", scopes=[SCOPE])
    set_row(account, status=Status.RECONNECT_REQUIRED, reason=Reason.REVOKED)
    assert go(page) == (200, 1, "ada")


def test_an_older_account_with_the_permission_is_taken(
    page: str, go: Any, ada: Any, badgr: FakeProvider
) -> None:
    connect_account(badgr, ada, subject="older", scopes=[SCOPE])
    connect_account(badgr, ada, subject="newer", scopes=[SCOPE], granted=FEWER)
    assert go(page) == (200, 0, "older")


def test_after_connecting_the_person_is_where_they_were(
    page: str, client_of_ada: Client, badgr: FakeProvider
) -> None:
    way = Way(client_of_ada, badgr, ALL, "ada")
    response: Any = way.follow(client_of_ada.get(page))
    request = response.wsgi_request if hasattr(response, "wsgi_request") else None
    assert request is not None
    assert request.get_full_path() == page


@pytest.mark.parametrize(
    ("referrer", "following"),
    [
        ("http://testserver/form/?a=1", "/form/?a=1"),
        ("https://evil.example/form/", ""),
        ("", ""),
    ],
)
def test_a_post_is_not_repeated_and_comes_back_to_the_form(
    page: str, client_of_ada: Client, referrer: str, following: str
) -> None:
    headers = {"Referer": referrer} if referrer else {}
    response: Any = client_of_ada.post(page, {"amount": "100"}, headers=headers)
    assert response.status_code == 303
    address = urlsplit(response["Location"])
    assert address.path == "/connections/badgr/connect/"
    query = parse_qs(address.query)
    asked = query.get("next", [""])[0]
    assert urlsplit(asked)._replace(scheme="", netloc="").geturl() == following
    assert query["scope"] == [SCOPE]
    assert "amount" not in response["Location"]


def test_who_says_no_at_the_provider_is_told_so_and_not_sent_back(
    page: str, client_of_ada: Client, badgr: FakeProvider
) -> None:
    sent: Any = client_of_ada.get(page)
    away: Any = client_of_ada.post(sent["Location"])
    back = badgr.authorize(away["Location"], deny=True)
    response = client_of_ada.get("/connections/badgr/callback/", back)
    assert response.status_code == 200
    assert "You did not connect it" in response.content.decode()
