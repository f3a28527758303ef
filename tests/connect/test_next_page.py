"""The page that a person goes on to is one of the site, wherever its address came from."""

from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client, RequestFactory

from connected_accounts.connect.next_page import web_address
from connected_accounts.models import AuthorizationRequest
from connected_accounts.oauth2.state import new_secret
from connected_accounts.services import start_authorization
from connected_accounts.testing import FakeProvider
from connected_accounts.web import browser
from tests.journeys import query_of

pytestmark = pytest.mark.django_db

SCRIPT = "javascript:alert(1)"
ELSEWHERE = ["//evil.example/x", "https://evil.example/x", "/\\evil.example", SCRIPT, "data:x,y"]


@pytest.mark.parametrize("url", [SCRIPT, "data:x,y", "/\\evil.example", "\x01/x", "/" + "x" * 3000])
def test_what_is_no_web_address_is_not_stored(user: Any, badgr: FakeProvider, url: str) -> None:
    assert web_address(url) == ""
    start_authorization(
        user=user,
        provider="badgr",
        redirect_uri="https://site.example/callback/",
        browser_secret=new_secret(),
        next=url,
    )
    assert AuthorizationRequest.objects.get().next == ""


@pytest.mark.parametrize("url", ELSEWHERE)
def test_the_button_names_no_page_of_another_site(badgr: FakeProvider, user: Any, url: str) -> None:
    request = RequestFactory().get("/page/")
    request.user = user
    text = "{% load connected_accounts %}{% connect_button 'badgr' next=url %}"
    shown = Template(text).render(Context({"url": url, "request": request}))
    assert "<form" in shown
    assert "evil" not in shown
    assert "alert" not in shown


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_failure_page_leads_to_no_other_site(
    monkeypatch: pytest.MonkeyPatch, client_of_ada: Client, badgr: FakeProvider, url: str
) -> None:
    """Where the site has only the callback, its own page is the way on."""
    gone = client_of_ada.post("/connections/badgr/connect/", {"next": "/own/"})
    AuthorizationRequest.objects.update(next=url)
    monkeypatch.setattr(browser, "page_of", lambda *args: "")
    state = query_of(gone["Location"])["state"]
    page = client_of_ada.get(
        "/connections/badgr/callback/", {"state": state, "error": "access_denied"}
    )
    assert page.status_code == 200
    assert "evil" not in page.text
    assert "alert" not in page.text
