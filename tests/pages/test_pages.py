"""The connections page, its headers, tags and the views that need a connection."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf.global_settings import LANGUAGES
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.html import escape
from django.views import View

from connected_accounts.decorators import ConnectionRequiredMixin, connection_required
from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from connected_accounts.web.cards import account_card
from tests.journeys import connect, finish, run, set_row, start

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    return connect(client_of_ada, badgr)


def page(client: Client) -> str:
    text: str = client.get("/connections/").content.decode()
    return text


def test_the_empty_page_says_so_and_offers_the_services(client_of_ada: Client) -> None:
    text = page(client_of_ada)
    assert "Nothing is connected yet." in text
    assert "Connect to Badgr" in text
    assert "Connect to BitBadges" in text


def test_a_card_says_which_account_what_it_may_do_and_how_it_is(
    account: ConnectedAccount, client_of_ada: Client, client_of_bob: Client
) -> None:
    text = page(client_of_ada)
    for words in ("ada@example.org", "See the badges in your backpack", "Connected", "r:backpack"):
        assert words in text
    assert "ada@example.org" not in page(client_of_bob)


def test_an_account_that_needs_the_person_says_why(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    assert "What this site may do" in page(client_of_ada)
    ConnectedAccount.objects.transition(status="reconnect_required", reason="revoked")
    for scopes in (["r:profile"], ["a", "b", "c", "d"]):
        ConnectedAccount.objects.update(scopes_granted=scopes)
        text = page(client_of_ada)
        assert "Action needed: the service says that the permission has ended." in text
        # The site may do nothing any more.
        assert "What this site may do" not in text
        assert "What this site asks for" in text


def test_reconnect_is_the_one_loud_button_where_it_is_needed(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    def loud() -> list[str]:
        found = re.findall(r'<(?:a|button) class="ca-button"[^>]*>([^<]+)', page(client_of_ada))
        return [words.strip() for words in found]

    assert loud() == []
    set_row(account, status="reconnect_required", reason="revoked")
    assert loud() == ["Reconnect"]
    account.delete()
    assert loud() == ["Connect to Badgr", "Connect to BitBadges"]


def test_a_permission_that_nobody_described_stands_as_it_is(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    set_row(account, scopes_granted=["r:profile", "x:<unheard>"])
    text = page(client_of_ada)
    assert '<li title="r:profile">See your name and e-mail addresses</li>' in text
    assert "<li><code>x:&lt;unheard&gt;</code></li>" in text


def test_an_account_whose_token_ran_out_for_good_needs_the_person(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    past = timezone.now() - timedelta(seconds=1)
    ConnectedAccount.objects.update(expires_at=past, is_renewable=False)
    assert "the permission has expired" in page(client_of_ada)


def test_a_service_in_trouble_leaves_nothing_to_do(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    ConnectedAccount.objects.update(failure_count=3, last_error="status_503")
    text = page(client_of_ada)
    assert "nothing for you to do" in text
    assert "Action needed" not in text


def test_an_account_of_a_provider_no_longer_in_settings_can_be_disconnected(
    account: ConnectedAccount, client_of_ada: Client, app_settings: Any
) -> None:
    app_settings(PROVIDERS={})
    # Whatever became of it: there is nothing to connect again.
    for row in ({}, {"status": "reconnect_required", "reason": "revoked"}):
        set_row(account, **row)
        text = page(client_of_ada)
        assert "This site does not use this service any more." in text
        assert "Action needed" not in text
        assert f"/connections/{account.pk}/disconnect/" in text
        assert f"/connections/{account.pk}/reconnect/" not in text
    assert client_of_ada.get(f"/connections/{account.pk}/reconnect/").status_code == 404
    assert client_of_ada.post(f"/connections/{account.pk}/disconnect/").status_code == 303


def test_what_a_provider_calls_an_account_is_escaped(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    hostile = "<script>alert(1)</script>"
    params = badgr.authorize(start(client_of_ada), subject="ada", label=hostile)
    assert finish(client_of_ada, params).status_code == 303
    assert hostile not in page(client_of_ada)


def test_twenty_accounts_take_as_many_queries_as_one(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as one:
        page(client_of_ada)
    for number in range(19):
        connect(client_of_ada, badgr, subject=f"person-{number}")
    page(client_of_ada)  # shows and so clears the messages
    with CaptureQueriesContext(connection) as twenty:
        page(client_of_ada)
    assert len(twenty) <= len(one)
    assert not [query for query in twenty if '"token"' in query["sql"]]


def test_what_cards_have_alike_is_rendered_once(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    for number in range(4):
        connect(client_of_ada, badgr, subject=f"person-{number}")
    other = ConnectedAccount.objects.latest("pk")
    set_row(other, scopes_granted=["r:profile"], failure_count=2)

    response = client_of_ada.get("/connections/")

    drawn = [template.name for template in response.templates]
    assert drawn.count("connected_accounts/_card.html") == 5
    assert drawn.count("connected_accounts/_card_state.html") == 2
    text = response.content.decode()
    assert text.count("ca-mark") == 5 + len(response.context["offers"])
    assert text.count("The service is not answering") == 1


def test_what_is_kept_while_a_page_is_made_is_not_kept_for_the_next(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    connect(client_of_ada, badgr, subject="another")
    tokens = []
    for language, test in ("en", "Test this connection"), ("de", "Diese Verbindung prüfen"):
        with translation.override(language):
            text = page(client_of_ada)
        found = re.findall('name="csrfmiddlewaretoken" value="([^"]+)"', text)
        assert text.count(f">{test}<") == 2
        assert len(found) >= 3  # one in each form
        assert len(set(found)) == 1
        tokens += found[:1]
    assert tokens[0] != tokens[1]  # masked anew


def test_days_are_written_for_each_reader(
    account: ConnectedAccount, client_of_ada: Client, settings: Any
) -> None:
    late = datetime(2026, 5, 31, 23, 30, tzinfo=UTC)
    set_row(account, connected_at=late, refreshed_at=None)

    def day(language: str) -> str:
        with translation.override(language):
            (found,) = re.findall("<time.*?</time>", page(client_of_ada))
        return str(found)

    for _ in range(2):
        settings.TIME_ZONE = "UTC"
        assert day("en") == '<time datetime="2026-05-31">May 31, 2026</time>'
        assert day("de") == '<time datetime="2026-05-31">31. Mai 2026</time>'
        assert day("fr") == '<time datetime="2026-05-31">31 mai 2026</time>'
        settings.TIME_ZONE = "Asia/Tokyo"
        assert day("en") == '<time datetime="2026-06-01">June 1, 2026</time>'


def test_a_card_writes_days_as_django_does_in_every_language(account: ConnectedAccount) -> None:
    for month in range(1, 13):
        account.connected_at = datetime(2026, month, 2, 12, tzinfo=UTC)
        for language, _name in LANGUAGES:
            with translation.override(language):
                shown = account_card(account, timezone.now()).connected_on
                assert f">{escape(date_format(account.connected_at))}<" in shown


def test_the_addresses_on_cards_are_those_of_the_routes(
    account: ConnectedAccount, client_of_ada: Client, settings: Any
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    ConnectedAccount.objects.filter(pk=account.pk).update(id=9_000_000)
    text = page(client_of_ada)
    for name in ("reconnect", "disconnect", "history", "test"):
        assert f'"{reverse(f"connected_accounts:{name}", args=[9_000_000])}"' in text
    assert "9,000,000" not in text


@pytest.mark.parametrize("middleware", ["all", "without_security"])
def test_every_answer_carries_our_headers(
    account: ConnectedAccount, client_of_ada: Client, settings: Any, middleware: str
) -> None:
    if middleware == "without_security":
        settings.MIDDLEWARE = [
            name for name in settings.MIDDLEWARE if "Security" not in name and "Frame" not in name
        ]
    url = "/connections/"
    form_pages = ["", "badgr/connect/", f"{account.pk}/reconnect/", f"{account.pk}/disconnect/"]
    answers = [(client_of_ada.get(url + path), "same-origin") for path in form_pages]
    answers.append((client_of_ada.get(url + "badgr/callback/?code=x"), "no-referrer"))
    answers.append((client_of_ada.post(url + "badgr/callback/"), "no-referrer"))
    answers.append((client_of_ada.get(url + "nobody/callback/?code=x&state=y"), "no-referrer"))
    answers.append((Client().get(url), "same-origin"))
    for response, referrer_policy in answers:
        assert "no-store" in response["Cache-Control"]
        assert response["Referrer-Policy"] == referrer_policy
        assert response["X-Frame-Options"] == "DENY"
        assert "Content-Security-Policy" not in response  # that is the site's to say


def test_a_strict_session_cookie_is_fetched_by_one_bounce(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    params = badgr.authorize(start(client_of_ada), subject="ada")
    # What a browser does on the provider's redirect: it keeps the strict cookie back.
    session = client_of_ada.cookies.pop(settings.SESSION_COOKIE_NAME)
    response = finish(client_of_ada, params)
    assert response.status_code == 200
    page = response.content.decode()
    assert 'content="0;url=/connections/badgr/callback/"' in page
    carried = client_of_ada.cookies["connected_accounts_callback_token"]
    for secret in (params["code"], params["state"]):
        assert secret not in page
        assert secret not in carried.value
    assert carried["httponly"]
    assert not ConnectedAccount.objects.exists()
    # Nobody is sent round in circles who really is signed out.
    assert finish(client_of_ada, {})["Location"].startswith("/accounts/login/")
    client_of_ada.cookies[settings.SESSION_COOKIE_NAME] = session.value
    assert finish(client_of_ada, {}).status_code == 303
    assert ConnectedAccount.objects.exists()
    assert not client_of_ada.cookies["connected_accounts_callback_token"].value


def test_a_callback_that_no_cookie_holds_comes_back_by_its_address(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    params = badgr.authorize(start(client_of_ada), subject="ada") | {"session_state": "x" * 4000}
    session = client_of_ada.cookies.pop(settings.SESSION_COOKIE_NAME)
    page = finish(client_of_ada, params).content.decode()
    assert "bounced=1" in page
    client_of_ada.cookies[settings.SESSION_COOKIE_NAME] = session.value
    assert finish(client_of_ada, {**params, "bounced": "1"}).status_code == 303
    assert ConnectedAccount.objects.exists()


def test_an_address_without_a_state_is_not_bounced(client_of_ada: Client, settings: Any) -> None:
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    assert Client().get("/connections/badgr/callback/").status_code == 303


def render(source: str, **context: Any) -> str:
    return Template("{% load connected_accounts %}" + source).render(Context(context))


def test_the_button_is_a_form_that_comes_back_to_this_page(rf: RequestFactory) -> None:
    html = render("{% connect_button 'badgr' %}", request=rf.get("/badges/?page=2"), csrf_token="t")
    for part in (
        'action="/connections/badgr/connect/"',
        'name="next" value="/badges/?page=2"',
        'name="csrfmiddlewaretoken" value="t"',
        "Connect to Badgr",
    ):
        assert part in html


def test_the_button_takes_next_and_scopes(rf: RequestFactory) -> None:
    html = render("{% connect_button 'badgr' next='/x/' scopes='r:profile rw:backpack' %}")
    assert 'name="next" value="/x/"' in html
    assert html.count('name="scope"') == 2


def test_the_users_connections_come_from_the_request_or_the_user(
    account: ConnectedAccount, ada: Any, bob: Any, rf: RequestFactory
) -> None:
    source = "{% user_connections as found %}{% for one in found %}{{ one.label }}{% endfor %}"
    request = rf.get("/")
    request.user = ada
    assert render(source, request=request) == "ada@example.org"
    assert render(source, user=ada) == "ada@example.org"
    for context in ({"user": bob}, {"user": AnonymousUser()}, {}):
        assert render(source, **context) == ""


def use(request: Any) -> HttpResponse:
    return HttpResponse(str(request.connected_account.pk))


def test_a_view_that_needs_a_connection_gets_it(
    account: ConnectedAccount, ada: Any, rf: RequestFactory
) -> None:
    request = rf.get("/badges/")
    request.user = ada
    response = connection_required("badgr", scopes=["r:backpack"])(use)(request)
    assert response.content.decode() == str(account.pk)

    class Badges(ConnectionRequiredMixin, View):
        connection_provider = "badgr"

        def get(self, request: Any) -> HttpResponse:
            return use(request)

    assert Badges.as_view()(request).content.decode() == str(account.pk)


def test_without_the_connection_or_a_scope_the_user_is_sent_to_connect(
    account: ConnectedAccount, ada: Any, bob: Any, rf: RequestFactory, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    request = rf.get("/badges/?page=2")
    request.user = bob
    response = connection_required("badgr")(use)(request)
    assert response.status_code == 303
    assert response["Location"] == "/connections/badgr/connect/?next=%2Fbadges%2F%3Fpage%3D2"
    request.user = ada
    response = connection_required("badgr", scopes=["rw:backpack"])(use)(request)
    assert response["Location"].endswith("page%3D2&scope=rw%3Abackpack")
    request.user = AnonymousUser()
    assert connection_required("badgr")(use)(request)["Location"].startswith("/accounts/login/")


def test_a_post_comes_back_to_the_page_it_came_from(bob: Any, rf: RequestFactory) -> None:
    for referer, query in (
        ("http://testserver/form/", "?next=http%3A%2F%2Ftestserver%2Fform%2F"),
        ("https://evil.example/", ""),
    ):
        request = rf.post("/save/", headers={"referer": referer})
        request.user = bob
        response = connection_required("badgr")(use)(request)
        assert response["Location"] == f"/connections/badgr/connect/{query}"


def test_who_granted_too_little_is_told_and_not_sent_round(
    client_of_ada: Client, ada: Any, badgr: FakeProvider, rf: RequestFactory
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada", scopes=["r:profile"])
    finish(client_of_ada, params)
    request = rf.get("/badges/")
    request.user = ada
    response = connection_required("badgr", scopes=["r:backpack"])(use)(request)
    assert response.status_code == 403
    assert "A permission is missing" in response.content.decode()
    assert "scope=r%3Abackpack&amp;next=%2Fbadges%2F" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_asynchronous_views_are_guarded_too(
    account: ConnectedAccount, ada: Any, bob: Any, rf: RequestFactory
) -> None:
    @connection_required("badgr")
    async def view(request: Any) -> HttpResponse:
        return use(request)

    request = rf.get("/badges/")
    request.user = ada
    assert run(view(request)).content.decode() == str(account.pk)
    request.user = bob
    assert run(view(request)).status_code == 303

    class Badges(ConnectionRequiredMixin, View):
        connection_provider = "badgr"

        async def get(self, request: Any) -> HttpResponse:
            return use(request)

    class Plain(View):
        async def get(self, request: Any) -> HttpResponse:
            return use(request)

    assert run(Badges.as_view()(request)).status_code == 303
    assert run(connection_required("badgr")(Plain.as_view())(request)).status_code == 303
    request.user = ada
    answer = run(connection_required("badgr")(Plain.as_view())(request))
    assert answer.content.decode() == str(account.pk)
    assert run(Badges.as_view()(request)).content.decode() == str(account.pk)


# --- A session that is over ---------------------------------------------------------------------


@pytest.mark.parametrize("page", ["reconnect", "disconnect", "test"])
def test_who_must_sign_in_to_send_a_form_comes_back_to_a_page(
    account: ConnectedAccount, client: Client, client_of_ada: Client, page: str
) -> None:
    sent = client.post(f"/connections/{account.pk}/{page}/", {"next": "/after/"})
    assert sent.status_code == 303
    back = parse_qs(urlsplit(sent["Location"]).query)["next"][0]
    shown = client_of_ada.get(back, follow=True)
    assert shown.status_code == 200
    if page == "test":
        assert shown.request["PATH_INFO"] == "/connections/"  # where the button is
    else:
        assert 'name="next" value="/after/"' in shown.content.decode()


def test_the_list_does_not_lead_to_itself_to_see_the_rest(
    client_of_ada: Client, ada: Any, make_account: Any
) -> None:
    for _ in range(7):
        make_account(user=ada, status="reconnect_required", reason="revoked")
    text = page(client_of_ada)
    assert "7 connections need your attention" in text
    assert "See them all" not in text
