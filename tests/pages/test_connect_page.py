"""The page before a connection, and the tags that lead to it."""

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import resolve

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, finish, query_of, set_row, start

pytestmark = pytest.mark.django_db

PAGE = "/connections/badgr/connect/"


@pytest.fixture(autouse=True)
def optional(provider_settings: Any) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack", "r:issuer"])


def boxes(text: str) -> list[str]:
    return [part.split(">")[0] for part in text.split('<input type="checkbox"')[1:]]


def test_optional_permissions_are_for_the_person_to_choose(client_of_ada: Client) -> None:
    text = client_of_ada.get(f"{PAGE}?scope=r:issuer").content.decode()
    first, second = boxes(text)
    assert 'value="rw:backpack"' in first
    assert "checked" not in first
    assert 'value="r:issuer"' in second
    assert "checked" in second
    assert 'type="hidden" name="scope"' not in text


def test_what_is_ticked_is_asked_for_and_nothing_else(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    asked = query_of(start(client_of_ada, scope=["rw:backpack"]))["scope"].split()
    assert set(asked) == {"r:profile", "r:backpack", "rw:backpack"}
    assert query_of(start(client_of_ada))["scope"].split() == ["r:profile", "r:backpack"]


def reconnect(client: Client, account: ConnectedAccount, **data: Any) -> set[str]:
    """The optional scopes that the provider is asked for."""
    url = client.post(f"/connections/{account.pk}/reconnect/", data)["Location"]
    return set(query_of(url)["scope"].split()) - {"r:profile", "r:backpack"}


def test_a_reconnect_shows_what_was_chosen_before_for_the_person_to_untick(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr, scope=["rw:backpack"])
    address = f"/connections/{account.pk}/reconnect/"
    first, second = boxes(client_of_ada.get(address).content.decode())
    assert 'value="rw:backpack"' in first
    assert "checked" in first
    assert "checked" not in second
    # The empty one, which the form always sends, says that this is all that is wanted.
    assert reconnect(client_of_ada, account, scope=["", "rw:backpack"]) == {"rw:backpack"}
    assert reconnect(client_of_ada, account, scope=["", "r:issuer"]) == {"r:issuer"}
    assert reconnect(client_of_ada, account, scope=[""]) == set()
    # What asks for more, and shows nobody the choice, takes nothing away.
    assert reconnect(client_of_ada, account) == {"rw:backpack"}
    assert reconnect(client_of_ada, account, scope="r:issuer") == {"rw:backpack", "r:issuer"}
    one, other = boxes(client_of_ada.get(f"{address}?scope=r:issuer").content.decode())
    assert ("checked" in one, "checked" in other) == (True, True)


def test_what_was_unticked_is_neither_asked_for_nor_kept(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr, scope=["rw:backpack"])
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/", {"scope": ""})["Location"]
    finish(client_of_ada, badgr.authorize(url, subject="ada"))
    account.refresh_from_db()
    assert account.scopes_requested == account.scopes_granted == ["r:profile", "r:backpack"]
    assert reconnect(client_of_ada, account) == set()


def test_what_a_personal_token_may_do_is_not_chosen_here(
    client_of_ada: Client, app_settings: Any
) -> None:
    entry = {
        "BACKEND": "connected_accounts.providers.bime.Bime",
        "OPTIONS": {"grant_type": "personal_token"},
        "OPTIONAL_SCOPES": ["write"],
    }
    app_settings(PROVIDERS={"bime": entry})
    text = client_of_ada.get("/connections/bime/connect/").content.decode()
    assert "Go on" not in text
    assert not boxes(text)


def test_without_scopes_the_person_chooses_at_the_provider(
    client_of_ada: Client, provider_settings: Any
) -> None:
    provider_settings("bitbadges", SCOPES=[])
    text = client_of_ada.get("/connections/bitbadges/connect/").content.decode()
    assert "At BitBadges you choose what this site may do." in text


def render(source: str, **context: Any) -> str:
    return Template("{% load connected_accounts %}" + source).render(Context(context))


def test_a_button_can_lead_to_the_page_first(client_of_ada: Client, rf: RequestFactory) -> None:
    request = rf.get("/badges/")
    text = render('{% connect_button "badgr" ask=True scopes="r:issuer" %}', request=request)
    assert 'method="get"' in text
    assert "csrf" not in text
    answer = client_of_ada.get(PAGE, {"next": "/badges/", "scope": "r:issuer"})
    assert 'name="next" value="/badges/"' in unquote(answer.content.decode())


def test_the_banner_names_what_ran_out_and_not_what_the_site_no_longer_uses(
    account: ConnectedAccount, ada: Any, now: Any, app_settings: Any
) -> None:
    set_row(account, expires_at=now - timedelta(seconds=1), is_renewable=False)
    assert "1 connection needs you" in render("{% needs_you_banner %}", user=ada)
    app_settings(PROVIDERS={})
    assert render("{% needs_you_banner %}", user=ada).strip() == ""


def test_the_banner_names_what_needs_the_person_and_nobody_elses(
    account: ConnectedAccount, ada: Any, bob: Any, django_assert_num_queries: Any
) -> None:
    banner = "{% needs_you_banner %}"
    assert render(banner, user=ada).strip() == ""
    set_row(account, status="reconnect_required", reason="revoked")
    with django_assert_num_queries(1):
        text = render(banner, user=ada)
    assert "1 connection needs you" in text
    assert f"/connections/{account.pk}/reconnect/" in text
    assert render(banner, user=bob).strip() == ""
    assert render(banner).strip() == ""


def test_the_banner_brings_its_style_sheet_along_and_is_not_on_the_apps_own_pages(
    account: ConnectedAccount, ada: Any, rf: RequestFactory
) -> None:
    banner = "{% needs_you_banner %}"
    set_row(account, status="reconnect_required", reason="revoked")
    elsewhere, here = rf.get("/"), rf.get("/connections/")
    elsewhere.user = here.user = ada
    here.resolver_match = resolve("/connections/")
    text = render(banner, request=elsewhere)
    assert "connected_accounts/connected_accounts.css" in text
    assert 'class="ca-banner" lang="en" dir="ltr"' in text
    assert render(banner, request=here).strip() == ""
