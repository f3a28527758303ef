"""One request to a provider, against real sockets: what is sent, and how much is read."""

import gzip
import tracemalloc
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.transport import Answer
from tests.oauth2.ways import way

__all__ = ["way"]  # a fixture
MEGABYTE = 1024 * 1024


def post(url: str, **kwargs: Any) -> Answer:
    return transport.fetch(requests.Request("POST", url, **kwargs))


# --- What is sent -------------------------------------------------------------------------------


def test_an_answer_is_returned_whatever_its_status(serve: Any, answering: Any) -> None:
    for status in (200, 204, 304, 400, 401, 418, 500, 599, 999):
        body = b"" if status in (204, 304) else b"said"
        server = serve(answering(body, status, X_Said="yes"))
        got = post(server.url)
        assert (got.status, got.body, got.headers["x-said"]) == (status, body, "yes")
    assert "said" not in repr(got)


def test_the_request_names_its_sender_and_asks_for_plain_json(serve: Any) -> None:
    server = serve()
    post(f"{server.url}/token", data={"a": "b c"}, headers={"X-Key": "k"})
    (sent,) = server.requests
    assert (sent.method, sent.target, sent.body) == ("POST", "/token", b"a=b+c")
    assert sent.headers["user-agent"] == transport.USER_AGENT
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["x-key"] == "k"
    assert "authorization" not in sent.headers
    assert "cookie" not in sent.headers


def test_neither_netrc_nor_a_proxy_for_http_nor_a_cookie_changes_the_request(
    serve: Any, answering: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = serve()
    server = serve(answering(Set_Cookie="a=b; Path=/"))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password netrc-word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert post(server.url).status == 200
    assert post(server.url).status == 200
    assert proxy.lines == []
    assert all("authorization" not in request.headers for request in server.requests)
    assert all("cookie" not in request.headers for request in server.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_returned_and_not_followed(status: int, serve: Any, answering: Any) -> None:
    other = serve()
    server = serve(answering(b"", status, Location=f"{other.url}/elsewhere"))
    secret = {"client_secret": "a-secret", "refresh_token": "a-token"}
    assert post(server.url, data=secret).status == status
    assert len(server.requests) == 1
    assert other.lines == []


# --- What comes back too large ------------------------------------------------------------------


def test_a_body_of_50_megabytes_is_cut_at_one(serve: Any) -> None:
    sent = []

    def flood(request: Any, line: Any) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (50 * MEGABYTE))
        for _ in range(50 * 16):
            line.sendall(b"x" * (MEGABYTE // 16))
            sent.append(MEGABYTE // 16)

    server = serve(flood)
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedResponse) as caught:
            post(server.url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.code, caught.value.status, caught.value.sent) == ("too_large", 200, True)
    assert sum(sent) < 25 * MEGABYTE
    assert peak < 8 * MEGABYTE


def test_a_body_without_a_length_is_cut_at_one_megabyte(serve: Any) -> None:
    def flood(request: Any, line: Any) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2000):
            line.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    with pytest.raises(UnexpectedResponse) as caught:
        post(serve(flood).url)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("size", [transport.MAX_BODY, transport.MAX_BODY + 1])
def test_the_limit_is_one_mebibyte_exactly(size: int, serve: Any, answering: Any) -> None:
    server = serve(answering(b"x" * size))
    if size > transport.MAX_BODY:
        with pytest.raises(UnexpectedResponse):
            post(server.url)
    else:
        assert len(post(server.url).body) == size


@pytest.mark.parametrize("layers", [1, 2])
def test_a_decompression_bomb_is_cut_at_one_megabyte(
    layers: int, serve: Any, answering: Any
) -> None:
    squeezed = zlib.compressobj(6, wbits=31)
    bomb = squeezed.compress(bytes(64 * MEGABYTE)) + squeezed.flush()
    bomb = gzip.compress(bomb) if layers == 2 else bomb
    server = serve(answering(bomb, Content_Encoding=", ".join(["gzip"] * layers)))
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedResponse) as caught:
            post(server.url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "too_large"
    assert peak < 8 * MEGABYTE


# --- Retry-After --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0", 1.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("9" * 400, 3600.0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120.0),
        ("Thu, 01 Jan 2026 00:02:00", 120.0),
        ("Thu, 01 Jan 2026 02:02:00 +0200", 120.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 1.0),
        ("Tue, 01 Jan 2036 00:00:00 GMT", 3600.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("²", None),
        ("soon", None),
        ("Thu, 99 Jan 2026 00:02:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_between_a_second_and_an_hour(
    value: str | None, seconds: float | None
) -> None:
    headers = {} if value is None else {"Retry-After": value}
    answer = Answer(429, requests.structures.CaseInsensitiveDict(headers), b"")
    assert answer.retry_after(datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_a_wait_in_x_retry_after_is_read_as_better_auth_says_it() -> None:
    headers = requests.structures.CaseInsensitiveDict({"X-Retry-After": "60"})
    assert Answer(429, headers, b"").retry_after() == 60.0
    headers["Retry-After"] = "5"
    assert Answer(429, headers, b"").retry_after() == 5.0


def test_retry_after_is_counted_from_now(serve: Any, answering: Any) -> None:
    server = serve(answering(b"", 503, Retry_After="Thu, 01 Jan 2099 00:00:00 GMT"))
    assert post(server.url).retry_after() == 3600.0


# --- The environment's proxies ------------------------------------------------------------------


def test_the_environment_is_walked_once_for_a_host_until_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked: list[str] = []
    look_up = transport.get_environ_proxies

    def counted(url: str) -> Any:
        walked.append(url)
        return look_up(url)

    transport._proxies_for.cache_clear()
    monkeypatch.setattr(transport, "get_environ_proxies", counted)
    for name in transport.PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    url = "https://provider.example/token?access_token=to-hide"
    assert [transport.proxies_for(url) for _ in range(3)] == [{}] * 3
    assert walked == ["https://provider.example"]
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert transport.proxies_for(url)["https"] == "http://proxy.example:3128"
    monkeypatch.setenv("no_proxy", "provider.example")
    assert transport.proxies_for(url) == {}
    assert transport.proxies_for("https://other.example/")["https"] == "http://proxy.example:3128"
    transport._proxies_for.cache_clear()
