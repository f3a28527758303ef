"""What a Badge Connect host says of itself: where it is found, how it is read, and what is refused.

Over real sockets: whether a byte leaves the machine is the point.
"""

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2 import discovery, transport
from connected_accounts.oauth2.badge_manifest import description
from connected_accounts.providers.badge_connect import OB2, OB3
from connected_accounts.providers.registry import get_provider
from tests.providers.harness import recorded

OB2_PLACE, OB3_PLACE = "/.well-known/badgeconnect.json", "/ims/ob/v3p0/discovery"
EXAMPLE = "https://badges.example.org"


@pytest.fixture(autouse=True)
def _nothing_kept(nothing_discovered: None) -> None:
    pass


@pytest.fixture
def host(serve: Callable[..., Any], answering: Callable[..., bytes]) -> Any:
    """A host that answers what stands in ``answers`` by path, and 404 for the rest."""
    answers: dict[str, Any] = {}

    def answer(request: Any, line: socket.socket) -> bytes:
        found = answers.get(request.target, answering(status=404))
        return found(request, line) if callable(found) else found

    running = serve(answer)
    running.answers = answers
    return running


@pytest.fixture
def say(host: Any, answering: Callable[..., bytes]) -> Callable[..., None]:
    """Let the host give a recorded document, as its own: ``say("manifest_v2p1", tokenUrl=…)``."""

    def put(name: str, place: str = OB2_PLACE, **changes: Any) -> None:
        told = recorded("badge_connect", name)
        text = json.dumps(told.json).replace(EXAMPLE, host.url).replace(EXAMPLE[8:], host.url)
        document = json.loads(text)
        if "badgeConnectAPI" in document:
            document["badgeConnectAPI"][0] |= changes
        host.answers[place] = answering(json.dumps(document), told.status)

    return put


def told(host: Any, *listed: str, version: str = "") -> Any:
    return description(host.url, version=version, listed=[host.url, *listed], public=False)


def refusal(host: Any, *listed: str) -> str:
    with pytest.raises(UnexpectedResponse) as caught:
        told(host, *listed)
    assert caught.value.sent is False
    return caught.value.code


# How it is read.


def test_open_badges_2_names_everything(host: Any, say: Any) -> None:
    say("manifest_v2p1")
    assert told(host) == {
        "registration_endpoint": f"{host.url}/connect/register",
        "authorization_endpoint": f"{host.url}/connect/authorize",
        "token_endpoint": f"{host.url}/connect/token",
        "revocation_endpoint": f"{host.url}/connect/revoke",
        "api_base_url": f"{host.url}/ims/ob/v2p1",
        "userinfo_endpoint": f"{host.url}/ims/ob/v2p1/profile",
        "scopes": (
            f"{OB2}assertion.readonly",
            f"{OB2}assertion.create",
            f"{OB2}profile.readonly",
            f"{OB2}profile.update",
            "offline_access",
        ),
    }
    assert [request.target for request in host.requests] == [OB2_PLACE]


def test_open_badges_3_names_everything_but_revocation(host: Any, say: Any) -> None:
    say("discovery_v3p0", OB3_PLACE)
    found = told(host)
    assert found["token_endpoint"] == f"{host.url}/connect/token"
    assert found["refresh_endpoint"] == f"{host.url}/connect/renew"
    assert found["userinfo_endpoint"] == f"{host.url}/ims/ob/v3p0/profile"
    assert found["revocation_endpoint"] == ""
    assert f"{OB3}credential.readonly" in found["scopes"]
    assert [request.target for request in host.requests] == [OB2_PLACE, OB3_PLACE]


def test_an_address_without_a_scheme_is_https(settings: Any) -> None:
    found = discovery_of("discovery_v3p0")
    assert found["token_endpoint"] == f"{EXAMPLE}/connect/token"


@pytest.mark.parametrize(
    ("servers", "token", "api"),
    [
        (None, "/token", f"{EXAMPLE}/ims/ob/v3p0"),
        ([], "/token", f"{EXAMPLE}/ims/ob/v3p0"),
        ([{"url": "/"}], "/token", f"{EXAMPLE}/ims/ob/v3p0"),
        ([{"url": f"{EXAMPLE}/api/ob3/"}], "/token", f"{EXAMPLE}/api/ob3"),
        (
            [{"url": "/api/ob3"}, {"url": "https://elsewhere.example"}],
            "/token",
            f"{EXAMPLE}/api/ob3",
        ),
        (
            [{"url": "https://{where}/ob3", "variables": {"where": {"default": EXAMPLE[8:]}}}],
            "/token",
            f"{EXAMPLE}/ob3",
        ),
        ([{"url": f"{EXAMPLE}/x/api"}], "../token", f"{EXAMPLE}/x/api"),
        (["no"], "/token", f"{EXAMPLE}/ims/ob/v3p0"),
    ],
)
def test_relative_addresses_are_joined_to_the_first_server(
    servers: Any, token: str, api: str
) -> None:
    from connected_accounts.oauth2.badge_manifest import READERS

    document = recorded("badge_connect", "discovery_v3p0").json
    flow = document["components"]["securitySchemes"]["OAuth2ACG"]["flows"]["authorizationCode"]
    flow["tokenUrl"] = token
    if servers is not None:
        document["servers"] = servers
    found = READERS["v3p0"](document, EXAMPLE)
    assert found["token_endpoint"] == f"{EXAMPLE}/token"
    assert (found["api_base_url"], found["userinfo_endpoint"]) == (api, f"{api}/profile")


def discovery_of(name: str) -> Any:
    from connected_accounts.oauth2.badge_manifest import READERS

    document = recorded("badge_connect", name).json
    return READERS["v3p0" if "v3p0" in name else "v2p1"](document, EXAMPLE)


def test_of_both_the_older_is_taken_and_of_several_entries_the_one_of_the_version(
    host: Any, say: Any
) -> None:
    say("discovery_v3p0", OB3_PLACE)
    say("manifest_v2p1")
    assert told(host)["api_base_url"].endswith("/v2p1")
    assert told(host, version="v3p0")["api_base_url"].endswith("/v3p0")
    document = recorded("badge_connect", "manifest_v2p1").json
    [entry] = document["badgeConnectAPI"]
    document["badgeConnectAPI"] = [entry | {"version": "v3p9", "tokenUrl": "x"}, "no", entry]
    from connected_accounts.oauth2.badge_manifest import READERS

    assert READERS["v2p1"](document, EXAMPLE)["token_endpoint"] == f"{EXAMPLE}/connect/token"


def test_badgr_moves_it_and_writes_a_slash_twice(
    host: Any, say: Any, answering: Callable[..., bytes]
) -> None:
    moved = recorded("badge_connect", "manifest_badgr_moved")
    host.answers[OB2_PLACE] = answering(status=moved.status, Location=moved.headers["Location"])
    say("manifest_badgr", moved.headers["Location"])
    found = told(host)
    assert found["authorization_endpoint"] == f"{host.url}/auth/oauth2/authorize"
    assert found["api_base_url"] == f"{host.url}/bcv1"
    # It names none. What it says of itself is badgr-server's, and there it is.
    assert found["revocation_endpoint"] == f"{host.url}/o/revoke_token/"


def test_only_badgr_is_taken_to_have_a_revocation_endpoint_that_it_does_not_name() -> None:
    from connected_accounts.oauth2.badge_manifest import READERS

    document = recorded("badge_connect", "manifest_badgr").json
    [entry] = document["badgeConnectAPI"]
    for changed in ({"version": "v2p1"}, {"tokenUrl": f"{EXAMPLE}/connect/token"}):
        document["badgeConnectAPI"] = [entry | changed]
        assert READERS["v2p1"](document, EXAMPLE)["revocation_endpoint"] == ""


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"badgeConnectAPI": []},
        {"badgeConnectAPI": [{}]},
        {"badgeConnectAPI": [{"tokenUrl": 7, "authorizationUrl": None, "apiBase": []}]},
        {"badgeConnectAPI": {"tokenUrl": "x"}},
        "canary",
    ],
)
def test_a_document_that_says_nothing_is_no_manifest(
    host: Any, answering: Callable[..., bytes], document: Any
) -> None:
    host.answers[OB2_PLACE] = answering(json.dumps(document))
    assert refusal(host) == "no_manifest"


# How long it is kept.


def test_it_is_kept_and_so_is_a_refusal(host: Any, say: Any) -> None:
    assert refusal(host) == "no_manifest"
    say("manifest_v2p1")
    assert refusal(host) == "no_manifest"
    assert len(host.requests) == 2
    discovery.clear_cache()
    for _ in range(3):
        told(host)
    assert len(host.requests) == 3


def test_a_host_in_trouble_is_not_asked_for_the_other_version(
    host: Any, say: Any, answering: Callable[..., bytes]
) -> None:
    host.answers[OB2_PLACE] = answering(status=503)
    say("discovery_v3p0", OB3_PLACE)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            told(host)
    assert [request.target for request in host.requests] == [OB2_PLACE]


# What is refused.


def test_a_manifest_of_50_mb_is_not_read_to_its_end(host: Any) -> None:
    sent = []

    def pour(request: Any, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(800):
            line.sendall(b" " * 65536)
            sent.append(65536)

    host.answers[OB2_PLACE] = pour
    assert refusal(host) == "manifest_too_large"
    host.stop()
    assert sum(sent) < 25_000_000


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "http://evil.example/",
    "https://evil.example/.well-known/badgeconnect.json",
    "//evil.example/x",
    "http://[::ffff:169.254.169.254]/",
    "https://listed.example@evil.example/",
    "https://listed.example:8443/",
    "https://listed.example\\@evil.example/",
    "http://listed.example/",
    "http://127.0.0.1:1/",
    "http://localhost/",
    "file:///etc/passwd",
    "https://[",
]


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_elsewhere_is_not_followed(
    host: Any, answering: Callable[..., bytes], elsewhere: str, status: int
) -> None:
    host.answers[OB2_PLACE] = answering(status=status, Location=elsewhere)
    assert refusal(host, "https://listed.example", "http://127.0.0.1:1") == "unlisted_host"
    assert len(host.requests) == 1


def test_a_redirect_without_end_is_given_up(host: Any, answering: Callable[..., bytes]) -> None:
    host.answers[OB2_PLACE] = answering(status=302, Location=OB2_PLACE)
    assert refusal(host) == "manifest_redirect"
    assert len(host.requests) == 4


NAMED = ["registrationUrl", "authorizationUrl", "tokenUrl", "tokenRevocationUrl", "apiBase"]


@pytest.mark.parametrize("field", NAMED)
def test_an_endpoint_on_an_unlisted_host_is_refused(host: Any, say: Any, field: str) -> None:
    say("manifest_v2p1", **{field: "https://evil.example/x"})
    assert refusal(host) == "unlisted_host"
    assert told(host, "https://evil.example")["token_endpoint"]


@pytest.mark.parametrize("elsewhere", [u for u in ELSEWHERE if not u.startswith("//")])
def test_an_endpoint_elsewhere_is_refused(host: Any, say: Any, elsewhere: str) -> None:
    say("manifest_v2p1", tokenUrl=elsewhere)
    assert refusal(host, "https://listed.example", "http://127.0.0.1:1") == "unlisted_host"


def test_a_listed_name_that_leads_to_this_machine_is_sent_nothing(
    serve: Callable[..., Any], settings: Any
) -> None:
    server = serve()
    entry = {
        "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
        "OPTIONS": {"hosts": [f"localhost:{server.port}"]},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}
    with pytest.raises(UnexpectedResponse) as caught:
        get_provider("badges").endpoints({"host": f"localhost:{server.port}"})
    assert caught.value.code == "private_address"
    assert server.requests == []


def test_a_connection_that_is_kept_is_looked_at_again(serve: Callable[..., Any]) -> None:
    server = serve()
    assert transport.fetch(requests.Request("GET", server.url)).status == 200
    with pytest.raises(UnexpectedResponse) as caught:
        transport.fetch(requests.Request("GET", server.url), public=True)
    assert (caught.value.code, caught.value.sent) == ("private_address", False)
    assert len(server.requests) == 1
