"""A protected resource's description of itself: its own name, who guards it, and what to ask for
(RFC 9728; Model Context Protocol, revision 2026-07-28, chapter Authorization).

Owns the request that is answered with a challenge, and finding and reading the document. Nothing
in it is believed about another resource than the one that was asked for.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from connected_accounts import conf
from connected_accounts.conf import is_safe_url
from connected_accounts.exceptions import ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.challenge import bearer_challenge, sound_scopes
from connected_accounts.oauth2.discovery import DEFAULT_AGE, age_of, described, texts_of
from connected_accounts.oauth2.resource import canonical_url, is_at_or_below, origin_url
from connected_accounts.oauth2.token import parse_json_object, read_scope

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
MAX_NAME: Final = 80


@dataclass(frozen=True)
class ProtectedResource:
    """``resource`` is its own name, as it is sent (RFC 8707); ``issuers`` are those who guard it.
    ``scopes`` are to be asked for at first: those of the challenge, else all that it knows.
    ``is_described`` is False for a server without a document, which is its own guard then (Model
    Context Protocol, revision 2025-03-26)."""

    resource: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    known_scopes: tuple[str, ...] = ()
    name: str = ""
    needs_proofs: bool = False  # it takes no token that is a plain bearer (RFC 9449)
    is_described: bool = True


def protected_resource(
    url: str, probe: Callable[[], requests.Request], *, public: bool
) -> ProtectedResource:
    """The resource at ``url``, asked by ``probe``, a request without a token that it refuses.

    ``public``: not at a private address, and no document from one. Kept for as long as its answer
    allows; a refusal is remembered for a while. Raises ProviderUnavailable, and UnexpectedResponse
    (``not_guarded``, ``no_resource_metadata``, ``other_resource``, ``no_authorization_server``,
    ``private_address``, ``manifest_too_large``).
    """
    found = described(
        f"resource:{public}:{url}", origin_url(url), lambda: _find(url, probe, public)
    )
    return ProtectedResource(**found)


def guard_of(url: str, *, public: bool) -> str:
    """The authorization server that a resource names first in its document; the resource's own
    origin where it has none, and may be that server itself. No request is refused for this one.

    ``public``: not at a private address. Raises ProviderUnavailable, and UnexpectedResponse
    (``other_resource``, ``no_authorization_server``, ``private_address``)."""
    for address in _places(url):
        answer = transport.fetch(requests.Request("GET", address), public=public)
        answer.raise_if_unavailable(sent=False)
        document = parse_json_object(answer.body) if answer.status == 200 else None
        if document is not None:
            return str(_read(document, url, ())["issuers"][0])
    return origin_url(url)


def _find(
    url: str, probe: Callable[[], requests.Request], public: bool
) -> tuple[Mapping[str, Any], float]:
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE"))
    refusal = transport.fetch(probe(), public=public)
    refusal.raise_if_unavailable(sent=False)
    challenge = bearer_challenge(refusal.headers) if refusal.status == 401 else {}
    asked = sound_scopes(read_scope(challenge.get("scope"), " "))
    named = challenge.get("resource_metadata", "")
    trouble = False
    for address in [named] if named else _places(url):
        if not _may_lead(url, address):
            raise UnexpectedResponse("no_resource_metadata", sent=False)
        if time.monotonic() > ends:
            raise ProviderUnavailable("deadline", sent=False)
        answer = transport.fetch(requests.Request("GET", address), public=public)
        trouble = trouble or answer.is_unavailable
        document = parse_json_object(answer.body) if answer.status == 200 else None
        if document is not None:
            return _read(document, url, asked), age_of(answer.headers)
    if trouble:
        raise ProviderUnavailable("no_resource_metadata", sent=False)
    if named:
        raise UnexpectedResponse("no_resource_metadata", sent=False)
    if refusal.status != 401:
        raise UnexpectedResponse("not_guarded", sent=False)
    own = {"resource": canonical_url(url), "issuers": (origin_url(url),), "scopes": asked}
    return own | {"is_described": False}, DEFAULT_AGE


def _places(url: str) -> list[str]:
    parts = urlsplit(url)
    root = f"{origin_url(url)}{WELL_KNOWN}"
    inserted = f"{root}{parts.path.rstrip('/')}" + (f"?{parts.query}" if parts.query else "")
    return list(dict.fromkeys([inserted, root]))


def _may_lead(url: str, address: str) -> bool:
    """Whether a resource may send us to an address: by https, or by plain http where settings let
    the resource itself be asked so."""
    return is_safe_url(address) and (address.startswith("https:") or url.startswith("http:"))


def _read(document: Mapping[str, Any], url: str, asked: tuple[str, ...]) -> dict[str, Any]:
    resource = document.get("resource")
    if not isinstance(resource, str) or not is_at_or_below(url, resource):
        raise UnexpectedResponse("other_resource", sent=False)
    issuers = [i for i in texts_of(document.get("authorization_servers")) if _may_lead(url, i)]
    if not issuers:
        raise UnexpectedResponse("no_authorization_server", sent=False)
    known = sound_scopes(texts_of(document.get("scopes_supported")))
    name = document.get("resource_name")
    return {
        "resource": resource,
        "issuers": tuple(issuers),
        "scopes": asked or known,
        "known_scopes": known,
        "name": plain_name(name),
        "needs_proofs": document.get("dpop_bound_access_tokens_required") is True,
    }


def plain_name(value: Any) -> str:
    """A name that a server gives itself, in one short printable line; empty where it is none."""
    if not isinstance(value, str):
        return ""
    line = " ".join(value[: 4 * MAX_NAME].split())
    return line[:MAX_NAME] if line.isprintable() else ""
