"""A second authorization server that is the attacker's: mix-up, wrong issuers, and what it puts
into addresses and answers."""

import logging
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.providers.base import Endpoints
from connected_accounts.providers.generic import OAuth2
from connected_accounts.services import get_session
from connected_accounts.testing import Answer, FakeProvider
from connected_accounts.testing.fake import AuthorizationPageError
from tests.journeys import connect, finish, query_of, start

pytestmark = pytest.mark.django_db

HONEST = "https://honest.example"
EVIL = "https://evil.example"
OURS = "http://testserver/connections"


class Named(OAuth2):
    """Its addresses are all in settings: the server's own word, which nobody could give here, is
    not asked for."""

    def resolve_endpoints(self, inputs: Any) -> Endpoints:
        return self.known_endpoints()


def server(origin: str, **options: Any) -> dict[str, Any]:
    addresses = {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "userinfo_endpoint": f"{origin}/userinfo",
        "api_base_url": origin,
    }
    return {
        "BACKEND": f"{__name__}.Named",
        "CLIENT_ID": f"client-at-{urlsplit(origin).hostname}",
        "CLIENT_SECRET": f"secret-at-{urlsplit(origin).hostname}",
        "SCOPES": ["profile"],
        "OPTIONS": addresses | options,
    }


@pytest.fixture
def options() -> dict[str, Any]:
    """Further options of the honest server."""
    return {}


@pytest.fixture
def servers(settings: Any, options: dict[str, Any]) -> Any:
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {"honest": server(HONEST, **options), "evil": server(EVIL)}
    }
    uris = [f"{OURS}/honest/callback/"]
    with FakeProvider("honest", redirect_uris=uris) as honest, FakeProvider("evil") as evil:
        yield honest, evil


# --- Mix-up (RFC 9700 4.4) ----------------------------------------------------------------------


def test_a_server_that_sends_its_visitors_on_to_another_never_sees_the_code(
    client_of_ada: Client, servers: Any
) -> None:
    honest, evil = servers
    begun = query_of(start(client_of_ada, "evil"))
    disguise = begun | {
        "client_id": "client-at-honest.example",
        "redirect_uri": f"{OURS}/honest/callback/",
    }
    params = honest.authorize(f"{HONEST}/authorize?{urlencode(disguise)}", subject="ada")
    assert finish(client_of_ada, params, "honest").status_code == 400
    assert evil.requests == []
    assert honest.requests == []
    assert not ConnectedAccount.objects.exists()
    # To its own callback the honest server sends nobody: each has an address of its own.
    elsewhere = disguise | {"redirect_uri": begun["redirect_uri"]}
    with pytest.raises(AuthorizationPageError):
        honest.authorize(f"{HONEST}/authorize?{urlencode(elsewhere)}", subject="ada")


def test_an_answer_that_names_the_honest_issuer_is_not_taken_to_the_other(
    client_of_ada: Client, servers: Any
) -> None:
    _, evil = servers
    url = start(client_of_ada, "evil")
    params = evil.authorize(url, subject="ada") | {"iss": HONEST}
    assert finish(client_of_ada, params, "evil").status_code == 400
    assert evil.requests == []


@pytest.mark.parametrize(
    "iss",
    [
        EVIL,
        f"{HONEST}/",
        HONEST.upper(),
        "https://honest.example:443",
        "",
        "null",
        "https%3A%2F%2Fhonest.example",
        f"{HONEST}\n",
        f" {HONEST}",
    ],
)
def test_an_issuer_is_compared_as_it_is_written(
    client_of_ada: Client, servers: Any, iss: str
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    assert finish(client_of_ada, params | {"iss": iss}, "honest").status_code == 400
    assert honest.sent_to("token") == []
    assert finish(client_of_ada, params, "honest").status_code == 303


@pytest.mark.parametrize("options", [{"iss_required": True}, {"iss_required": False}])
def test_a_missing_issuer_is_refused_where_it_was_promised(
    client_of_ada: Client, servers: Any, options: dict[str, Any]
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    del params["iss"]
    expected = 400 if options["iss_required"] else 303
    assert finish(client_of_ada, params, "honest").status_code == expected


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint", "issuer"])
def test_a_flow_ends_where_it_was_begun_or_not_at_all(
    client_of_ada: Client, servers: Any, settings: Any, name: str
) -> None:
    honest, evil = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    del params["iss"]
    changed = server(HONEST, **{name: f"{EVIL}/token"})
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"honest": changed, "evil": server(EVIL)}}
    assert finish(client_of_ada, params, "honest").status_code == 400
    assert honest.requests == []
    assert evil.requests == []


# --- The same account at two servers ------------------------------------------------------------


def test_one_subject_at_two_servers_is_two_accounts_of_two_people(
    client_of_ada: Client, client_of_bob: Client, ada: Any, bob: Any, servers: Any
) -> None:
    honest, evil = servers
    connect(client_of_ada, honest, "honest", subject="1")
    connect(client_of_bob, evil, "evil", subject="1")
    owners = {row.provider: row.user for row in ConnectedAccount.objects.all()}
    assert owners == {"honest": ada, "evil": bob}


def test_a_stolen_label_takes_over_nothing(
    client_of_ada: Client, client_of_bob: Client, ada: Any, bob: Any, servers: Any
) -> None:
    """An e-mail address or a name is for people to read: accounts are known by their subject."""
    honest, _ = servers
    for client, subject in ((client_of_ada, "1"), (client_of_bob, "2")):
        url = start(client, "honest")
        params = honest.authorize(url, subject=subject, label="ada@site.example")
        assert finish(client, params, "honest").status_code == 303
    assert [row.user for row in ConnectedAccount.objects.order_by("subject")] == [ada, bob]
    # The same subject under another name is the same account.
    params = honest.authorize(start(client_of_ada, "honest"), subject="1", label="renamed")
    finish(client_of_ada, params, "honest")
    assert ConnectedAccount.objects.get(user=ada).label == "renamed"


def test_subjects_that_differ_in_case_are_different_accounts(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    for subject in ("Abc", "abc", "abc ", "äbc"):
        connect(client_of_ada, honest, "honest", subject=subject)
    assert ConnectedAccount.objects.count() == 4


# --- What a server says -------------------------------------------------------------------------

HOSTILE = [
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "line\r\nSet-Cookie: a=b",
    "one\nrefused provider=honest owner=user:1 reason=forged",
    "\u202egnihsihp",
    "{{ 7|add:7 }}{% debug %}",
    "x" * 5000,
    "https://evil.example/pay",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_an_error_says_is_neither_shown_nor_logged(
    client_of_ada: Client, servers: Any, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.DEBUG)
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), deny=True)
    said = {"error_description": text, "error_uri": text}
    for error in ("access_denied", "server_error", text[:100]):
        answer = {**params, **said, "error": error}
        response = finish(client_of_ada, answer, "honest")
        assert response.status_code in (200, 400, 502)
        assert text[:100] not in response.content.decode()
        params = honest.authorize(start(client_of_ada, "honest"), deny=True)
    ours = [r for r in caplog.records if r.name.startswith("connected_accounts")]
    assert not [r for r in ours if text[:20] in r.getMessage() or "\n" in r.getMessage()]


def test_an_error_without_our_state_closes_nothing_and_says_nothing_of_the_provider(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    for forged in ({}, {"state": "x"}, {"state": params["state"][:-1] + "x"}):
        response = finish(client_of_ada, {"error": "access_denied", **forged}, "honest")
        assert response.status_code == 400
        assert "did not connect" not in response.content.decode()
    assert AuthorizationRequest.objects.get().consumed_at is None
    assert finish(client_of_ada, params, "honest").status_code == 303


def test_more_in_a_token_answer_than_we_asked_for_is_not_kept(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject="ada")
    honest.script(
        "token",
        Answer(
            200,
            json={
                "access_token": "an-access-token",
                "token_type": "bearer",
                "expires_in": 60,
                "client_secret": "echoed",
                "password": "echoed",
                "registration_access_token": "echoed",
            },
        ),
    )
    honest.script("identity", Answer(200, json={"sub": "ada", "email": "ada@x.example"}))
    assert finish(client_of_ada, params, "honest").status_code == 303
    kept = ConnectedAccount.objects.get().open_token()
    assert "echoed" not in str(kept)
    assert set(kept) == {
        "access_token",
        "refresh_token",
        "id_token",
        "token_type",
        "expires_in",
        "refresh_token_expires_in",
        "redirect_uri",
    }


@pytest.mark.parametrize(
    "label", [*HOSTILE[:2], "<img src=x onerror=alert(1)>", "data:text/html,x"]
)
def test_what_a_server_calls_an_account_is_text_on_every_page(
    client_of_ada: Client, servers: Any, django_user_model: Any, label: str
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest"), subject=label, label=label)
    assert finish(client_of_ada, params, "honest").status_code == 303
    account = ConnectedAccount.objects.get()
    root = Client()
    root.force_login(django_user_model.objects.create_superuser("root", "r@x.example", "root"))
    admin = "/admin/connected_accounts/connectedaccount/"
    pages = [
        *(
            client_of_ada.get(f"/connections/{p}")
            for p in ("", f"{account.pk}/disconnect/", f"{account.pk}/reconnect/")
        ),
        *(root.get(f"{admin}{p}") for p in ("", f"{account.pk}/change/", f"{account.pk}/delete/")),
    ]
    for page in pages:
        text = page.content.decode()
        assert page.status_code == 200
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert not re.search(r'(?:href|src)\s*=\s*["\']?\s*(?:javascript|data):', text)


def test_every_page_of_the_callback_loads_only_from_this_site(
    client_of_ada: Client, servers: Any, settings: Any
) -> None:
    honest, _ = servers
    pages = [finish(client_of_ada, {"code": "x"}, "honest")]
    params = honest.authorize(start(client_of_ada, "honest"), deny=True)
    pages.append(finish(client_of_ada, params, "honest"))
    honest.unavailable()
    params = honest.authorize(start(client_of_ada, "honest"))
    pages.append(finish(client_of_ada, params, "honest"))
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    pages.append(finish(Client(), params, "honest"))
    for page in pages:
        loaded = re.findall(r'(?:src|href|url)\s*=\s*"?([^">]+)', page.content.decode())
        assert loaded
        assert all(urlsplit(link).netloc == "" for link in loaded), loaded
        assert "<script" not in page.content.decode()


def test_the_address_a_person_ends_on_holds_neither_code_nor_state(
    client_of_ada: Client, servers: Any
) -> None:
    honest, _ = servers
    params = honest.authorize(start(client_of_ada, "honest", next="/after/?page=2"), subject="ada")
    target = finish(client_of_ada, params, "honest")["Location"]
    assert target == "/after/?page=2"
    assert not {"code", "state"} & set(parse_qs(urlsplit(target).query))


def test_a_resource_server_that_redirects_to_the_attacker_gets_no_bearer_there(
    client_of_ada: Client, servers: Any
) -> None:
    honest, evil = servers
    account = connect(client_of_ada, honest, "honest")
    honest.script("api", Answer(307, headers={"Location": f"{EVIL}/userinfo"}))
    with pytest.raises(Exception, match="not on the provider's API host"):
        get_session(account).post("/things", data={"a": "b"})
    assert evil.requests == []
