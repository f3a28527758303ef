"""The session for a provider's API: the bearer goes to that provider's origins and nowhere else."""

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import (
    ConfigurationError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.session import ProviderSession, origin_of
from connected_accounts.secret import Secret

pytestmark = pytest.mark.usefixtures("own_connections")
TOKEN, RENEWED = "the-access-token", "the-renewed-token"


@pytest.fixture
def session_for() -> Callable[..., ProviderSession]:
    """A session for a loopback server, whose token is TOKEN until it is renewed."""

    def make(server: Any, *, renew: Any = None, **kwargs: Any) -> ProviderSession:
        base_url = f"{server.url}/api"
        return ProviderSession(
            client_id="client",
            base_url=base_url,
            origins={origin_of(base_url)},
            **{"access_token": lambda: Secret(TOKEN), "renew": renew, **kwargs},
        )

    return make


def bearers(server: Any) -> list[str]:
    return [request.headers.get("authorization", "") for request in server.requests]


# --- Where it goes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("users/self", "/api/users/self"),
        ("/users/self", "/api/users/self"),
        ("", "/api/"),
        ("?page=2", "/api/?page=2"),
        ("users?next=https://evil.example/", "/api/users?next=https://evil.example/"),
        (r"\\evil.example\x", "/api/%5C%5Cevil.example%5Cx"),
        ("{url}/v2/users", "/v2/users"),
        ("///evil.example/x", "/api/evil.example/x"),
        ("HTTP://{netloc}/v2", "/v2"),
        (r"http://{netloc}\@evil.example/", "/%5C@evil.example/"),
        ("http://user:word@{netloc}/v2", "/v2"),
    ],
)
def test_a_url_of_the_provider_is_called_with_the_bearer(
    url: str, target: str, serve: Any, session_for: Any
) -> None:
    server = serve()
    session_for(server).get(url.format(url=server.url, netloc=server.netloc))
    (request,) = server.requests
    assert request.target == target
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


FOREIGN = [
    "http://{other}/",
    "//{other}/",
    "http:{other}",
    "http:/{other}/",
    "http:\\\\{other}/",
    "http://{good}@{other}/",
    "http://{good}:word@{other}/",
    "http://{other}#@{good}/",
    "http://{other}?@{good}/",
    "http://{other}/@{good}/",
    "http://{other}\\@{good}/",
    "ht\ntp://{other}/",
    " http://{other}/",
    "\x00http://{other}/",
    "https://{good}/",
    "http://127.0.0.1/",
    "http://localhost:{port}/",
    "http://127.0.0.1.evil.invalid:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://{good}:{port}/",
    "http://[{good}/",
    "ftp://{good}/",
    "file:///etc/hostname",
    "data:text/plain,x",
    "http:",
    "http://",
]


@pytest.mark.parametrize("way", ["get", "post", "fetch"])
@pytest.mark.parametrize("form", FOREIGN)
def test_another_host_is_refused_before_any_connection(
    form: str, way: str, serve: Any, session_for: Any
) -> None:
    good, other = serve(), serve()
    session = session_for(good)
    url = form.format(good=good.netloc, other=other.netloc, port=good.port)
    with pytest.raises(ConfigurationError) as caught:
        session.fetch("GET", url) if way == "fetch" else getattr(session, way)(url)
    assert "127" not in str(caught.value), "the URL may hold a secret"
    assert other.lines == good.lines == []


def test_a_prepared_request_to_another_host_is_refused_too(serve: Any, session_for: Any) -> None:
    good, other = serve(), serve()
    prepared = requests.Request("GET", f"{other.url}/").prepare()
    with pytest.raises(ConfigurationError):
        session_for(good).send(prepared)
    assert other.lines == []


def test_plain_http_is_refused_where_the_provider_is_on_https(serve: Any) -> None:
    server = serve()
    session = ProviderSession(
        client_id="client",
        base_url=f"https://{server.netloc}/",
        origins={origin_of(f"https://{server.netloc}/")},
        access_token=lambda: Secret(TOKEN),
    )
    with pytest.raises(ConfigurationError):
        session.get(f"http://{server.netloc}/")
    assert server.lines == []


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Api.Example.org/v2", ("https", "api.example.org", 443)),
        ("http://127.0.0.1", ("http", "127.0.0.1", 80)),
        ("https://api.example.org.:8443", ("https", "api.example.org", 8443)),
        ("https://a@b.example:1/", ("https", "b.example", 1)),
        ("//api.example.org", ("", "api.example.org", 0)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: Any) -> None:
    assert origin_of(url) == origin


# --- Redirects ----------------------------------------------------------------------------------


def test_a_redirect_to_another_host_is_refused_and_carries_nothing(
    serve: Any, answering: Any, session_for: Any
) -> None:
    other = serve()
    for status in (301, 302, 303, 307, 308):
        good = serve(answering(b"", status, Location=f"{other.url}/taken"))
        with pytest.raises(ConfigurationError):
            session_for(good).post("/data", data={"secret": "a-secret"})
        assert len(good.requests) == 1
    assert other.lines == []


def test_a_redirect_within_the_provider_is_followed_with_the_bearer(
    serve: Any, answering: Any, session_for: Any
) -> None:
    def answer(request: Any, line: Any) -> bytes:
        moved = request.target == "/api/old"
        return answering(b"", 302, Location="/api/new") if moved else answering()

    server = serve(answer)
    assert session_for(server).get("/old").status_code == 200
    assert bearers(server) == [f"Bearer {TOKEN}"] * 2


def test_fetch_follows_no_redirect(serve: Any, answering: Any, session_for: Any) -> None:
    other = serve()
    server = serve(answering(b"", 302, Location=other.url))
    with pytest.raises(UnexpectedResponse) as caught:
        session_for(server).fetch("GET", "/users")
    assert caught.value.status == 302
    assert other.lines == []


# --- fetch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503])
def test_fetch_tells_an_absent_provider_from_a_refusal(
    status: int, serve: Any, answering: Any, session_for: Any
) -> None:
    server = serve(answering(b"{}", status, Retry_After="7"))
    with pytest.raises((ProviderUnavailable, UnexpectedResponse)) as caught:
        session_for(server).fetch("GET", "/users")
    assert caught.value.status == status
    absent = status == 429 or status >= 500
    assert isinstance(caught.value, ProviderUnavailable) is absent
    assert caught.value.retry_after == (7.0 if absent else None)


def test_fetch_returns_json_and_sends_the_sessions_headers(serve: Any, answering: Any) -> None:
    server = serve(answering('{"a": [1]}'))
    session = ProviderSession(
        client_id="client",
        base_url=server.url,
        origins={origin_of(server.url)},
        access_token=lambda: Secret(TOKEN),
        headers={"X-Api-Key": "key"},
    )
    assert session.fetch("GET", "/users") == {"a": [1]}
    session.get("/users")
    assert bearers(server) == [f"Bearer {TOKEN}"] * 2
    assert [request.headers["x-api-key"] for request in server.requests] == ["key"] * 2
    assert {r.headers["user-agent"] for r in server.requests} == {transport.USER_AGENT}


# --- The environment, and what stays ------------------------------------------------------------


def test_neither_netrc_nor_a_proxy_replaces_the_bearer(
    serve: Any, session_for: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, server = serve(), serve()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password netrc-word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    session_for(server).get("/users", auth=("eve", "word"), headers={"Authorization": "Basic x"})
    assert bearers(server) == [f"Bearer {TOKEN}"]
    assert proxy.lines == []


def test_cookies_are_not_kept(serve: Any, answering: Any, session_for: Any) -> None:
    server = serve(answering(Set_Cookie="session=1; Path=/"))
    session = session_for(server)
    session.get("/users")
    session.get("/users")
    assert list(session.cookies) == []
    assert all("cookie" not in request.headers for request in server.requests)


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_cannot_be_copied_out_of_the_process(
    way: Any, serve: Any, session_for: Any
) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        way(session_for(serve()))


def test_a_call_without_a_time_out_has_the_settings(
    serve: Any, session_for: Any, app_settings: Any
) -> None:
    app_settings(HTTP_TIMEOUT=0.2)

    def silent(request: Any, line: Any) -> None:
        server.stopping.wait(20)

    server = serve(silent)
    with pytest.raises(requests.ReadTimeout):
        session_for(server).get("/users")


def test_connections_are_shared_between_sessions(serve: Any, session_for: Any) -> None:
    server = serve()
    for _ in range(3):
        with session_for(server) as session:
            session.get("/users")
            session.fetch("GET", "/users")
    assert {request.line for request in server.requests} == {1}


def test_no_log_at_any_level_holds_a_token(
    serve: Any, answering: Any, session_for: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("requests_oauthlib.oauth2_session", "oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    server = serve(answering(b"{}", 401))
    session_for(server, renew=lambda failed: Secret(RENEWED)).get("/users")
    assert bearers(server) == [f"Bearer {TOKEN}", f"Bearer {RENEWED}"]
    assert caplog.records
    assert TOKEN not in caplog.text
    assert RENEWED not in caplog.text
