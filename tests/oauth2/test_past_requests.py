"""A call goes past requests' layers, and is the same call."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.oauth2 import connections, transport
from connected_accounts.oauth2.connections import PooledAdapter
from tests.oauth2.ways import way

__all__ = ["way"]  # a fixture

CALLS: dict[str, dict[str, Any]] = {
    "a form": {"data": {"a": "b c", "täg": "ü+&=%~*", "empty": ""}},
    "a form with a list": {"data": {"a": ["b", "c"], "none": None}},
    "a text": {"data": "a=b"},
    "bytes": {"data": b"\x00\xff"},
    "JSON": {"json": {"ä": [1, None, "ü"]}},
    "empty JSON": {"json": {}},
    "nothing": {},
    "parameters": {"params": {"access_token": "a b"}},
    "a GET": {"method": "GET"},
    "a type of its own": {"data": {"a": "b"}, "headers": {"Content-Type": "text/plain"}},
    "a query": {"path": "/a;b/c?d=e%20f&g=[h]|{}"},
    "a path": {"path": "/a/../b/%7Ec/%c3%a4/'\"<>^`"},
    "no path": {"path": ""},
    "a query alone": {"path": "?a=b"},
    "a pair": {"auth": ("user", "word")},
}


class WithRequests(PooledAdapter):
    """Another adapter than the app's own is used as requests uses it."""


@pytest.fixture
def with_requests() -> Iterator[Any]:
    def send(request: requests.Request) -> None:
        own = transport.install_adapter(WithRequests())
        transport.fetch(request)
        transport.install_adapter(own)

    return send


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_sent_is_what_requests_sends(
    call: dict[str, Any], serve: Any, with_requests: Any
) -> None:
    server = serve()
    call = dict(call)
    url = server.url + call.pop("path", "/token")
    method = call.pop("method", "POST")
    transport.fetch(requests.Request(method, url, **call))
    with_requests(requests.Request(method, url, **call))
    straight, through = server.requests
    assert straight.headers == through.headers
    assert (straight.method, straight.target, straight.body) == (
        through.method,
        through.target,
        through.body,
    )


def test_requests_own_way_of_sending_takes_no_part(
    serve: Any, answering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answering(b"said"))
    request = requests.Request("POST", server.url, data={"a": "b"})
    transport.fetch(request)  # asks requests for the connections of a host, once
    monkeypatch.setattr(HTTPAdapter, "send", None)
    monkeypatch.setattr(HTTPAdapter, "get_connection_with_tls_context", None)
    monkeypatch.setattr(requests.Request, "prepare", None)
    assert transport.fetch(request).body == b"said"


def test_no_more_hosts_are_remembered_than_have_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "POOL_SIZE", 3)
    own = PooledAdapter()
    for number in range(10):
        own._pool(f"https://provider-{number}.example", True, {})
    assert len(own._pools) <= 3


def test_a_proxy_of_the_environment_is_asked_for_a_tunnel(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda request, line: b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:word@"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ProviderUnavailable):
        transport.fetch(requests.Request("POST", "https://provider.invalid/token", data={"a": "b"}))
    (asked,) = proxy.requests
    assert (asked.method, asked.target) == ("CONNECT", "provider.invalid:443")
    assert asked.headers["proxy-authorization"].startswith("Basic ")
    assert asked.body == b""
