"""Many requests in one thread: how many at once, whose time is up, and what is left behind."""

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.certificate import make
from connected_accounts.exceptions import ProviderError, ProviderUnavailable
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.event_loop import loop as event_loop
from connected_accounts.oauth2.event_loop.exchange import Exchange
from connected_accounts.oauth2.event_loop.loop import EventLoop
from connected_accounts.oauth2.transport import Answer
from tests.oauth2.ways import fetch_by

pytestmark = pytest.mark.usefixtures("own_connections")
DEADLINE = 0.6
TARDY = 3.0  # seconds, for a machine that is busy with something else


@pytest.fixture
def running() -> Iterator[Callable[[int], EventLoop]]:
    """Loops with so many requests at once."""
    with ExitStack() as stack:

        def start(width: int = 4) -> EventLoop:
            return stack.enter_context(EventLoop(width))

        yield start


def exchange(url: str, *, within: float = 60, public: bool = False) -> Exchange:
    request = requests.Request("POST", url, data={"a": "b"})
    return Exchange.of(request, public=public, begin_before=time.monotonic() + within)


def submit(loop: EventLoop, url: str, **options: Any) -> "Future[Exchange]":
    future: Future[Exchange] = Future()
    loop.submit(future, exchange(url, **options))
    loop.wake()
    return future


def code(future: "Future[Exchange]") -> tuple[str, bool]:
    error = future.result(30).outcome
    assert isinstance(error, ProviderError)
    return error.code, error.sent


def body(future: "Future[Exchange]") -> bytes:
    answer = future.result(30).outcome
    assert isinstance(answer, Answer)
    return answer.body


def test_no_more_are_under_way_than_its_width(serve: Any, answering: Any, running: Any) -> None:
    now, most, lock = [0], [0], threading.Lock()

    def answer(request: Any, line: Any) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return answering(b"x")  # type: ignore[no-any-return]

    loop, server = running(3), serve(answer)
    assert {body(one) for one in [submit(loop, server.url) for _ in range(12)]} == {b"x"}
    assert most == [3]
    assert len(server.lines) <= 3


def test_one_that_waits_can_be_taken_back_and_is_never_sent(
    serve: Any, answering: Any, running: Any
) -> None:
    goes = threading.Event()

    def answer(request: Any, line: Any) -> bytes:
        goes.wait(20)
        return answering()  # type: ignore[no-any-return]

    loop, server = running(1), serve(answer)
    first = submit(loop, f"{server.url}/first")
    second, third = submit(loop, f"{server.url}/second"), submit(loop, f"{server.url}/third")
    assert second.cancel()
    goes.set()
    wait([first, third], 20)
    assert [request.target for request in server.requests] == ["/first", "/third"]


def test_one_whose_turn_comes_too_late_is_not_begun(serve: Any, running: Any) -> None:
    server = serve()
    came = submit(running(1), server.url, within=-1).result(20)
    assert (came.begun_at, came.outcome) == (None, None)
    assert server.lines == []


def test_the_time_out_of_a_read_counts_from_the_request_and_not_from_the_look_up(
    serve: Any, answering: Any, running: Any, app_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_settings(HTTP_TIMEOUT=0.5, HTTP_DEADLINE=20)
    look_up = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(1)
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    server = serve(answering(b"x"))
    assert body(submit(running(), server.url)) == b"x"


def test_a_name_that_takes_long_to_look_up_holds_up_nobody_else(
    serve: Any, answering: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, goes = socket.getaddrinfo, threading.Event()

    def slow(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if port == held.port:
            goes.wait(20)
        return look_up(host, port, *args, **kwargs)

    loop, held, free = running(4), serve(answering(b"late")), serve(answering(b"x"))
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    late = submit(loop, held.url)
    for _ in range(5):
        assert body(submit(loop, free.url)) == b"x"
    assert not late.done()
    goes.set()
    assert body(late) == b"late"


def test_one_that_drips_is_cut_and_the_others_are_answered(
    serve: Any, answering: Any, running: Any, app_settings: Any
) -> None:
    app_settings(HTTP_DEADLINE=DEADLINE)

    def drip(request: Any, line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 O")
        while not dripping.stopping.wait(0.02):
            line.sendall(b"x")

    loop, dripping, good = running(8), serve(drip), serve(answering(b"good"))
    began = time.monotonic()
    cut = [submit(loop, dripping.url) for _ in range(4)]
    while not all(one.done() for one in cut):
        assert body(submit(loop, good.url)) == b"good"
    assert {code(one) for one in cut} == {("deadline", True)}
    assert time.monotonic() - began < DEADLINE + TARDY


def test_an_answer_that_comes_before_the_request_is_whole_is_taken(
    running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        large = requests.Request("POST", url, data=b"x" * 20_000_000)
        began = time.monotonic()
        future: Future[Exchange] = Future()
        loop = running(1)
        loop.submit(future, Exchange.of(large, public=False, begin_before=began + 60))
        loop.wake()
        line, _ = listener.accept()
        with line:
            line.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            answer = future.result(20).outcome
    assert isinstance(answer, Answer)
    assert answer.status == 413


def test_a_fault_of_the_threads_leaves_no_future_open(serve: Any) -> None:
    with EventLoop(1) as loop:
        loop._threads.shutdown()
        assert code(submit(loop, serve().url)) == ("no_thread", False)


def test_a_fault_of_the_loop_leaves_no_future_open(
    serve: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    goes = threading.Event()
    server = serve(lambda request, line: goes.wait(20) and None)
    loop = running(1)
    first, second = submit(loop, server.url), submit(loop, server.url)
    while not server.requests:
        time.sleep(0.01)
    monkeypatch.setattr(loop, "_look", None)
    assert code(first) == ("connection_lost", True)
    assert code(second) == ("no_thread", False)
    assert code(submit(loop, server.url)) == ("no_thread", False)
    goes.set()
    loop._thread.join(20)
    assert len(seen) == 1


def answer_together(count: int, answering: Any) -> Callable[[Any, Any], bytes]:
    """Answers so many requests at once, each on a line of its own."""
    together = threading.Barrier(count)

    def answer(request: Any, line: Any) -> bytes:
        with suppress(threading.BrokenBarrierError):
            together.wait(10)
        return answering()  # type: ignore[no-any-return]

    return answer


def test_no_more_lines_are_open_than_it_says(
    serve: Any, answering: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_loop, "MAX_KEPT", 3)
    loop = running(2)
    for _ in range(2):
        server = serve(answer_together(2, answering))
        wait([submit(loop, server.url) for _ in range(2)], 20)
    assert len(loop._kept) == 3


def test_a_wide_loop_opens_no_line_anew_for_the_next_requests(
    serve: Any, answering: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_loop, "MAX_KEPT", 2)
    loop, server = running(6), serve(answer_together(6, answering))
    for _ in range(3):
        wait([submit(loop, server.url) for _ in range(6)], 20)
    assert {request.line for request in server.requests} == {*range(1, 7)}


def test_a_line_that_was_free_to_go_anywhere_is_not_taken_where_only_public_ones_are(
    serve: Any, answering: Any, running: Any
) -> None:
    loop, server = running(), serve(answering(b"x"))
    assert body(submit(loop, server.url)) == b"x"
    assert code(submit(loop, server.url, public=True)) == ("private_address", False)
    assert len(server.requests) == 1


def test_what_is_said_on_a_line_unasked_is_nobodys_answer(
    serve: Any, answering: Any, running: Any
) -> None:
    """A second answer behind the first one would be that of the next request."""
    loop = running(1)
    server = serve(lambda request, line: answering(b"mine") + answering(b"not mine"))
    for _ in range(3):
        assert body(submit(loop, server.url)) == b"mine"
    assert [request.line for request in server.requests] == [1, 2, 3]


def test_no_file_is_left_open_behind_it(serve: Any, app_settings: Any) -> None:
    here = Path("/proc/self/fd")
    if not here.exists():
        pytest.skip("optional: /proc")
    app_settings(HTTP_TIMEOUT=0.1)
    server = serve(lambda request, line: line.sendall(b"HTTP/1.1 2"))
    before = len(list(here.iterdir()))
    for _ in range(3):
        with EventLoop(4) as loop:
            wait([submit(loop, server.url) for _ in range(8)], 20)
    assert len(list(here.iterdir())) <= before + 16, "the server's own ends"


@pytest.mark.parametrize("data", ["a header\r\n", "漢"])
def test_a_request_that_cannot_be_encoded_says_nothing_of_itself(data: str, serve: Any) -> None:
    request = requests.Request("POST", serve().url, headers={"X": data})
    with pytest.raises(ProviderUnavailable) as caught:
        Exchange.of(request, public=False, begin_before=0.0)
    assert (caught.value.code, caught.value.sent) == ("bad_request", False)
    assert caught.value.__context__ is None


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], str]]:
    """Servers over TLS whose certificate is trusted; each answers ten requests on a line with the
    same bytes, in records of 100."""
    made = str(make(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    listeners: list[socket.socket] = []

    def serve(text: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with context.wrap_socket(line, server_side=True) as secured:
                        while secured.recv(65536):
                            for begin in range(0, len(text), 100):
                                secured.sendall(text[begin : begin + 100])

        threading.Thread(target=answer, daemon=True).start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}/"

    yield serve
    for listener in listeners:
        listener.close()


def test_answers_in_many_records_are_read_over_tls(
    secure: Any, answering: Any, running: Any
) -> None:
    loop, large = running(1), b"x" * 40_000
    url = secure(answering(large))
    for _ in range(3):
        assert fetch_by(loop, requests.Request("POST", url, data={"a": "b"})).body == large


def test_a_certificate_of_somebody_else_is_refused_before_anything_is_sent(
    secure: Any, answering: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = secure(answering())
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert code(submit(running(1), url)) == ("tls", False)


# --- Greenlets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "possible"),
    [
        ("", True),
        ("import gevent", True),
        ("from gevent import monkey; monkey.patch_all()", False),
        ("from gevent import monkey; monkey.patch_socket()", False),
        ("import eventlet; eventlet.monkey_patch()", False),
    ],
)
def test_it_is_not_used_where_threads_are_greenlets(patch: str, possible: bool) -> None:
    for package in ("gevent", "eventlet"):
        if package in patch:
            pytest.importorskip(package)
    program = f"{patch}\nfrom connected_accounts.oauth2.event_loop.loop import is_possible as p"
    command = [sys.executable, "-W", "ignore", "-c", f"{program}\nprint(p())"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(possible)


def test_an_adapter_that_takes_the_networks_place_is_not_passed_by() -> None:
    own = transport.install_adapter(requests.adapters.HTTPAdapter())
    try:
        assert not transport.is_direct("https://provider.example/token", None)
    finally:
        transport.install_adapter(own)
    assert transport.is_direct("https://provider.example/token", None)
    assert not transport.is_direct("https://provider.example/token", ("a.pem", "b.pem"))
