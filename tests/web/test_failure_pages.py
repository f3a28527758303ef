"""What a person is told when it fails, and that the way on leads where they were going."""

from typing import Any

import pytest
from django.test import Client

from connected_accounts.exceptions import InvalidState, ProviderUnavailable
from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from connected_accounts.web import failures, throttle
from connected_accounts.web.failures import TOO_MANY, Failure, failure_for
from tests.causes import CAUSES
from tests.journeys import connect, finish, start

pytestmark = pytest.mark.django_db

STATES = (InvalidState.__doc__ or "").split("``")[3::2]


def pages_of_failures() -> list[Failure]:
    """All that the module has, in its own names and in its tables."""
    found: list[Failure] = []
    for value in vars(failures).values():
        values = value.values() if isinstance(value, dict) else [value]
        found += [page for page in values if isinstance(page, Failure) and page not in found]
    return found


def test_each_page_of_a_failure_has_a_cause_and_each_cause_words_of_its_own() -> None:
    pages = [failure_for(error) for error in CAUSES.values()]
    unseen = [page.title for page in pages_of_failures() if page not in (*pages, TOO_MANY)]
    assert unseen == [], "has no row in CAUSES"
    assert len({str(page.title) for page in pages}) == len(pages)
    assert all(len(str(page.text)) > 30 for page in pages)
    alike = {"malformed", "unknown", "other_provider"}
    assert set(STATES) - alike <= set(CAUSES)


def test_a_refusal_names_the_service_and_leads_back_to_next(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada, next="/badges/"), deny=True)
    text = finish(client_of_ada, params).content.decode()
    assert "You did not connect it – Badgr" in text
    assert 'href="/connections/badgr/connect/?next=%2Fbadges%2F"' in text


def test_who_came_back_as_another_account_may_connect_that_one_instead(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/")["Location"]
    text = finish(client_of_ada, badgr.authorize(url, subject="grace")).content.decode()
    assert f'href="/connections/{account.pk}/reconnect/"' in text
    assert 'href="/connections/badgr/connect/"' in text
    assert "Connect the other account" in text


@pytest.fixture
def optional(provider_settings: Any) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack", "r:issuer"])


def test_try_again_after_the_callback_keeps_next_and_what_was_chosen(
    optional: None, client_of_ada: Client, badgr: FakeProvider
) -> None:
    url = start(client_of_ada, next="/badges/", scope=["rw:backpack"])
    text = finish(client_of_ada, badgr.authorize(url, deny=True)).content.decode()
    again = "/connections/badgr/connect/?next=%2Fbadges%2F&amp;scope=rw%3Abackpack"
    assert f'href="{again}"' in text
    page = client_of_ada.get(again.replace("&amp;", "&")).content.decode()
    assert 'value="rw:backpack" checked' in page
    assert 'value="r:issuer" checked' not in page


def test_try_again_on_a_reconnect_keeps_what_was_unticked(
    optional: None, client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr, scope=["rw:backpack"])
    address = f"/connections/{account.pk}/reconnect/"
    url = client_of_ada.post(address, {"scope": "", "next": "/badges/"})["Location"]
    text = finish(client_of_ada, badgr.authorize(url, subject="grace")).content.decode()
    again = f"{address}?next=%2Fbadges%2F&amp;scope="
    assert f'href="{again}"' in text
    assert 'href="/connections/badgr/connect/?next=%2Fbadges%2F"' in text  # the other account
    assert "checked" not in client_of_ada.get(again.replace("&amp;", "&")).content.decode()


def test_who_began_too_often_goes_on_with_next_and_the_same_account(
    account: ConnectedAccount, client_of_ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "STARTS", throttle.Limit("start", 0))
    address = f"/connections/{account.pk}/reconnect/"
    response = client_of_ada.post(address, {"next": "/badges/"})
    assert response.status_code == 429
    assert f'href="{address}?next=%2Fbadges%2F"' in response.content.decode()


def test_who_tested_too_often_goes_on_where_the_button_is(
    account: ConnectedAccount, client_of_ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "TESTS", throttle.Limit("trial", 0))
    response = client_of_ada.post(f"/connections/{account.pk}/test/")
    assert response.status_code == 429
    page = response.content.decode()
    assert '<a class="ca-button" href="/connections/">Try again</a>' in page
    assert "/reconnect/" not in page


def test_a_service_away_at_the_start_is_tried_again_with_next_and_scopes(
    client_of_ada: Client, monkeypatch: pytest.MonkeyPatch, provider_settings: Any
) -> None:
    def away(**kwargs: Any) -> str:
        raise ProviderUnavailable("no_metadata", sent=False)

    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    monkeypatch.setattr("connected_accounts.web.actions.start_authorization", away)
    data = {"next": "/badges/", "scope": "rw:backpack"}
    response = client_of_ada.post("/connections/badgr/connect/", data)
    assert response.status_code == 502
    again = "/connections/badgr/connect/?next=%2Fbadges%2F&amp;scope=rw%3Abackpack"
    assert f'href="{again}"' in response.content.decode()


def test_the_way_on_never_leaves_the_site(
    client_of_ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "STARTS", throttle.Limit("start", 0))
    data = {"next": "https://evil.example/", "scope": "no:such"}
    response = client_of_ada.post("/connections/badgr/connect/", data)
    text = response.content.decode()
    assert "evil" not in text
    assert "no:such" not in text
