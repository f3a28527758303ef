"""A server that a person names may be anybody's: nothing goes where it should not, and each gets
its page."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from connected_accounts.models import AuthorizationRequest, ProviderClient
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.challenge import bearer_challenge
from connected_accounts.oauth2.resource import canonical_url, is_at_or_below
from connected_accounts.providers.registry import get_provider, problems
from tests.mcp.guarded import Guarded
from tests.mcp.person import Person, Refused

pytestmark = pytest.mark.django_db(transaction=True)

PLACE = "/.well-known/oauth-protected-resource/mcp"
OAUTH = "/.well-known/oauth-authorization-server"


def refused(person: Person, guarded: Guarded) -> Refused:
    """The page of a server that cannot be connected, with nothing sent and nothing stored."""
    with pytest.raises(Refused) as caught:
        person.connect(guarded.server)
    sent = [one.path for one in guarded.requests if one.path in ("/register", "/token")]
    assert sent == []
    assert not ProviderClient.objects.exists()
    assert not AuthorizationRequest.objects.exists()
    return caught.value


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/mcp",
        "{url}/other",
        "{url}/mc",
        "{url}/mcp/deeper",
        "{url}.evil.example/mcp",
        "https://mcp.example",
        "",
        5,
        None,
        ["{url}/mcp"],
    ],
)
def test_a_resource_that_is_another_is_refused(
    person: Person, guarded: Guarded, resource: Any
) -> None:
    named = resource.format(url=guarded.url) if isinstance(resource, str) else resource
    guarded.resource["resource"] = named
    page = refused(person, guarded)
    assert page.status == 502
    assert "This server gives another address" in page.text


def test_a_resource_may_be_the_whole_origin_of_the_server(person: Person, guarded: Guarded) -> None:
    guarded.resource["resource"] = guarded.url
    assert person.connect(guarded.server).inputs["resource"] == guarded.url


@pytest.mark.parametrize(
    "issuers",
    [[], None, "https://as.example", {}, [5], ["http://as.example"], ["javascript:alert(1)"], [""]],
)
def test_a_server_without_a_guard_that_could_be_asked_is_refused(
    person: Person, guarded: Guarded, issuers: Any
) -> None:
    guarded.resource["authorization_servers"] = issuers
    assert "does not say where to sign in" in refused(person, guarded).text


@pytest.mark.parametrize("issuer", ["https://evil.example", "{url}/", "{url}#", "", 5, None])
def test_an_issuer_that_says_it_is_another_is_refused(
    person: Person, guarded: Guarded, issuer: Any
) -> None:
    named = issuer.format(url=guarded.url) if isinstance(issuer, str) else issuer
    guarded.metadata["issuer"] = named
    assert "This service cannot be connected" in refused(person, guarded).text


@pytest.mark.parametrize("methods", [None, [], ["plain"], "S256", {"S256": 1}])
def test_a_guard_that_does_not_promise_pkce_is_refused(
    person: Person, guarded: Guarded, methods: Any
) -> None:
    guarded.metadata["code_challenge_methods_supported"] = methods
    assert "sign-in is not safe enough" in refused(person, guarded).text


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("url", [None, 5, "", "javascript:alert(1)", "http://evil.example/x"])
def test_an_endpoint_that_is_none_is_refused(
    person: Person, guarded: Guarded, name: str, url: Any
) -> None:
    guarded.metadata[name] = url
    assert "This service cannot be connected" in refused(person, guarded).text


@pytest.mark.parametrize("place", [PLACE, OAUTH])
@pytest.mark.parametrize(
    "answer",
    [
        (200, b'{"a": "' + b"x" * 2_000_000 + b'"}', {}),
        (200, [1, 2], {}),
        (200, b"<html>", {}),
        (200, b"[" * 50_000, {}),
        (302, b"", {"Location": "https://evil.example/"}),
        (404, b"", {}),
    ],
    ids=["2 MB", "a list", "a page", "deep", "a redirect", "nothing"],
)
def test_a_document_that_is_none_has_its_page(
    person: Person, guarded: Guarded, place: str, answer: Any
) -> None:
    guarded.answers[place] = answer
    page = refused(person, guarded)
    assert page.status == 502
    assert "cannot be connected" in page.text or "does not say where to get permission" in page.text


@pytest.mark.parametrize(("status", "text"), [(200, "asks for no permission"), (503, "not answer")])
def test_a_server_that_refuses_nobody_or_is_away_has_its_page(
    person: Person, guarded: Guarded, status: int, text: str
) -> None:
    guarded.answers |= {"/mcp": (status, {}, {}), PLACE: (404, b"", {})}
    assert text in refused(person, guarded).text


def test_a_name_and_scopes_of_a_server_are_shown_as_text_and_kept_short(
    person: Person, guarded: Guarded
) -> None:
    guarded.scope = "<b>x</b> " + " ".join(f"s{n}" for n in range(500))
    guarded.resource["resource_name"] = "<script>" + "y" * 5000
    page = person.see_way(server=guarded.server).content.decode()
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert page.count("<code>") == 100
    assert "<script>yy" not in page


def test_the_challenge_may_not_lead_to_plain_http_or_no_address(
    person: Person, guarded: Guarded
) -> None:
    for named in ("http://evil.example/x", "file:///etc/passwd", "//evil.example", "x"):
        challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{named}"'}
        guarded.answers["/mcp"] = (401, {}, challenge)
        assert "does not say where to get permission" in refused(person, guarded).text


# --- Private addresses ---------------------------------------------------------------------------


@pytest.fixture
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A port on all loopback addresses, and whatever was sent to it."""
    received: list[bytes] = []
    listeners = [socket.create_server(("127.0.0.1", 0))]
    port = listeners[0].getsockname()[1]

    def hear(listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
                line.settimeout(1)
                received.append(line.recv(100))
                line.close()
            except OSError:
                return

    threading.Thread(target=hear, args=listeners, daemon=True).start()
    yield port, received
    listeners[0].close()


NUMBERS = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0"]
FORMS = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "mcp.example", *NUMBERS]


@pytest.mark.parametrize("host", FORMS)
def test_nothing_is_sent_to_a_private_address_in_any_form(
    person: Person, settings: Any, listening: Any, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the system makes of these forms, and of a name whose owner lets it lead here.
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *rest, **more: look_up("127.0.0.1", *rest, **more)
    )
    entry = {"BACKEND": "connected_accounts.providers.mcp.MCP"}
    site = {"REDIRECT_BASE_URL": "http://testserver"}
    settings.CONNECTED_ACCOUNTS = site | {"PROVIDERS": {"mcp": entry}}
    port, received = listening
    with pytest.raises(Refused) as caught:
        person.connect(f"https://{host}:{port}/mcp")
    assert caught.value.status == 502
    assert [sent for sent in received if sent] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.example/mcp",
        "http://127.0.0.1:8000/mcp",
        "https://user:pass@mcp.example/",
        "https://mcp.example/#x",
        "ftp://mcp.example",
        "mcp.example",
        "https://",
        "https://mcp.еxample/mcp",  # the first letter of the name is Cyrillic
        "https://mcp.example/" + "x" * 300,
        "https://mcp.example:99999/",
    ],
)
def test_an_address_that_is_none_is_asked_for_again(
    person: Person, settings: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {"mcp": {"BACKEND": "connected_accounts.providers.mcp.MCP"}}
    }
    monkeypatch.setattr(transport, "fetch", None)  # nobody is called
    page = person.browser.post(person.connect_page, {"server": url})
    assert page.status_code == 200
    assert 'role="alert"' in page.content.decode()


def test_a_server_that_is_not_listed_is_asked_for_again(
    person: Person, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "fetch", None)
    page = person.browser.post(person.connect_page, {"server": "https://mcp.example/mcp"})
    assert "This site does not connect to that server." in page.content.decode()


def test_every_call_for_a_server_that_settings_do_not_name_is_to_public_addresses(
    person: Person, guarded: Guarded, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CONNECTED_ACCOUNTS = {
        "REDIRECT_BASE_URL": "http://testserver",
        "PROVIDERS": {"mcp": {"BACKEND": "connected_accounts.providers.mcp.MCP"}},
    }
    seen: list[bool] = []
    public = guarded.url.replace("http://", "https://")
    guarded.begin(public)

    def fetch(request: Any, *, public: bool = False, **options: Any) -> transport.Answer:
        import json

        from tests.mcp.guarded import Asked

        seen.append(public)
        path = request.url.removeprefix(guarded.url)
        body = request.json or dict(request.data or {})
        status, content, headers = guarded.answer(Asked("", path, dict(request.headers), body))
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return transport.Answer(status, headers, raw)

    monkeypatch.setattr(transport, "fetch", fetch)
    person.connect(guarded.server)
    assert len(seen) > 6
    assert all(seen)


# --- The pieces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer scope="a b", resource_metadata="https://x/y"', "a b|https://x/y"),
        ("Bearer resource_metadata=https://x/y, scope=a", "a|https://x/y"),
        ('Basic realm="Bearer scope=no", Bearer scope="a"', "a|None"),
        ('Bearer error="invalid_token", scope="a\\"b"', 'a"b|None'),
        ('DPoP algs="ES256", bearer SCOPE="a"', "a|None"),
        ('Basic scope="no"', "None|None"),
        ('Bearer scope="one", Bearer scope="two"', "one|None"),
        ("Bearer", "None|None"),
        ("", "None|None"),
        ('Bearer scope="unfinished', '"unfinished|None'),
    ],
)
def test_a_challenge_is_read_in_every_form(header: str, found: str) -> None:
    said = bearer_challenge({"WWW-Authenticate": header})
    shown = f"{said.get('scope')}|{said.get('resource_metadata')}"
    assert shown == found or header.endswith("unfinished")


def test_an_address_has_one_canonical_form() -> None:
    assert canonical_url("HTTPS://MCP.Example:443/") == "https://mcp.example"
    assert canonical_url("https://mcp.example/mcp/") == "https://mcp.example/mcp/"
    assert canonical_url("https://[::1]:8000/a?b=c#d") == "https://[::1]:8000/a?b=c"
    assert is_at_or_below("https://mcp.example/mcp/", "https://mcp.example/mcp")
    assert not is_at_or_below("https://mcp.example/mcpx", "https://mcp.example/mcp")


@pytest.mark.parametrize(
    ("entry", "id_"),
    [
        ({"OPTIONS": {"servers": ["http://mcp.example"]}}, "E027"),
        ({"CLIENT_ID": "x"}, "E027"),
        ({"EXCLUSIVE": True}, "E027"),
        ({"OPTIONS": {"scopes": "all"}}, "E027"),
        ({"OPTIONS": {"grant_type": "personal_token"}}, "E027"),
        ({"OPTIONS": {"logo_uri": "http://mcp.example/logo"}}, "E027"),
        ({}, "W022"),
    ],
)
def test_a_fault_of_settings_is_told(settings: Any, entry: dict[str, Any], id_: str) -> None:
    backend = {"BACKEND": "connected_accounts.providers.mcp.MCP"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mcp": backend | entry}}
    assert id_ in [problem.id for problem in problems()]


def test_an_entry_without_options_is_in_order(settings: Any) -> None:
    backend = {"BACKEND": "connected_accounts.providers.mcp.MCP"}
    site = {"REDIRECT_BASE_URL": "https://app.example.org"}
    settings.CONNECTED_ACCOUNTS = site | {"PROVIDERS": {"mcp": backend}}
    assert list(problems()) == []
    assert get_provider("mcp").name == "MCP"
