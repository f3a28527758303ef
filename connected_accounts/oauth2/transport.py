"""One request to a provider, bounded in every way: no redirect, no netrc, no proxy but HTTPS's own,
a limit on the body, and a hard deadline over connect, headers and body together.

Owns the process's one adapter. Must not know what is asked or why.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ssl import SSLError
from typing import Final, TypeVar

import requests
import urllib3
from requests.adapters import BaseAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3.connection import HTTPConnection

from connected_accounts import conf
from connected_accounts.exceptions import (
    ProviderError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.oauth2.connections import PooledAdapter, prepare
from connected_accounts.oauth2.token import is_unavailable
from connected_accounts.oauth2.wire import (
    Call,
    PrivateAddress,
    Watchdog,
    current,
    public_only,
)

MAX_BODY: Final = 1024 * 1024
MAX_RETRY_AFTER: Final = 3600.0
USER_AGENT: Final = "django-connected-accounts"
PROXY_VARIABLES: Final = tuple(
    name for part in ("https", "all", "no") for name in (f"{part}_proxy", f"{part}_PROXY".upper())
)
# What is raised where a request cannot be encoded.
UNSENDABLE: Final = (requests.RequestException, ValueError)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """The response, unjudged. ``body`` is hidden from repr: it may hold tokens."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_unavailable(self) -> bool:
        return is_unavailable(self.status)

    def raise_if_unavailable(self, *, sent: bool = True) -> None:
        """Raise ProviderUnavailable (``status_503`` or the like) for a 429 or 5xx."""
        if self.is_unavailable:
            raise ProviderUnavailable(
                f"status_{self.status}",
                status=self.status,
                retry_after=self.retry_after(),
                sent=sent,
            )

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Seconds to wait by the ``Retry-After`` header (RFC 9110 10.2.3), from 1 to 3600.

        better-auth has it as ``X-Retry-After`` alone (tests/servers, November 2026).
        """
        value = self.headers.get("Retry-After") or self.headers.get("X-Retry-After", "")
        value = value.strip()
        if value.isascii() and value.isdigit():
            return min(max(float(value[:9]), 1.0), MAX_RETRY_AFTER)
        with suppress(TypeError, ValueError, OverflowError):
            date = parsedate_to_datetime(value)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            wait = (date - (now or datetime.now(UTC))).total_seconds()
            return min(max(wait, 1.0), MAX_RETRY_AFTER)
        return None


# Is told of every request of this context and its answer, or the code of the error in its place.
listener: ContextVar[Callable[[requests.Request, Answer | None, str], None] | None] = ContextVar(
    "listener", default=None
)
_adapter: BaseAdapter | None = None
_watchdog = Watchdog()
_lock = threading.Lock()


def adapter() -> BaseAdapter:
    """The adapter that every request of the app goes through."""
    global _adapter
    if _adapter is None:
        with _lock:
            _adapter = _adapter or PooledAdapter()
    return _adapter


def install_adapter(replacement: BaseAdapter | None) -> BaseAdapter | None:
    """Put another adapter in place (a test's fake provider), and return the one that was there."""
    global _adapter
    previous, _adapter = _adapter, replacement
    return previous


def _after_fork() -> None:
    # A child must share neither sockets nor locks with its parent, and has no watchdog thread.
    global _adapter, _watchdog, _lock
    if isinstance(_adapter, PooledAdapter):
        _adapter = None
    _watchdog = Watchdog()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def proxies_for(url: str) -> dict[str, str]:
    """The environment's proxy for an https URL; none for plain http, whose proxy would read it."""
    if not url.startswith("https:"):
        return {}
    origin = "/".join(url.split("/", 3)[:3])
    return dict(_proxies_for(origin, *map(os.environ.get, PROXY_VARIABLES)))


@lru_cache(maxsize=256)
def _proxies_for(origin: str, *values: str | None) -> Mapping[str, str]:
    """Looked up once for each host, as that walks the whole environment; ``values`` are those of
    ``PROXY_VARIABLES``, with which it changes."""
    return get_environ_proxies(origin)


def ca_bundle() -> str | bool:
    """The file of certificate authorities the environment names, else the bundled one."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def ca_file() -> str:
    """``ca_bundle`` as a file."""
    found = ca_bundle()
    return found if isinstance(found, str) else DEFAULT_CA_BUNDLE_PATH


def fetch(
    request: requests.Request,
    *,
    public: bool = False,
    certificate: tuple[str, str] | None = None,
    seconds: float | None = None,
) -> Answer:
    """Send one request and read its answer, whatever its status; a redirect is not followed.
    ``certificate`` are the files of the client's own and of its key (RFC 8705).

    Raises ProviderUnavailable when no complete answer came within ``seconds`` (None:
    ``HTTP_DEADLINE``; its ``sent`` says whether the provider may have acted), or was asked for: a
    URL that is neither https nor on a loopback address is not called. UnexpectedResponse when the
    body is over 1 MiB.
    """
    told = listener.get()
    try:
        answer = _fetch(request, public, certificate, seconds)
    except ProviderError as error:
        if told is not None:
            told(request, None, error.code)
        raise
    if told is not None:
        told(request, answer, "")
    return answer


def _fetch(
    request: requests.Request,
    public: bool,
    certificate: tuple[str, str] | None,
    seconds: float | None,
) -> Answer:
    complete(request)
    return _watched(lambda call: _exchange(request, call, certificate), public, seconds)


def complete(request: requests.Request) -> None:
    """Add the headers of every request. Raises ProviderUnavailable (``bad_request``) for a URL that
    no token may travel to."""
    if not conf.is_safe_url(request.url):
        raise ProviderUnavailable("bad_request", sent=False)
    request.headers = {
        "User-Agent": USER_AGENT,
        "Accept": "application/json",
        # Small answers only, and no decompression bombs.
        "Accept-Encoding": "identity",
        **request.headers,
    }


def connect(origin: str, *, public: bool, seconds: float) -> HTTPConnection:
    """Open a connection of one's own to a host, within ``seconds``, past any proxy. Raises
    ProviderUnavailable or UnexpectedResponse."""
    via, timeout = adapter(), float(conf.get("HTTP_TIMEOUT"))
    if not isinstance(via, PooledAdapter):
        raise ProviderUnavailable("unreachable", sent=False)
    return _watched(
        lambda call: via.connect(origin, timeout=timeout, verify=ca_bundle()), public, seconds
    )


def is_direct(url: str, certificate: tuple[str, str] | None) -> bool:
    """Whether ``connect`` leads to ``url`` as ``fetch`` would: no proxy, no certificate of the
    client's, and no adapter but our own."""
    return type(adapter()) is PooledAdapter and certificate is None and not proxies_for(url)


def _watched(work: Callable[[Call], T], public: bool, seconds: float | None) -> T:
    """Let ``work`` use the network until its time is up. Raises ProviderError."""
    call = Call(float(conf.get("HTTP_DEADLINE")) if seconds is None else seconds)
    try:
        current.call = call
        _watchdog.add(call)
        with public_only(public):
            return work(call)
    except (*UNSENDABLE, urllib3.exceptions.HTTPError, OSError) as error:
        # Built here, raised below: these errors hold the request, its body and its URL.
        caught = failure(error, expired=call.expired, sent=call.sent)
    finally:
        current.call = None
        _watchdog.remove(call)
        call.close()
    raise caught


def failure(error: Exception, *, expired: bool, sent: bool) -> ProviderError:
    """The meaning of an ``error`` that came in place of an answer; ``expired``: when its time was
    up."""
    if isinstance(error, ProviderError):
        return error
    if _is_private(error):
        return UnexpectedResponse("private_address", sent=False)
    sent = sent and not _never_connected(error)
    return ProviderUnavailable(_failure_code(error, expired=expired, sent=sent), sent=sent)


def _exchange(request: requests.Request, call: Call, certificate: tuple[str, str] | None) -> Answer:
    raw = _open(request, call, certificate)
    try:
        body = raw.read(MAX_BODY + 1, decode_content=True)
        if call.expired:
            raise TimeoutError
        if len(body) > MAX_BODY:
            raise UnexpectedResponse("too_large", status=raw.status)
        return Answer(raw.status, raw.headers, body)
    except BaseException:
        raw.close()
        raise
    finally:
        raw.release_conn()


def _open(
    request: requests.Request, call: Call, certificate: tuple[str, str] | None
) -> urllib3.BaseHTTPResponse:
    """Send; the answer is not read yet."""
    timeout, via = float(conf.get("HTTP_TIMEOUT")), adapter()
    verify, proxies = ca_bundle(), proxies_for(request.url)
    # SOCKS, and another adapter (a test's), do not tell when they send: count the request as sent,
    # unless an error says that there was no connection to send on.
    by_socks = any(proxy.startswith("socks") for proxy in proxies.values())
    call.sent = by_socks or not isinstance(via, PooledAdapter)
    if type(via) is PooledAdapter and certificate is None:
        return via.open(prepare(request), timeout=timeout, verify=verify, proxies=proxies)
    made = request.prepare()
    answer = via.send(
        made, stream=True, timeout=timeout, verify=verify, cert=certificate, proxies=proxies
    )
    raw: urllib3.BaseHTTPResponse = answer.raw
    return raw


def _never_connected(error: BaseException) -> bool:
    if isinstance(error, requests.exceptions.InvalidSchema):  # SOCKS without its package
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _is_private(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, PrivateAddress):
        error = error.__cause__ or error.__context__
    return error is not None


def _failure_code(error: Exception, *, expired: bool, sent: bool) -> str:
    if expired:
        return "deadline"
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError | SSLError):
        return "tls"
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a time-out to urllib3
    late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError)
    if late and not refused:
        return "timeout"
    if isinstance(error, requests.exceptions.InvalidHeader | requests.exceptions.InvalidURL):
        return "bad_request"
    return "connection_lost" if sent else "unreachable"
