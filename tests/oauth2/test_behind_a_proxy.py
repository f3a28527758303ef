"""Behind a proxy of the environment a request is watched as any other is."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.certificate import make
from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.oauth2 import transport

pytestmark = pytest.mark.usefixtures("own_connections")


def served(answer: Callable[[socket.socket], None], while_open: ExitStack) -> int:
    """The port of a server that answers each connection so, in a thread."""
    listener = while_open.enter_context(socket.create_server(("127.0.0.1", 0)))

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                threading.Thread(target=answer, args=(line,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def passed_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def tunnel(line: socket.socket) -> None:
    """Asked by CONNECT, lead to the address that is named."""
    head = line.recv(65536).decode()
    host, _, port = head.split()[1].partition(":")
    with line, socket.create_connection((host, int(port))) as onward:
        line.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=passed_on, args=(line, onward), daemon=True).start()
        passed_on(onward, line)


@pytest.fixture
def provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[Any], None]], str]]:
    """A server over TLS behind a proxy, which answers what it has read of a request."""
    made = str(make(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", made)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    while_open = ExitStack()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{served(tunnel, while_open)}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)

    def serve(answer: Callable[[Any], None]) -> str:
        def secured(line: socket.socket) -> None:
            with suppress(OSError), context.wrap_socket(line, server_side=True) as shielded:
                while shielded.recv(65536):
                    answer(shielded)

        return f"https://127.0.0.1:{served(secured, while_open)}/token"

    with while_open:
        yield serve


def refused(url: str) -> ProviderUnavailable:
    with pytest.raises(ProviderUnavailable) as caught:
        transport.fetch(requests.Request("POST", url, data={"refresh_token": "once"}))
    return caught.value


def test_an_answer_comes_through_a_tunnel(provider: Any, answering: Any) -> None:
    url = provider(lambda line: line.sendall(answering(b"said")))
    for _ in range(2):
        assert transport.fetch(requests.Request("POST", url, data={"a": "b"})).body == b"said"


def test_an_answer_that_is_lost_in_a_tunnel_may_have_spent_the_token(provider: Any) -> None:
    lost = refused(provider(lambda line: line.close()))
    assert (lost.code, lost.sent) == ("connection_lost", True)


def test_an_answer_that_drips_through_a_tunnel_ends_at_the_deadline(
    provider: Any, app_settings: Any
) -> None:
    app_settings(HTTP_DEADLINE=0.6)
    cut = threading.Event()

    def drip(line: Any) -> None:
        while not cut.wait(0.05):
            line.sendall(b"H")

    late = refused(provider(drip))
    cut.set()
    assert (late.code, late.sent) == ("deadline", True)


def test_a_tunnel_that_is_refused_spends_no_token(
    provider: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert not refused("https://provider.invalid/token").sent
    assert [request.method for request in proxy.requests] == ["CONNECT"]


def test_a_request_by_socks_counts_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections do not tell. Without the package for it nothing was."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")

    def lose(*args: Any, **options: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(transport.PooledAdapter, "open", lose)
    assert refused("https://provider.invalid/token").sent
    monkeypatch.undo()
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    assert not refused("https://provider.invalid/token").sent
