"""Rules of the protocol that hold for every provider in settings, seen from the browser's side."""

import random
import re
import secrets
from typing import Any

import pytest
from django.core.signing import Signer
from django.db import connection
from django.middleware.cache import UpdateCacheMiddleware
from django.test import Client

from connected_accounts import conf
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.oauth2 import pkce, state
from connected_accounts.providers.registry import get_provider
from connected_accounts.testing import FakeProvider
from tests.docs.doc_pages import sources
from tests.journeys import THREADS, at_once, connect, finish, query_of, start

pytestmark = pytest.mark.django_db

ALIASES = conf.provider_aliases()


# --- Every provider -----------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ALIASES)
def test_every_provider_is_asked_for_a_code_with_a_state_of_our_own(
    client_of_ada: Client, alias: str
) -> None:
    query = query_of(start(client_of_ada, alias))
    assert query["response_type"] == "code"
    assert "response_mode" not in query
    assert state.read(query["state"])
    assert query["redirect_uri"] == f"http://testserver/connections/{alias}/callback/"
    wants_pkce = get_provider(alias).code_challenge_method == "S256"
    assert query.get("code_challenge_method") == ("S256" if wants_pkce else None)


@pytest.mark.parametrize("alias", ALIASES)
def test_no_provider_takes_a_callback_without_our_state(client_of_ada: Client, alias: str) -> None:
    query_of(start(client_of_ada, alias))
    with FakeProvider(alias) as fake:
        for params in ({"code": "x"}, {"code": "x", "state": ""}, {"code": "x", "state": "x"}):
            assert finish(client_of_ada, params, alias).status_code == 400
        assert fake.requests == []


def test_without_pkce_state_and_cookie_are_demanded_all_the_same(
    client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us", "code_challenge_method": ""})
    with FakeProvider("badgr") as fake:
        params = fake.authorize(start(client_of_ada), subject="ada")
        start(client_of_bob)
        assert finish(client_of_bob, params).status_code == 403
        cookie = client_of_ada.cookies.pop("connected_accounts_token")
        assert finish(client_of_ada, params).status_code == 403
        assert fake.sent_to("token") == []
        client_of_ada.cookies["connected_accounts_token"] = cookie.value
        assert finish(client_of_ada, params).status_code == 303


# --- What the source does not know ----------------------------------------------------------------


def test_no_grant_but_these_is_ever_asked_for() -> None:
    asked = {
        grant
        for _, text in sources()
        for grant in re.findall(r"[\"']grant_type[\"']: [\"'](\w+)[\"']", text)
    }
    assert asked <= {"authorization_code", "refresh_token", "client_credentials"}
    assert "authorization_code" in asked


def test_nothing_switches_the_state_off_or_falls_back_to_plain() -> None:
    everything = "\n".join(text for _, text in sources())
    assert "supports_state" not in everything
    assert not re.search(r"code_challenge_method\W+plain", everything)
    assert '"plain"' not in everything


def test_a_server_that_refuses_s256_ends_the_flow(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    response = finish(client_of_ada, {**params, "error": "invalid_request"})
    assert response.status_code == 502
    assert badgr.requests == []


# --- Unguessable, and nobody else's -------------------------------------------------------------


def test_what_is_random_does_not_follow_the_seed_of_random() -> None:
    seen = set()
    for _ in range(5):
        random.seed(1)
        seen |= {state.new_secret(), pkce.new_code_verifier()}
    assert len(seen) == 10


def test_neither_a_number_nor_an_id_nor_a_forged_signature_is_a_state(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    params = badgr.authorize(start(client_of_ada), subject="ada")
    row = AuthorizationRequest.objects.latest("pk")
    nonce = params["state"].split(".")[0]
    guesses = [
        *(str(value) for value in (row.pk, account.pk, account.seal_id, row.nonce_digest, nonce)),
        *(
            Signer(key=key, sep=".", salt=state._SALT).sign(nonce)
            for key in ("x", "connected_accounts", "django-insecure-", state._SALT)
        ),
        client_of_ada.cookies["connected_accounts_token"].value,
        state.sign(client_of_ada.cookies["connected_accounts_token"].value),
        state.sign(secrets.token_urlsafe(32)),
    ]
    for guess in guesses:
        assert finish(client_of_ada, {**params, "state": guess}).status_code == 400
    assert finish(client_of_ada, params).status_code == 303


def test_an_authorization_address_that_was_edited_on_its_way_connects_nobody(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    """Who takes the challenge or the state out of it gains nothing."""
    url = start(client_of_ada)
    without_challenge = re.sub(r"&code_challenge(_method)?=[^&]*", "", url)
    answer = badgr.authorize(without_challenge, subject="ada")
    assert "error" in answer  # this server knows that the site uses PKCE
    own = query_of(url)["code_challenge"]
    other = url.replace(own, pkce.code_challenge(pkce.new_code_verifier()))
    assert finish(client_of_ada, badgr.authorize(other, subject="ada")).status_code == 400
    without_state = badgr.authorize(re.sub(r"&state=[^&]*", "", start(client_of_ada)))
    assert finish(client_of_ada, without_state).status_code == 400
    assert not ConnectedAccount.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_many_people_connecting_at_once_each_get_their_own(
    django_user_model: Any, badgr: FakeProvider
) -> None:
    ways = []
    for number in range(THREADS):
        client = Client()
        client.force_login(django_user_model.objects.create_user(f"person-{number}"))
        ways.append((client, badgr.authorize(start(client), subject=f"person-{number}")))
    turns = iter(ways)
    assert set(at_once(lambda: finish(*next(turns)).status_code)) == {303}
    for account in ConnectedAccount.objects.select_related("user"):
        assert account.subject == account.user.username
        token = account.open_token()["access_token"]
        assert [g.subject for g in badgr.grants if g.access_token == token] == [account.subject]
    assert ConnectedAccount.objects.count() == THREADS


# --- Where the redirect URI comes from ----------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "APP.example.org:8443"},
        {"x-forwarded-host": "evil.example"},
        {"x-forwarded-proto": "http", "x-forwarded-port": "81"},
        {"forwarded": "host=evil.example;proto=http"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_the_redirect_uri_is_the_same_whatever_the_request_says(
    client_of_ada: Client, settings: Any, app_settings: Any, headers: dict[str, str]
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    app_settings(REDIRECT_BASE_URL="https://app.example.org")
    response = client_of_ada.post("/connections/badgr/connect/", headers=headers)
    assert query_of(response["Location"])["redirect_uri"] == (
        "https://app.example.org/connections/badgr/callback/"
    )


def test_the_redirect_uri_is_the_same_bytes_at_both_ends(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    url = start(client_of_ada)
    finish(client_of_ada, badgr.authorize(url, subject="ada"))
    (exchange,) = badgr.sent_to("token")
    assert exchange.fields["redirect_uri"] == query_of(url)["redirect_uri"]


# --- Where a person ends ------------------------------------------------------------------------

EVIL_NEXT = [
    *("https://evil.example", "//evil.example", "///evil.example", "////evil.example"),
    *("http:///evil.example", "https:evil.example", "https:/evil.example", "http://evil.example"),
    *("/\\evil.example", "\\/evil.example", "\\\\evil.example", "/\\/evil.example"),
    *("/\tevil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example", "/\r/evil"),
    *("//evil.example/%2e%2e", "//testserver@evil.example", "//testserver:80@evil.example"),
    *("https://testserver.evil.example", "https://testserver.evil.example#"),
    *("https://evil.example\\@testserver", "https://evil.example#testserver"),
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x"),
    *("//3627734734", "//0x7f000001", "https://[::1]", "//[::ffff:7f00:1]", "//evil。example"),
    *("/ok\r\nSet-Cookie: a=b", "/ok\x00", "testserver.evil.example", "http://testserver:81/"),
    *("ftp://testserver/", "//testserver:@evil.example/", "\u2028//evil.example"),
]


@pytest.mark.parametrize("target", EVIL_NEXT, ids=ascii)
def test_nobody_is_sent_off_the_site_at_the_end(
    client_of_ada: Client, badgr: FakeProvider, target: str
) -> None:
    params = badgr.authorize(start(client_of_ada, next=target), subject="ada")
    if "\x00" not in target:  # which PostgreSQL does not store
        # Neither is what was stored believed, should a row ever hold it.
        AuthorizationRequest.objects.update(next=target)
    assert finish(client_of_ada, params)["Location"] == "/connections/"


# --- The rest of the site -----------------------------------------------------------------------


def test_a_cache_in_front_of_the_site_keeps_none_of_our_pages(
    client_of_ada: Client, client_of_bob: Client, account: ConnectedAccount, settings: Any
) -> None:
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    middleware = UpdateCacheMiddleware(lambda request: None)
    for path in ("", "badgr/connect/", f"{account.pk}/disconnect/", "badgr/callback/?code=x"):
        response = client_of_ada.get(f"/connections/{path}")
        assert not middleware._should_update_cache(response.wsgi_request, response) or (
            "private" in response["Cache-Control"]
        )
        other = client_of_bob.get(f"/connections/{path}").content.decode()
        assert "ada@" not in other


@pytest.mark.parametrize(
    "broken",
    [
        {"REFRESH_POLICY": "sometimes"},
        {"BACKEND": "nowhere.Nothing"},
        {"SCOPES": "r:profile"},
        {"OPTIONS": {"region": "mars"}},
        {"OPTIONS": {"token_endpoint": "http://badgr.example/token"}},
        {"NONSENSE": 1},
    ],
    ids=str,
)
def test_a_setting_that_is_broken_closes_every_way_in(
    client_of_ada: Client, badgr: FakeProvider, provider_settings: Any, broken: dict[str, Any]
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    provider_settings("badgr", **broken)
    client_of_ada.raise_request_exception = False
    for response in (
        client_of_ada.get("/connections/badgr/connect/"),
        client_of_ada.post("/connections/badgr/connect/"),
        finish(client_of_ada, params),
    ):
        assert response.status_code == 500
        assert "not set up correctly" in response.content.decode()
    assert badgr.requests == []
    assert not ConnectedAccount.objects.exists()
    assert AuthorizationRequest.objects.get().consumed_at is None


def test_a_cookie_of_ours_holds_no_token_and_nothing_of_the_person(
    client_of_ada: Client, ada: Any, badgr: FakeProvider
) -> None:
    connect(client_of_ada, badgr)
    held = str(client_of_ada.cookies)
    assert not [secret for secret in badgr.secrets if secret in held]
    assert ada.username not in held
    assert "ada@" not in held


def test_our_answers_have_no_cors_headers(client_of_ada: Client) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for way in (client_of_ada.get, client_of_ada.options):
        response = way("/connections/", headers=headers)
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_the_databases_collation_merges_no_subjects(client_of_ada: Client, badgr: Any) -> None:
    connect(client_of_ada, badgr, subject="Abc")
    connect(client_of_ada, badgr, subject="abc")
    assert ConnectedAccount.objects.count() == 2, connection.vendor
