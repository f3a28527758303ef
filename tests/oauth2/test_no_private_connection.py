"""No socket is opened to an address inside that a document, a redirect or a name leads to."""

import socket
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import ConnectedAccountsError, ProviderError
from connected_accounts.oauth2 import discovery, transport
from connected_accounts.oauth2.protected_resource import protected_resource
from connected_accounts.oauth2.session import ProviderSession, origin_of
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret

ISSUER, INSIDE, PUBLIC = "https://login.example", "10.0.0.5", "93.184.216.34"
PRIVATE = [
    INSIDE,
    "169.254.169.254",
    "127.0.0.1",
    "100.64.0.1",
    "::1",
    "fe80::1",
    "::ffff:10.0.0.5",
]


class Dialled:
    """``to``: where sockets were opened, none of which was let through; ``names``: what each name
    leads to, look-up by look-up, the last one for good."""

    def __init__(self) -> None:
        self.to: list[str] = []
        self.names: dict[str, list[list[str]]] = {}

    def look_up(self, host: str, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        answers = self.names.get(host, [[host]])
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                *(socket.SOCK_STREAM, 6, ""),
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in addresses
        ]

    def refuse(self, line: socket.socket, address: Any) -> None:
        self.to.append(address[0])
        raise ConnectionRefusedError


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch, own_connections: None) -> Dialled:
    dialled = Dialled()
    monkeypatch.setattr(socket, "getaddrinfo", dialled.look_up)
    monkeypatch.setattr(socket.socket, "connect", lambda *args: dialled.refuse(*args))
    return dialled


def fetch(url: str, *, public: bool) -> None:
    with pytest.raises(ProviderError):
        transport.fetch(requests.Request("POST", url, data={"a": "a-secret"}), public=public)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_not_dialled(dialled: Dialled, address: str) -> None:
    for answers in ([[address]], [[PUBLIC, address]], [[address, PUBLIC]]):
        dialled.names["evil.example"] = answers
        fetch("https://evil.example/token", public=True)
    assert dialled.to == []


def test_a_name_that_leads_elsewhere_at_its_second_look_up_is_dialled_where_it_was_checked(
    dialled: Dialled,
) -> None:
    dialled.names["evil.example"] = [[PUBLIC], [INSIDE]]
    fetch("https://evil.example/token", public=True)
    assert dialled.to == [PUBLIC]


def test_every_public_address_of_a_name_is_tried(dialled: Dialled) -> None:
    dialled.names["many.example"] = [["2606:2800:21f::1", PUBLIC]]
    fetch("https://many.example/token", public=True)
    assert dialled.to == ["2606:2800:21f::1", PUBLIC]


def test_what_settings_name_may_be_inside(dialled: Dialled) -> None:
    fetch(f"https://{INSIDE}/token", public=False)
    assert dialled.to == [INSIDE]


# What documents name.

ENDS = ("token_endpoint", "revocation_endpoint", "userinfo_endpoint")


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("place", [f"https://{INSIDE}/x", "https://inside.example/x"])
def test_an_issuers_document_leads_nowhere_inside(
    dialled: Dialled, settings: Any, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    dialled.names["inside.example"] = [[INSIDE]]
    told = {end: f"{ISSUER}/{end}" for end in ("authorization_endpoint", *ENDS)} | {name: place}
    monkeypatch.setattr(discovery, "server_metadata", lambda issuer, **more: told)
    entry = {"BACKEND": "connected_accounts.providers.generic.OAuth2"}
    entry |= {"CLIENT_ID": "c", "OPTIONS": {"issuer": ISSUER}}  # type: ignore[dict-item]
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"login": entry}}
    endpoints = get_provider("login").endpoints()
    assert getattr(endpoints, name) == place
    fetch(place, public=endpoints.public_only)
    assert dialled.to == []


def test_a_listed_host_of_badges_is_not_asked_inside(dialled: Dialled, settings: Any) -> None:
    dialled.names["badges.example"] = [[INSIDE]]
    entry = {
        "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
        "OPTIONS": {"hosts": ["badges.example"]},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}
    with pytest.raises(ConnectedAccountsError):
        get_provider("badges").endpoints({"host": "badges.example"})
    assert dialled.to == []


def test_a_server_that_a_person_names_and_its_guard_are_not_asked_inside(dialled: Dialled) -> None:
    dialled.names["mcp.example"] = [[INSIDE]]
    ping = requests.Request("GET", "https://mcp.example/mcp")
    with pytest.raises(ProviderError):
        protected_resource("https://mcp.example/mcp", lambda: ping, public=True)
    with pytest.raises(ProviderError):
        discovery.server_metadata("https://mcp.example", public=True)
    assert dialled.to == []


# What a call of the site's does.


@pytest.fixture
def session() -> ProviderSession:
    return ProviderSession(
        client_id="c",
        base_url="https://api.example",
        origins=[origin_of("https://api.example")],
        access_token=lambda: Secret("a-token"),
        public_only=True,
    )


def test_a_call_that_is_repeated_goes_nowhere_inside(
    dialled: Dialled, session: ProviderSession
) -> None:
    dialled.names["api.example"] = [[PUBLIC], [INSIDE]]
    with pytest.raises(requests.ConnectionError):
        session.get("/a")
    assert dialled.to == [PUBLIC]  # it was refused there, and the second look-up led inside


def test_a_redirect_is_followed_nowhere_inside(
    dialled: Dialled, session: ProviderSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled.names["api.example"] = [[INSIDE]]
    send, answers = requests.Session.get_adapter(session, "https://api.example").send, []

    def first(request: Any, **kwargs: Any) -> Any:
        if answers:
            return send(request, **kwargs)
        answers.append(requests.Response())
        answers[0].status_code, answers[0].request = 302, request
        answers[0].url, answers[0].headers["Location"] = request.url, "/b"
        answers[0].raw = None
        return answers[0]

    monkeypatch.setattr(session.get_adapter("https://api.example"), "send", first)
    with pytest.raises(requests.ConnectionError):
        session.get("/a")
    assert answers
    assert dialled.to == []
