"""A provider that does not answer in time, at all, or to the end; and what may have been sent."""

import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.oauth2 import transport, wire
from tests.oauth2.ways import way

__all__ = ["way"]  # a fixture
TOKEN = "a-refresh-token-to-hide"
PATH = "/path-to-hide?code=a-code-to-hide"
DEADLINE = 0.6
TARDY = 3.0  # seconds, for a machine that is busy with something else


def failure(url: str, **kwargs: Any) -> ProviderUnavailable:
    """The error of a POST to ``url`` that must not succeed."""
    data = {"refresh_token": TOKEN}
    with pytest.raises(ProviderUnavailable) as caught:
        transport.fetch(requests.Request("POST", url, data=data, **kwargs))
    return caught.value


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def drip(server_stops: Callable[[], threading.Event], line: socket.socket, text: bytes) -> None:
    """Send ``text`` and then a byte every 50 ms, for much longer than any deadline here."""
    line.sendall(text)
    ends = time.monotonic() + 4 * TARDY
    while not server_stops().wait(0.05) and time.monotonic() < ends:
        line.sendall(b"x")


# --- Nothing was sent ---------------------------------------------------------------------------


def test_a_refused_connection_sent_nothing() -> None:
    error = failure(f"http://127.0.0.1:{unused_port()}/")
    assert (error.code, error.sent, error.status) == ("unreachable", False, None)


def test_a_name_that_does_not_exist_sent_nothing() -> None:
    error = failure("https://provider.invalid/token")
    assert (error.code, error.sent) == ("unreachable", False)


def test_a_server_that_speaks_no_tls_sent_nothing_of_the_request(serve: Any) -> None:
    server = serve(greeting=b"220 mail.example.org ESMTP\r\n")
    error = failure(f"https://{server.netloc}/")
    assert (error.code, error.sent) == ("tls", False)
    assert server.requests == []


@pytest.mark.parametrize(
    "request_of",
    [
        {"url": "not a url"},
        {"url": "http://"},
        {"url": "http://[::1"},
        {"url": "http://127.0.0.1:99999/"},
        {"url": "ftp://127.0.0.1/"},
        {"headers": {"Authorization": f"Bearer {TOKEN}\r\nX: y"}},
        {"headers": {"Authorization": f" {TOKEN}"}},
        {"headers": {"Authorization": f"Bearer {TOKEN}漢"}},
        {"headers": {"X\n": "y"}},
    ],
    ids=repr,
)
def test_a_request_that_cannot_be_sent_is_not_sent(request_of: Any, serve: Any) -> None:
    server = serve()
    error = failure(**({"url": server.url} | request_of))
    assert error.sent is False
    assert server.requests == []
    assert TOKEN not in f"{error}{error!r}"


def test_a_name_look_up_longer_than_the_deadline_is_followed_by_no_request(
    serve: Any, app_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_settings(HTTP_DEADLINE=0.2, HTTP_TIMEOUT=2)
    server = serve()
    look_up = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        threading.Event().wait(0.6)
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    error = failure(server.url)
    assert (error.code, error.sent) == ("deadline", False)
    assert server.requests == []


# --- It may have been received ------------------------------------------------------------------

CUT: dict[str, bytes] = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "half a body": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"access_token": "ab',
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "no HTTP": b"220 mail.example.org ESMTP\r\n",
    "bad gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("text", CUT.values(), ids=CUT)
def test_an_answer_that_breaks_off_may_follow_an_action(text: bytes, serve: Any) -> None:
    server = serve(lambda request, line: line.sendall(text))
    error = failure(server.url)
    assert (error.sent, error.status) == (True, None)
    assert len(server.requests) == 1, "it is not sent again"


def test_a_body_without_a_length_ends_with_the_connection(serve: Any) -> None:
    text = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"
    server = serve(lambda request, line: line.sendall(text))
    assert transport.fetch(requests.Request("POST", server.url)).body == b"{}"


def test_silence_ends_at_the_time_out_of_one_read(serve: Any, app_settings: Any) -> None:
    app_settings(HTTP_TIMEOUT=0.2, HTTP_DEADLINE=20)

    def silent(request: Any, line: Any) -> None:
        server.stopping.wait(20)

    server = serve(silent)
    began = time.monotonic()
    error = failure(server.url)
    assert (error.code, error.sent) == ("timeout", True)
    assert time.monotonic() - began < TARDY


# --- Deadlines ----------------------------------------------------------------------------------

DRIPS: dict[str, bytes] = {
    "nothing": b"",
    "status line": b"HTTP/1.1 200 O",
    "header": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "body with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "body without a length": b"HTTP/1.1 200 OK\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    "interim answers": b"HTTP/1.1 100 Continue\r\nX: ",
}


@pytest.mark.parametrize("text", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_ends_at_the_deadline(
    text: bytes, serve: Any, app_settings: Any
) -> None:
    app_settings(HTTP_DEADLINE=DEADLINE)
    server = serve(lambda request, line: drip(lambda: server.stopping, line, text))
    began = time.monotonic()
    error = failure(server.url)
    took = time.monotonic() - began
    assert (error.code, error.sent, error.status) == ("deadline", True, None)
    assert DEADLINE <= took < DEADLINE + TARDY


def test_a_drip_on_a_connection_used_before_ends_at_the_deadline(
    serve: Any, app_settings: Any, answering: Any
) -> None:
    def answer(request: Any, line: Any) -> Any:
        if len(server.requests) == 1:
            return answering()
        return drip(lambda: server.stopping, line, b"HTTP/1.1 200 OK\r\nX: ")

    server = serve(answer)
    transport.fetch(requests.Request("POST", server.url))
    app_settings(HTTP_DEADLINE=DEADLINE)
    began = time.monotonic()
    assert failure(server.url).code == "deadline"
    assert time.monotonic() - began < DEADLINE + TARDY
    assert [request.line for request in server.requests] == [1, 1]


def test_a_tls_handshake_that_never_ends_ends_at_the_deadline(app_settings: Any) -> None:
    app_settings(HTTP_DEADLINE=DEADLINE)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        error = failure(f"https://127.0.0.1:{mute.getsockname()[1]}/")
    assert (error.code, error.sent) == ("deadline", False)
    assert time.monotonic() - began < DEADLINE + TARDY


@pytest.mark.parametrize("way", ["a call"], indirect=True)
def test_a_deadline_is_kept_though_its_thread_could_not_be_started_at_first(
    serve: Any, app_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_settings(HTTP_DEADLINE=DEADLINE)
    monkeypatch.setattr(transport, "_watchdog", wire.Watchdog())
    start, failures = threading.Thread.start, iter(range(1))

    def fail_once(thread: threading.Thread) -> None:
        if thread.name == "connected-accounts-deadlines" and next(failures, None) is not None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    server = serve(lambda request, line: drip(lambda: server.stopping, line, b"HTTP/1.1 2"))
    error = failure(server.url)
    assert (error.code, error.sent, server.requests) == ("no_thread", False, [])
    assert (wire.current.call, transport._watchdog._calls) == (None, set())
    began = time.monotonic()
    assert failure(server.url).code == "deadline"
    assert time.monotonic() - began < DEADLINE + TARDY


def test_calls_before_and_after_a_cut_one_are_not_harmed(
    serve: Any, app_settings: Any, answering: Any
) -> None:
    app_settings(HTTP_DEADLINE=DEADLINE)
    dripping = serve(lambda request, line: drip(lambda: dripping.stopping, line, b"HTTP/1.1 2"))
    good = serve(answering(b"good"))
    cut = threading.Thread(target=lambda: failure(dripping.url))
    cut.start()
    while cut.is_alive():
        assert transport.fetch(requests.Request("GET", good.url)).body == b"good"
    cut.join()
    assert transport.fetch(requests.Request("GET", good.url)).body == b"good"


def test_a_call_leaves_no_open_file_behind(serve: Any, app_settings: Any) -> None:
    app_settings(HTTP_DEADLINE=0.2)
    here = Path("/proc/self/fd")
    if not here.exists():
        pytest.skip("optional: /proc")
    server = serve(lambda request, line: line.sendall(b"HTTP/1.1 2"))
    failure(server.url)
    before = len(list(here.iterdir()))
    for _ in range(20):
        failure(server.url)
    assert len(list(here.iterdir())) <= before + 4


# --- What the error says ------------------------------------------------------------------------


def faults(serve: Any) -> dict[str, str]:
    echo = serve(lambda request, line: line.sendall(request.body + b"\r\n\r\n"))
    closed = serve(lambda request, line: None)
    mute = serve(greeting=b"hello\r\n")
    return {
        "refused": f"http://127.0.0.1:{unused_port()}",
        "unknown": "https://provider-to-hide.invalid",
        "closed": closed.url,
        "echo": echo.url,
        "no tls": mute.url.replace("http:", "https:"),
    }


@pytest.mark.parametrize("fault", ["refused", "unknown", "closed", "echo", "no tls"])
def test_the_error_holds_nothing_of_the_request(
    fault: str, way: str, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = failure(faults(serve)[fault] + PATH, headers={"Authorization": f"Basic {TOKEN}"})
    assert error.__cause__ is None
    assert error.__context__ is None
    trace = error.__traceback__
    # From the package's own frames on: this test knows the secret itself.
    while trace is not None and "connected_accounts" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    assert trace is not None or way == "a loop"  # whose errors come from no frame of ours
    report = traceback.TracebackException(type(error), error, trace, capture_locals=True)
    shown = "".join(report.format()) + repr(error) + repr(vars(error))
    assert "to-hide" not in shown.replace(PATH.split("?")[0], "")
    assert TOKEN not in caplog.text


def test_a_mangled_answer_is_not_quoted_in_the_log(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # No empty line before the body, which is then read as a header that is none.
    mangled = b"HTTP/1.1 200 OK\r\naccess_token=" + TOKEN.encode() + b"\r\n\r\n"
    server = serve(lambda request, line: line.sendall(mangled))
    assert transport.fetch(requests.Request("POST", server.url)).body == b""
    assert TOKEN not in caplog.text
