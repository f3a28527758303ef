"""The process's pooled connections, and a request over them past requests' layers, which would take
twice the time of everything below them.

Must not know what is asked or why, nor how long it may take.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.utils import check_header_validity, requote_uri
from urllib3 import BaseHTTPResponse, ProxyManager
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import parse_url

from connected_accounts.oauth2.wire import POOLS

POOL_SIZE: Final = 128
_WITHOUT_BODY: Final = ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_DEFAULT_PORT: Final = {"http": ":80", "https": ":443"}


class Prepared(NamedTuple):
    """A request as it is sent: ``origin`` is the URL without its ``target``, path and query."""

    method: str
    origin: str
    target: str
    headers: dict[str, str]
    body: bytes | None


def prepare(request: requests.Request) -> Prepared:
    """Encode a request to a safe URL as requests would, whose own way takes what is rarely asked
    for. Raises ``requests.RequestException`` or ValueError for what cannot be sent."""
    if _is_plain(request):
        headers, body = request.headers, _body(request)
        for header in headers.items():
            check_header_validity(header)
        url, method = request.url, request.method
    else:
        made = request.prepare()
        headers, url, method = made.headers, made.url or "", made.method or ""
        body = made.body.encode() if isinstance(made.body, str) else made.body
    address, _, query = url.partition("?")
    origin, path = _split(address)
    return Prepared(method, origin, f"{path}?{query}" if query else path, dict(headers), body)


def _is_plain(request: requests.Request) -> bool:
    besides = request.params or request.files or request.auth or request.cookies
    data: Any = request.data
    return not besides and (
        not data or (isinstance(data, dict) and all(isinstance(one, str) for one in data.values()))
    )


def _body(request: requests.Request) -> bytes | None:
    """The content, whose type is added to the headers."""
    if request.data:
        kind, body = "application/x-www-form-urlencoded", urlencode(request.data).encode()
    elif request.json is not None:
        kind, body = "application/json", json.dumps(request.json, allow_nan=False).encode()
    else:
        return None
    request.headers.setdefault("Content-Type", kind)
    return body


def encode(request: Prepared) -> bytes:
    """A request as it goes over the line (RFC 9112 3). Raises ValueError for what cannot."""
    scheme, _, host = request.origin.partition("://")
    target = request.target
    if "?" in target:
        target = parse_url(target).request_uri
    body = request.body or b""
    headers = {"Host": host.removesuffix(_DEFAULT_PORT[scheme]), **request.headers}
    if body or request.method not in _WITHOUT_BODY:
        headers["Content-Length"] = str(len(body))
    head = [f"{request.method} {target} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
    return "\r\n".join(head).encode("latin-1") + body


@lru_cache(maxsize=256)
def _split(address: str) -> tuple[str, str]:
    """Origin and path of an address, the same whenever it is called. It has no query, which may
    hold a token."""
    parts = parse_url(address)
    return f"{parts.scheme}://{parts.netloc}", requote_uri(parts.path or "/")


class PooledAdapter(HTTPAdapter):
    """The process's shared connections. Closing one of the sessions that use it leaves it open."""

    def __init__(self) -> None:
        super().__init__(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = POOLS
        self._pools: dict[Any, HTTPConnectionPool] = {}

    def close(self) -> None:
        pass

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **options)
        if type(manager) is ProxyManager:  # SOCKS has connections of its own
            manager.pool_classes_by_scheme = POOLS
        return manager

    def open(
        self, request: Prepared, *, timeout: float, verify: str | bool, proxies: Mapping[str, str]
    ) -> BaseHTTPResponse:
        """Send a request and return the answer unread. Raises urllib3's errors."""
        pool = self._pool(request.origin, verify, proxies)
        return pool.urlopen(
            request.method,
            request.target,
            body=request.body,
            headers=request.headers,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=False,
            timeout=timeout,
        )

    def connect(self, origin: str, *, timeout: float, verify: str | bool) -> HTTPConnection:
        """A new connection to a host, open, that no pool knows. Raises urllib3's errors."""
        connection: Any = self._pool(origin, verify, {})._new_conn()
        connection.timeout = timeout
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection  # type: ignore[no-any-return]

    def _pool(
        self, origin: str, verify: str | bool, proxies: Mapping[str, str]
    ) -> HTTPConnectionPool:
        """The pool that requests would take, whose search for it takes as long as sending."""
        key = origin, verify, *proxies.items()
        pool = self._pools.get(key)
        if pool is not None:
            return pool
        named = requests.Request("POST", f"{origin}/").prepare()
        found: Any = self.get_connection_with_tls_context(named, verify, proxies=dict(proxies))
        self.cert_verify(found, origin, verify, None)  # type: ignore[no-untyped-call]
        if len(self._pools) >= POOL_SIZE:
            self._pools.clear()
        self._pools[key] = found
        return found  # type: ignore[no-any-return]
