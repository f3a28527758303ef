"""Sockets with a hard deadline: connections that tell when their bytes leave, and a watchdog that
cuts them when their time is up.

requests' and urllib3's time-outs are per read: a server that drips a byte a second, headers
included, would hold a worker for ever.
"""

import ipaddress
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HeaderParsingError, NewConnectionError

from connected_accounts.exceptions import ProviderUnavailable

NO_THREAD: Final = "no_thread"  # none can be started, which is no provider's fault

MAX_IDLE: Final = 5.0  # seconds: beyond, servers close idle connections while we write to them

MAX_INTERIM: Final = 7  # answers before the final one, in a row, that are no 100

current = threading.local()


class PrivateAddress(OSError):
    """The name of a host leads into a private network, and nothing may be sent there."""


@contextmanager
def public_only(wanted: bool) -> Iterator[None]:
    """Refuse, in this thread, connections to any but public addresses, if ``wanted``.

    The name is looked up once, and the connection made to an address that was checked, so that a
    second DNS answer gains nothing. A connection that is open already is checked by its peer.
    """
    before = getattr(current, "public_only", False)
    current.public_only = wanted
    try:
        yield
    finally:
        current.public_only = before


def _check_peer(sock: socket.socket) -> None:
    if not _is_public(sock.getpeername()[0]):
        sock.close()
        raise PrivateAddress("This address is not a public one.")


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_global


def public_addresses(host: str, port: int) -> list[str]:
    """The addresses that a name leads to now, in the system's order; none where it leads nowhere.
    Raises PrivateAddress where any of them is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    addresses = [*dict.fromkeys(str(entry[4][0]) for entry in found)]
    if not all(map(_is_public, addresses)):
        raise PrivateAddress("This address is not a public one.")
    return addresses


class FinalResponse(HTTPResponse):
    """An answer behind its interim ones (RFC 9110 15.2). ``http.client`` passes over 100 alone and
    takes any other for the final one: that would be read as the answer to the next request on the
    connection, which may be another person's. Raises HTTPException for more than MAX_INTERIM."""

    def begin(self) -> None:
        super().begin()
        for _ in range(MAX_INTERIM):
            if not self._is_interim():
                return
            self.headers = None  # type: ignore[assignment]  # or it begins no more
            super().begin()
        if self._is_interim():
            raise HTTPException("Too many interim answers.")

    def _is_interim(self) -> bool:
        if self.status == HTTPStatus.SWITCHING_PROTOCOLS:  # to what, nobody here knows
            self.will_close = True
            return False
        return self.status < 200


class Call:
    """One request under way in this thread, and the sockets it uses."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.sent = False
        self.expired = False
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()

    def hold(self, sock: Any) -> None:
        # A duplicate: wrapping in TLS and "Connection: close" both detach the original early.
        with suppress(OSError, ValueError):
            line = socket.socket(fileno=os.dup(sock.fileno()))
            with self._lock:
                self._lines.append(line)
                late = self.expired
            if late:  # the deadline passed during the name look-up, which nothing can interrupt
                line.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Raise TimeoutError when the deadline has passed: then nothing may be sent any more."""
        if self.expired or time.monotonic() >= self.ends_at:
            self.expired = True
            raise TimeoutError

    def cut(self) -> None:
        with self._lock:
            self.expired = True
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for line in self._lines:
            line.close()


class Watchdog:
    """A thread that cuts the sockets of calls that are past their deadline."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, call: Call) -> None:
        """Watch a call from now on. Raises ProviderUnavailable (``no_thread``) where none can."""
        with self._changed:
            self._start_once()
            self._calls.add(call)
            self._changed.notify()

    def _start_once(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(
            target=self._run, name="connected-accounts-deadlines", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more; the next call tries again
            raise ProviderUnavailable(NO_THREAD, sent=False) from None
        self._thread = thread

    def remove(self, call: Call) -> None:
        with self._changed:
            self._calls.discard(call)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._calls:
                    self._changed.wait()
                late = [call for call in self._calls if call.ends_at <= time.monotonic()]
                self._calls.difference_update(late)
            for call in late:
                call.cut()
            time.sleep(0.05)


class _NoMangledHeaders(logging.Filter):
    """urllib3 logs headers that it cannot parse. If the blank line is missing, that is the body,
    so it is kept out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        ours = getattr(current, "call", None) is not None
        return not (ours and kind is not None and issubclass(kind, HeaderParsingError))


class _NoTokenInUrl(logging.Filter):
    """Masks a bearer in the query of a URL (RFC 6750 2.3), which urllib3 logs: at DEBUG each
    call, and as a warning one whose headers it could not read."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                without_token(arg) if isinstance(arg, str) else arg for arg in record.args
            )
        return True


_TOKEN_PARAM: Final = re.compile(r"((?:^|[?&])access_token=)[^&#\s]*")


def without_token(url: str) -> str:
    """A URL or query with the value of ``access_token`` masked."""
    return _TOKEN_PARAM.sub(r"\1***", url)


logging.getLogger("urllib3.connection").addFilter(_NoMangledHeaders())
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_NoTokenInUrl())


class _Watched:
    """Mixin for a urllib3 connection: tells the call under way when its bytes leave."""

    response_class: Any = FinalResponse
    sock: Any
    proxy: Any
    port: int
    _dns_host: str
    _last_used = 0.0
    _to_be_closed = False
    _asks_proxy = False  # for a tunnel

    @property
    def is_connected(self) -> bool:
        idle = time.monotonic() - self._last_used
        fit = idle < MAX_IDLE and not self._to_be_closed
        return fit and super().is_connected  # type: ignore[misc]

    def putheader(self, *header: Any) -> None:
        # A server closes as it was asked to, though it need not repeat the header (RFC 9112 9.6).
        if [str(part).lower() for part in header] == ["connection", "close"]:
            self._to_be_closed = True
        super().putheader(*header)  # type: ignore[misc]

    def close(self) -> None:
        self._to_be_closed = False
        super().close()  # type: ignore[misc]

    def _new_conn(self) -> socket.socket:
        sock = self._connect_to_public() if self._is_public_only() else self._connect_to_name()
        self._check_public(sock)
        self._last_used = time.monotonic()
        call = getattr(current, "call", None)
        if call is not None:
            call.hold(sock)
        return sock

    def _connect_to_name(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        return sock

    def _connect_to_public(self) -> socket.socket:
        name = self._dns_host
        *others, last = public_addresses(name.strip("[]"), self.port) or [name]
        try:
            for self._dns_host in others:  # what urllib3 looks up; TLS goes by the name
                with suppress(NewConnectionError, ConnectTimeoutError):
                    return self._connect_to_name()
            self._dns_host = last
            return self._connect_to_name()
        finally:
            self._dns_host = name

    def _is_public_only(self) -> bool:
        # Behind a proxy the address is the proxy's, and what it reaches is its own affair.
        return getattr(current, "public_only", False) and not self.proxy

    def _check_public(self, sock: Any) -> None:
        if self._is_public_only():
            _check_peer(sock)

    def send(self, data: Any) -> None:
        if self.sock is not None:  # it may have been opened by a call that was free to
            self._check_public(self.sock)
        call = getattr(current, "call", None)
        if call is not None and not call.sent and not self._asks_proxy:
            if self.sock is None:
                self.connect()  # type: ignore[attr-defined]
            call.hold(self.sock)
            call.check()
            call.sent = True
        self._last_used = time.monotonic()
        super().send(data)  # type: ignore[misc]

    def _tunnel(self) -> None:
        self._asks_proxy = True
        try:
            super()._tunnel()  # type: ignore[misc]
        finally:
            self._asks_proxy = False


class _WatchedHTTP(_Watched, HTTPConnection):
    pass


class _WatchedHTTPS(_Watched, HTTPSConnection):
    pass


class HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


POOLS: Final = {"http": HTTPPool, "https": HTTPSPool}
