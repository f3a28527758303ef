"""A host that a person names, or has a part in: only labels, and only public addresses."""

import socket
from typing import Any

import pytest
import requests

from connected_accounts.conf import is_dns_label
from connected_accounts.exceptions import ConfigurationError, ProviderError
from connected_accounts.oauth2 import transport, wire
from connected_accounts.providers.endpoints import fill

TEMPLATE = "https://{account}.provider.example/oauth/token"
NO_LABELS = [
    *("", ".", "a.b", "evil.example", "evil.example/", "evil.example#", "evil.example?", "x@good"),
    *("127.1", "0x7f.1", "[::1]", "a:b", "a/b", "a\\b", "a b", "a\n", "a\x00", "-a", "a-", "a_b"),
    *(
        "é",
        "xn--\u0430",
        "。",
        "a%2eb",
        "a" * 64,
        "{account}",
        "{other}",
        "..",
        "a.",
        "169.254.169.254",
    ),
]


@pytest.mark.parametrize("text", NO_LABELS, ids=ascii)
def test_nothing_but_a_label_gets_into_an_address(text: str) -> None:
    assert not is_dns_label(text)
    with pytest.raises(ConfigurationError) as caught:
        fill(TEMPLATE, {"account": text})
    assert caught.value.code == "inputs"
    assert len(text) < 3 or text not in caught.value.message


def test_a_label_fills_its_place_and_no_place_stays_empty() -> None:
    assert fill(TEMPLATE, {"account": "My-Site"}) == "https://my-site.provider.example/oauth/token"
    with pytest.raises(ConfigurationError):
        fill(TEMPLATE, {"other": "my-site"})


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1"]
)
@pytest.mark.usefixtures("own_connections")
def test_a_name_that_leads_to_a_private_address_is_sent_nothing(
    serve: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Looked at is where the connection was made to, whatever the name was found to lead to."""
    server = serve()
    looked_up: list[str] = []

    def create(where: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        looked_up.append(where[0])
        return Elsewhere(socket.create_connection(("127.0.0.1", server.port)), address)

    monkeypatch.setattr("urllib3.util.connection.create_connection", create)
    monkeypatch.setattr(wire, "public_addresses", lambda name, port: ["93.184.216.34"])
    request = requests.Request("POST", "https://rebound.example/token", data={"a": "a-secret"})
    with pytest.raises(ProviderError) as caught:
        transport.fetch(request, public=True)
    assert caught.value.sent is False
    assert looked_up == ["93.184.216.34"]
    assert server.requests == []


class Elsewhere:
    """A connection that says it leads to another address."""

    def __init__(self, line: socket.socket, address: str) -> None:
        self._line, self._address = line, address

    def getpeername(self) -> tuple[str, int]:
        return (self._address, 443)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


@pytest.mark.usefixtures("own_connections")
def test_a_literal_of_this_machine_is_for_settings_only(serve: Any) -> None:
    server = serve()
    request = requests.Request("GET", f"{server.url}/x")
    with pytest.raises(ProviderError):
        transport.fetch(request, public=True)
    assert server.requests == []
    assert transport.fetch(request).status == 200
    # Nor over a connection that is open already.
    with pytest.raises(ProviderError) as caught:
        transport.fetch(request, public=True)
    assert caught.value.sent is False
    assert len(server.requests) == 1
