"""An authorization server's metadata: RFC 8414 and OpenID Connect Discovery 1.0.

Fetched when first needed, kept for as long as the answer allows (from a minute to a day), and never
for an issuer other than the one that was asked for.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests

from connected_accounts import conf
from connected_accounts.conf import is_safe_url
from connected_accounts.exceptions import ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.resource import origin_url
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.oauth2.wire import NO_THREAD

logger = logging.getLogger("connected_accounts")

DEFAULT_AGE: Final = 3600.0  # seconds a document is kept that does not say how long
MIN_AGE: Final = 60.0
MAX_AGE: Final = 86400.0
# In merged metadata: whether there is a document of OpenID Connect, which is no field of one.
IS_OPENID: Final = "connected_accounts.is_openid"
IS_PARTIAL: Final = "connected_accounts.is_partial"
OPENID_PATH: Final = "/.well-known/openid-configuration"
OAUTH_PATH: Final = ".well-known/oauth-authorization-server"
REFUSED: Final = "refused"
# Names of their own: these two happen elsewhere too, where trying again makes sense.
_OF_METADATA: Final = {"redirect": "manifest_redirect", "too_large": "manifest_too_large"}
RETRY_AFTER: Final = 30.0  # a server that did not answer
MAX_DOCUMENTS: Final = 256
_MAX_AGE = re.compile(r"max-age=(\d{1,9})", re.ASCII)

_cache: dict[str, tuple[float, Mapping[str, Any]]] = {}
_lock = threading.Lock()


def server_metadata(issuer: str, *, public: bool = False) -> Mapping[str, Any]:
    """The merged metadata of ``issuer``, each document of which must name that issuer exactly.

    Fetches OpenID Connect's URL and RFC 8414's, each with the issuer's path appended and inserted.
    For each field the first document that has it wins. ``public``: not from a private address.
    Raises ProviderUnavailable where none answers for now, and UnexpectedResponse where none is
    there or one names another issuer (RFC 8414 3.3).
    """
    key = f"public issuer:{issuer}" if public else f"issuer:{issuer}"
    return cached_document(key, lambda: _fetch_all(issuer, public))


def origin_metadata(origin: str, *, public: bool = False) -> Mapping[str, Any]:
    """The metadata of a server that names no issuer elsewhere: those at RFC 8414's place on its
    origin, whose issuer must be on it too. Raises as ``server_metadata``."""

    def fetch() -> tuple[Mapping[str, Any], float]:
        address = f"{origin}/{OAUTH_PATH}"
        answer = _ask(address, public)
        answer.raise_if_unavailable(sent=False)
        document = parse_json_object(answer.body) if answer.status == 200 else None
        issuer = (document or {}).get("issuer")
        if document is None:
            raise UnexpectedResponse("no_metadata", status=answer.status, sent=False)
        if not isinstance(issuer, str) or origin_url(issuer) != origin:
            raise UnexpectedResponse("wrong_issuer", status=answer.status, sent=False)
        return with_whole_addresses(document, address), age_of(answer.headers)

    return cached_document(f"origin:{public}:{origin}", fetch)


def described(
    key: str, host: str, find: Callable[[], tuple[Mapping[str, Any], float]]
) -> Mapping[str, Any]:
    """``cached_document`` of a host that somebody named: its refusal is remembered for a while, as
    a silence is. ``find`` raises, and this does, UnexpectedResponse with the code of what the host
    lacks."""

    def find_or_refuse() -> tuple[Mapping[str, Any], float]:
        try:
            return find()
        except UnexpectedResponse as error:
            code = _OF_METADATA.get(error.code, error.code)
            logger.error("host not usable: host=%s code=%s", host, code)
            return {REFUSED: code}, RETRY_AFTER

    document = cached_document(key, find_or_refuse)
    if REFUSED in document:
        raise UnexpectedResponse(document[REFUSED], sent=False)
    return document


def endpoint_named(metadata: Mapping[str, Any], name: str, issuer: str) -> str:
    """An endpoint out of metadata, or an empty text where it cannot be used: plain http is for the
    host of an issuer that settings name so."""
    url = metadata.get(name)
    if not isinstance(url, str) or not is_safe_url(url):
        return ""
    local = issuer.startswith("http:") and urlsplit(url).hostname == urlsplit(issuer).hostname
    return url if url.startswith("https:") or local else ""


def with_certificate(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata with the addresses that ask a client for its certificate in place of the others
    (RFC 8705 5)."""
    aliases = metadata.get("mtls_endpoint_aliases")
    return {**metadata, **(aliases if isinstance(aliases, Mapping) else {})}


def texts_of(value: Any) -> tuple[str, ...]:
    """The printable texts without a blank in a list, or among the names of an object."""
    items = list(value) if isinstance(value, list | Mapping) else []
    return tuple(i for i in items if isinstance(i, str) and i.isprintable() and " " not in i)


def known_metadata(issuer: str) -> Mapping[str, Any] | None:
    """The metadata of ``issuer`` that this process has by now; None: none. Asks nobody."""
    found = _cache.get(f"issuer:{issuer}")
    return found[1] or None if found is not None else None


def cached_document(
    key: str, fetch: Callable[[], tuple[Mapping[str, Any], float]]
) -> Mapping[str, Any]:
    """A document out of the process's small cache, or fetched: ``fetch`` returns it and its age.

    A server that does not answer is not asked again for a while: what was known of it stays good
    for that long, or ProviderUnavailable is raised at once.
    """
    found = _cache.get(key)
    if found is None or found[0] <= time.monotonic():
        try:
            document, age = fetch()
        except ProviderUnavailable as error:
            if error.code == NO_THREAD:
                raise  # which says nothing of the server
            document, age = found[1] if found is not None else {}, RETRY_AFTER
        found = (time.monotonic() + age, document)
        with _lock:
            if key not in _cache and len(_cache) >= MAX_DOCUMENTS:
                _cache.pop(min(_cache, key=lambda name: _cache[name][0]))
            _cache[key] = found
    if not found[1]:
        raise ProviderUnavailable("no_metadata", sent=False)
    return found[1]


def known_document(key: str) -> Mapping[str, Any]:
    """The document that is cached; empty where ``cached_document`` would fetch it."""
    found = _cache.get(key)
    return {} if found is None or found[0] <= time.monotonic() else found[1]


def clear_cache() -> None:
    """Empty the cache."""
    with _lock:
        _cache.clear()


def age_of(headers: Mapping[str, str]) -> float:
    """The seconds that an answer may be kept, by its ``Cache-Control``."""
    control = headers.get("Cache-Control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return MIN_AGE
    stated = _MAX_AGE.search(control)
    return min(max(float(stated[1]), MIN_AGE), MAX_AGE) if stated else DEFAULT_AGE


def _addresses(issuer: str) -> list[str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oauth = urlunsplit(parts._replace(path=f"/{OAUTH_PATH}{path}"))
    openid = urlunsplit(parts._replace(path=f"{OPENID_PATH}{path}"))
    base = issuer.rstrip("/")
    return list(dict.fromkeys([f"{base}{OPENID_PATH}", oauth, f"{base}/{OAUTH_PATH}", openid]))


def _ask(address: str, public: bool) -> transport.Answer:
    try:
        return transport.fetch(requests.Request("GET", address), public=public)
    except UnexpectedResponse as error:
        code = _OF_METADATA.get(error.code, error.code)
        raise UnexpectedResponse(code, status=error.status, sent=False) from None


def _fetch_all(issuer: str, public: bool) -> tuple[Mapping[str, Any], float]:
    if not is_safe_url(issuer):
        raise UnexpectedResponse("issuer_not_https", sent=False)
    merged: dict[str, Any] = {}
    age, trouble = MAX_AGE, False
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE"))
    for address in _addresses(issuer):
        if time.monotonic() > ends:
            raise ProviderUnavailable("deadline", sent=False)
        answer = _ask(address, public)
        trouble = trouble or answer.is_unavailable
        document = parse_json_object(answer.body) if answer.status == 200 else None
        if document is None:
            continue
        if document.get("issuer") != issuer:
            raise UnexpectedResponse("wrong_issuer", status=answer.status, sent=False)
        stated = {
            n: v for n, v in with_whole_addresses(document, address).items() if v not in (None, "")
        }
        merged = {**stated, **merged}
        merged[IS_OPENID] = merged.get(IS_OPENID, False) or OPENID_PATH in address
        age = min(age, age_of(answer.headers))
    if not merged:
        if trouble:
            raise ProviderUnavailable("no_metadata", sent=False)
        raise UnexpectedResponse("no_metadata", sent=False)
    # A document that could not be had now may name what the others do not.
    merged[IS_PARTIAL] = trouble
    return merged, RETRY_AFTER if trouble else age


def with_whole_addresses(document: Mapping[str, Any], address: str) -> dict[str, Any]:
    """A document with its endpoints' addresses resolved against its own (RFC 3986 5): some servers
    write them without a host."""
    return {
        name: urljoin(address, value)
        if name.endswith("_endpoint") and isinstance(value, str) and value.startswith("/")
        else value
        for name, value in document.items()
    }
