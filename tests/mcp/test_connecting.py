"""A person names an MCP server: where they are sent, what is asked, and where the token goes."""

import json
from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import (
    ConfigurationError,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event, Kind, ProviderClient
from connected_accounts.oauth2 import discovery
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import get_session, refresh
from tests.mcp.guarded import Asked, Guarded
from tests.mcp.person import Person, Refused
from tests.strong.certificates import Authority

pytestmark = pytest.mark.django_db(transaction=True)

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}}


def asked_with(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_person_sees_server_and_guard_before_they_go(person: Person, guarded: Guarded) -> None:
    page = person.see_way(server=guarded.server)
    text = page.content.decode()
    host = guarded.url.removeprefix("http://")
    assert f"<bdi>{host}</bdi></strong>, which decides who may use <strong><bdi>{host}/mcp" in text
    assert "<code>read</code>" in text
    assert not guarded.asked("/register"), "before they went on"


def test_a_server_is_connected_and_its_card_names_it(person: Person, guarded: Guarded) -> None:
    account = person.connect(guarded.server)
    assert account.inputs == {
        "server": guarded.server,
        "issuer": guarded.url,
        "resource": guarded.server,
    }
    assert account.host == guarded.url
    assert account.scopes_granted == ["read"]
    shown = person.browser.get("/connections/").content.decode()
    assert f"{guarded.server.removeprefix('http://')} (Notes of the house)" in shown


def test_a_server_that_takes_bound_tokens_only_is_asked_for_them(
    person: Person, guarded: Guarded
) -> None:
    guarded.resource["dpop_bound_access_tokens_required"] = True
    urls: list[str] = []
    person.decide = lambda url: urls.append(url) or guarded.allow(url)
    with pytest.raises(Refused) as caught:
        person.connect(guarded.server)
    assert "permission is not safe enough" in caught.value.text, "it gave a plain bearer"
    assert "dpop_jkt" in asked_with(urls[0])
    assert guarded.asked("/register")[0].body["dpop_bound_access_tokens"] is True
    assert "DPoP" in guarded.asked("/token")[0].headers


def test_resource_is_sent_with_every_request_for_a_token(person: Person, guarded: Guarded) -> None:
    urls = []
    person.decide = lambda url: urls.append(url) or guarded.allow(url)
    account = person.connect(guarded.server)
    refresh(account)
    assert asked_with(urls[0])["resource"] == guarded.server
    grants = [(one.body["grant_type"], one.body["resource"]) for one in guarded.asked("/token")]
    assert grants == [
        ("authorization_code", guarded.server),
        ("refresh_token", guarded.server),
    ]


def test_the_bearer_goes_to_its_resource_and_below_and_nowhere_else(
    person: Person, guarded: Guarded
) -> None:
    session = get_session(person.connect(guarded.server))
    assert session.post(guarded.server, json=CALL).status_code == 200
    assert session.post(f"{guarded.server}/messages", json=CALL).status_code == 404
    elsewhere = ["/", "/mcp2", "/token", "/mcp/../token", "/mcp/%2e%2e/token", "/mcp\\..\\token"]
    seen = len(guarded.requests)
    for path in elsewhere:
        with pytest.raises(ConfigurationError, match="foreign_host"):
            session.get(f"{guarded.url}{path}")
    assert len(guarded.requests) == seen


def test_another_client_is_given_no_token_for_a_private_address(
    person: Person, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = get_session(person.connect(guarded.server))
    assert session.token_for(guarded.server).reveal()  # settings name it
    monkeypatch.setattr(session, "_public_only", True)
    with pytest.raises(UnexpectedResponse, match="private_address"):
        session.token_for(guarded.server)


def test_one_person_has_many_servers_under_one_alias(
    person: Person, guarded: Guarded, start_guarded: Any, configure: Any
) -> None:
    other = start_guarded()
    configure(other.url)
    first = person.connect(guarded.server)
    person.decide = other.allow
    second = person.connect(other.server)
    assert ConnectedAccount.objects.at("mcp").count() == 2
    assert (first.subject, second.subject) == (guarded.server, other.server)
    refresh(first)
    assert len(other.asked("/token")) == 1, "its own code, and nothing of the other's"


# --- The client that the site is -----------------------------------------------------------------


def test_the_site_registers_once_for_an_issuer(
    person: Person, guarded: Guarded, django_user_model: Any
) -> None:
    person.connect(guarded.server)
    grace = django_user_model.objects.create_user("grace")
    Person(grace, "mcp", decide=guarded.allow).connect(guarded.server)
    [told] = [one.body for one in guarded.asked("/register")]
    assert told["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["application_type"] == "native"
    assert told["grant_types"] == ["authorization_code", "refresh_token"]
    assert told["scope"] == "read"


def test_the_secret_goes_into_the_body_where_the_server_takes_it_there(
    person: Person, guarded: Guarded
) -> None:
    methods = ["client_secret_basic", "client_secret_post", "none"]
    guarded.metadata["token_endpoint_auth_methods_supported"] = methods
    refresh(person.connect(guarded.server))
    assert guarded.asked("/register")[0].body["token_endpoint_auth_method"] == methods[1]
    for one in guarded.asked("/token"):
        assert one.body["client_secret"] == "secret-of-it"
        assert "Authorization" not in one.headers


def test_a_secret_that_is_about_to_end_is_replaced_before_it_does(
    person: Person, guarded: Guarded
) -> None:
    guarded.secret_ends = int((timezone.now() + timedelta(minutes=5)).timestamp())
    person.connect(guarded.server)
    ProviderClient.objects.update(created_at=timezone.now() - timedelta(days=30))
    person.connect(guarded.server)
    assert len(guarded.asked("/register")) == 2


def test_what_the_server_makes_of_the_registration_is_heeded(
    person: Person, guarded: Guarded
) -> None:
    given = {"client_id": "public", "token_endpoint_auth_method": "none"}
    guarded.answers["/register"] = (201, given, {})
    person.connect(guarded.server)
    [exchange] = guarded.asked("/token")
    assert exchange.body["client_id"] == "public"
    assert "Authorization" not in exchange.headers


SITE = "https://app.example.org"


def test_the_site_is_known_by_the_address_of_its_metadata(
    configure: Any, guarded: Guarded, ada: User, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    configure(base=SITE, client_name="Our app")
    guarded.metadata["client_id_metadata_document_supported"] = True
    person = Person(ada, "mcp", site=SITE, decide=guarded.allow)
    account = person.connect(guarded.server)
    refresh(account)
    assert account.client_id == f"{SITE}/connections/mcp/client.json"
    assert not guarded.asked("/register")
    for one in guarded.asked("/token"):
        assert one.body["client_id"] == account.client_id
        assert "Authorization" not in one.headers

    answer = Client().get("/connections/mcp/client.json")  # nobody is signed in
    assert answer.status_code == 200
    assert set(answer["Cache-Control"].split(", ")) == {"public", "max-age=3600"}
    assert json.loads(answer.content) == {
        "client_id": account.client_id,
        "client_name": "Our app",
        "client_uri": SITE,
        "application_type": "web",
        "redirect_uris": [f"{SITE}/connections/mcp/callback/"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


def test_the_addresses_for_certificates_are_used_with_one_and_else_not(
    guarded: Guarded, configure: Any, tmp_path: Path
) -> None:
    ours = {"CLIENT_CERTIFICATE": str(Authority(tmp_path).issue("site"))}
    names = ("token_endpoint", "revocation_endpoint", "registration_endpoint")
    apart = {name: f"{guarded.url}/apart/{name}" for name in names}
    guarded.metadata["mtls_endpoint_aliases"] = apart
    for entry in ({}, ours):
        configure(entry=entry)
        found = get_provider("mcp").endpoints({"server": guarded.server})
        used = [getattr(found, name) == apart[name] for name in names]
        assert used == [bool(entry)] * 3
        assert found.authorization_endpoint == f"{guarded.url}/authorize"


def test_a_provider_without_client_metadata_has_no_such_page(db: None) -> None:
    assert Client().get("/connections/badgr/client.json").status_code == 404


def test_credentials_of_settings_go_to_the_issuer_that_they_are_for(
    person: Person, guarded: Guarded, start_guarded: Any, configure: Any
) -> None:
    other = start_guarded()
    pair = {"CLIENT_ID": "by-settings", "CLIENT_SECRET": "secret-of-settings"}
    configure(other.url, client_issuer=guarded.url, entry=pair)
    assert person.connect(guarded.server).client_id == "by-settings"
    person.decide = other.allow
    assert person.connect(other.server).client_id in other.clients
    assert "by-settings" not in str([one.body for one in other.requests])
    assert "secret-of-settings" not in str([one.headers for one in other.requests])


def test_a_person_enters_a_client_where_nothing_else_is_left(
    person: Person, guarded: Guarded, django_user_model: Any
) -> None:
    del guarded.metadata["registration_endpoint"]
    page = person.see_way(server=guarded.server).content.decode()
    assert 'name="client_id"' in page
    assert "does not let this site register itself" in page
    account = person.connect(guarded.server, client_id="mine", client_secret="my-secret")
    refresh(account)
    row = ProviderClient.objects.get()
    assert (row.client_id, row.host, row.owner_key) == ("mine", guarded.url, account.owner_key)
    assert "my-secret" not in str(account.inputs)

    again = person.connect(guarded.server)  # it is not asked for twice
    assert again.client_id == "mine"
    grace = django_user_model.objects.create_user("grace")
    hers = Person(grace, "mcp", decide=guarded.allow).see_way(server=guarded.server)
    assert 'name="client_id"' in hers.content.decode(), "another person's is not hers"


def test_a_client_that_was_entered_wrongly_is_asked_for_again(
    person: Person, guarded: Guarded
) -> None:
    del guarded.metadata["registration_endpoint"]
    guarded.answers["/token"] = (401, {"error": "invalid_client"}, {})
    with pytest.raises(Refused, match="What you entered is not valid there"):
        person.connect(guarded.server, client_id="mine", client_secret="mistyped")
    assert not Event.objects.filter(kind=Kind.CONNECT_FAILED).exists(), "no fault of the site's"
    del guarded.answers["/token"]
    page = person.see_way(server=guarded.server).content.decode()
    assert 'name="client_id"' in page
    account = person.connect(guarded.server, client_id="mine", client_secret="my-secret")
    refresh(account)
    authorization = guarded.asked("/token")[-1].headers["Authorization"]
    assert b64decode(authorization.split()[1]) == b"mine:my-secret"


def test_a_client_id_that_the_server_does_not_know_is_asked_for_again(
    person: Person, guarded: Guarded
) -> None:
    """It keeps the person on a page of its own then: nobody comes back."""
    del guarded.metadata["registration_endpoint"]
    shown = person.see_way(server=guarded.server, client_id="mistyped", client_secret="s")
    sent = {"server": guarded.server, "client_id": "mistyped", "client_secret": "s"}
    sent["issuer"] = guarded.url
    assert person.browser.post(person.connect_page, sent).status_code == 303, shown.content
    page = person.see_way(server=guarded.server).content.decode()
    assert 'name="client_id"' in page
    assert person.connect(guarded.server, client_id="mine", client_secret="s").client_id == "mine"


def test_what_one_issuer_gave_is_never_sent_to_another(
    person: Person, guarded: Guarded, start_guarded: Any, configure: Any
) -> None:
    other = start_guarded()
    configure(other.url)
    account = person.connect(guarded.server)
    guarded.resource["authorization_servers"] = [other.url]
    discovery.clear_cache()
    with pytest.raises(ReauthorizationRequired, match="endpoints_changed"):
        refresh(account)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "endpoints_changed")
    assert not other.asked("/token")


def test_an_account_is_renewed_at_its_issuer_while_the_server_says_nothing(
    person: Person, guarded: Guarded
) -> None:
    account = person.connect(guarded.server)
    place = "/.well-known/oauth-protected-resource/mcp"
    for silence in ((503, b"", {}), (404, b"", {}), (200, b"<html>", {})):
        guarded.answers |= {"/mcp": silence, place: silence}
        discovery.clear_cache()
        refresh(account)
    assert len(guarded.asked("/token")) == 4


def test_an_issuer_in_the_answer_is_compared(person: Person, guarded: Guarded) -> None:
    guarded.metadata["authorization_response_iss_parameter_supported"] = True
    for more in ("", "&iss=https%3A%2F%2Fevil.example"):
        person.decide = lambda url, more=more: guarded.allow(url) + more
        with pytest.raises(Refused, match="came from elsewhere"):
            person.connect(guarded.server)
    assert not guarded.asked("/token")


def test_an_account_keeps_to_its_client_when_a_new_one_takes_its_place(
    person: Person, guarded: Guarded, bob: User
) -> None:
    guarded.secret_ends = int((timezone.now() + timedelta(minutes=5)).timestamp())
    account = person.connect(guarded.server)
    ProviderClient.objects.update(created_at=timezone.now() - timedelta(days=30))
    guarded.secret_ends = 0
    other = Person(bob, "mcp", decide=guarded.allow).connect(guarded.server)
    assert guarded.clients == [account.client_id, other.client_id]

    # Some servers prolong a registration that is in use, and have no way to say so.
    ended = ProviderClient.objects.filter(client_id=account.client_id)
    ended.update(secret_expires_at=timezone.now() - timedelta(days=1))
    refresh(account)
    assert basic_client_of(guarded.asked("/token")[-1]) == account.client_id
    refresh(other)
    assert basic_client_of(guarded.asked("/token")[-1]) == other.client_id

    guarded.answers["/token"] = (401, {"error": "invalid_client"}, {})
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "credentials_rejected"
    assert ended.get().retired_at is not None
    del guarded.answers["/token"]
    refresh(other)
    other.refresh_from_db()
    assert other.status == "active"
    assert person.connect(guarded.server).client_id == other.client_id


def basic_client_of(request: Asked) -> str:
    return b64decode(request.headers["Authorization"].split()[1]).decode().partition(":")[0]


def test_the_only_server_that_is_listed_is_filled_in(
    person: Person, guarded: Guarded, configure: Any
) -> None:
    page = person.browser.get(person.connect_page).content.decode()
    assert f'value="{guarded.url}"' in page
    configure("https://mcp.example")
    page = person.browser.get(person.connect_page).content.decode()
    assert f'value="{guarded.url}"' not in page
