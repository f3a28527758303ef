"""A Badge Connect host's description of itself: the manifest of Open Badges 2.1, and the service
description of Open Badges 3.0.

Owns finding and reading the two documents, and refusing what leads elsewhere: every address on the
way and every address named must be on the host itself, or where settings say that it may be.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urljoin

import requests

from connected_accounts.conf import is_safe_url
from connected_accounts.exceptions import (
    ConfigurationError,
    UnexpectedResponse,
)
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.discovery import age_of, described, known_document
from connected_accounts.oauth2.session import origin_of
from connected_accounts.oauth2.token import parse_json_object, read_scope

MAX_HOPS: Final = 3
REDIRECTS: Final = (301, 302, 303, 307, 308)
PLACES: Final = {
    "v2p1": "/.well-known/badgeconnect.json",
    "v3p0": "/ims/ob/v3p0/discovery",
}
OF_THE_API: Final = ("api_base_url", "userinfo_endpoint")
# A host that has both is spoken to in 2.1: else its accounts would change their language, and
# their scopes, on the day it adds 3.0.
ORDER: Final = ("v2p1", "v3p0")
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+", re.ASCII)  # what RFC 3986 lets stand in one


def description(
    base: str,
    *,
    version: str = "",
    listed: Collection[str],
    apis: Collection[str] = (),
    public: bool,
) -> Mapping[str, Any]:
    """The endpoints of the host at ``base``, by their names here, and its ``scopes``.

    ``version`` is one of ``PLACES``, or empty: the first that is there. ``listed`` are URLs whose
    origins may be called and named besides its own, ``apis`` those for its API alone; ``public``:
    not at a private address. A refusal is remembered for a while, as a silence is. Raises
    ProviderUnavailable, and UnexpectedResponse (``no_manifest``, ``unlisted_host``,
    ``manifest_redirect``, ``private_address``, ``manifest_too_large``).
    """
    return described(
        _key(base, version, listed, apis),
        base,
        lambda: _find(base, (version,) if version else ORDER, listed, apis, public),
    )


def known_scopes(
    base: str, *, version: str, listed: Collection[str], apis: Collection[str] = ()
) -> tuple[str, ...] | None:
    """The scopes that the host offers, without asking it; None: this process does not know them."""
    return known_document(_key(base, version, listed, apis)).get("scopes")


def _key(base: str, version: str, listed: Collection[str], apis: Collection[str]) -> str:
    return f"badge_connect:{version}:{base}:{sorted(listed)}:{sorted(apis)}"


def _find(
    base: str,
    versions: Collection[str],
    listed: Collection[str],
    apis: Collection[str],
    public: bool,
) -> tuple[dict[str, Any], float]:
    for version in versions:
        answer = _fetch(base, PLACES[version], listed, public)
        document = parse_json_object(answer.body) if answer.status == 200 else None
        endpoints = READERS[version](document, base) if document is not None else None
        if endpoints is not None:
            for name, url in endpoints.items():
                known = [*listed, *apis] if name in OF_THE_API else listed
                if name != "scopes" and url and not _is_listed(url, base, known):
                    raise UnexpectedResponse("unlisted_host", sent=False)
            return endpoints, age_of(answer.headers)
    raise UnexpectedResponse("no_manifest", sent=False)


def _fetch(base: str, place: str, listed: Collection[str], public: bool) -> transport.Answer:
    """Follow redirects by hand (badgr-server 3.14.1 answers with one, seen): each to a listed host,
    and none to plain http."""
    url = base + place
    for _ in range(MAX_HOPS + 1):
        answer = transport.fetch(requests.Request("GET", url), public=public)
        answer.raise_if_unavailable(sent=False)
        if answer.status not in REDIRECTS:
            return answer
        try:
            url = urljoin(url, answer.headers.get("Location", ""))
        except ValueError:
            url = ""
        if not _is_listed(url, base, listed):
            raise UnexpectedResponse("unlisted_host", sent=False)
    raise UnexpectedResponse("redirect", sent=False)


def _is_listed(url: str, base: str, listed: Collection[str]) -> bool:
    """Whether a document of the host at ``base`` may send us to ``url``: by https to a listed host,
    or to the loopback address that the host itself is at."""
    if not _URL.fullmatch(url) or not is_safe_url(url):
        return False
    try:
        origin = origin_of(url)
    except ConfigurationError:
        return False
    if origin == origin_of(base):
        return True
    return url.startswith("https:") and origin in {origin_of(known) for known in listed}


def _read_v2p1(document: Mapping[str, Any], base: str) -> dict[str, Any] | None:
    """Reads the first entry that says ``v2p1``, else the first of all (badgr-server 3.14.1 has one,
    and says ``v1p0``)."""
    entries = document.get("badgeConnectAPI")
    entries = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    if not entries:
        return None
    entry = next((e for e in entries if e.get("version") == "v2p1"), entries[0])
    api = _text(entry.get("apiBase")).rstrip("/")
    token = _text(entry.get("tokenUrl"))
    revocation = _text(entry.get("tokenRevocationUrl"))
    if not revocation and entry.get("version") == "v1p0" and token.endswith("/o/token"):
        # badgr-server 3.14.1 names none, and has one (seen).
        revocation = token.removesuffix("token") + "revoke_token/"
    return _complete(
        {
            "registration_endpoint": _text(entry.get("registrationUrl")),
            "authorization_endpoint": _text(entry.get("authorizationUrl")),
            "token_endpoint": token,
            "revocation_endpoint": revocation,
            "api_base_url": api,
            "userinfo_endpoint": f"{api}/profile",
            "scopes": _texts(entry.get("scopesOffered")),
        }
    )


def _read_v3p0(document: Mapping[str, Any], base: str) -> dict[str, Any] | None:
    """It has no place for a revocation endpoint, and its examples have URLs without a scheme."""
    scheme = _within(document, "components", "securitySchemes", "OAuth2ACG")
    flow = _within(scheme, "flows", "authorizationCode")
    if not flow:
        return None
    api = _server(document, base)

    def address(value: Any) -> str:
        return _absolute(_text(value), api)

    token, renewal = address(flow.get("tokenUrl")), address(flow.get("refreshUrl"))
    return _complete(
        {
            "registration_endpoint": address(scheme.get("x-imssf-registrationUrl")),
            "authorization_endpoint": address(flow.get("authorizationUrl")),
            "token_endpoint": token,
            "refresh_endpoint": "" if renewal == token else renewal,
            "revocation_endpoint": "",
            "api_base_url": api,
            "userinfo_endpoint": f"{api}/profile",
            "scopes": _texts(flow.get("scopes")),
        }
    )


READERS: Final = {"v2p1": _read_v2p1, "v3p0": _read_v3p0}


def _complete(endpoints: dict[str, Any]) -> dict[str, Any] | None:
    needed = ("authorization_endpoint", "token_endpoint", "api_base_url")
    return endpoints if all(endpoints[name] for name in needed) else None


def _within(document: Any, *steps: str) -> Mapping[str, Any]:
    for step in steps:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _text(value: Any) -> str:
    """An address, with slashes that stand twice in its path made one (badgr-server 3.14.1)."""
    if not isinstance(value, str):
        return ""
    scheme, _, rest = value.strip().rpartition("://") if "?" not in value else ("", "", "")
    if not rest:
        return value.strip()
    rest = re.sub("//+", "/", rest)
    return f"{scheme}://{rest}" if scheme else rest


def _server(document: Mapping[str, Any], base: str) -> str:
    """Where the API is: the first of ``servers`` (OpenAPI 3.0.3, 4.7.5), whose variables have their
    defaults, else where the specification has it."""
    usual = f"{base}{PLACES['v3p0'].removesuffix('/discovery')}"
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = _text(first.get("url")) if isinstance(first, Mapping) else ""
    for name, variable in _within(first, "variables").items():
        if isinstance(variable, Mapping):
            url = url.replace(f"{{{name}}}", _text(variable.get("default")))
    return _absolute(url, f"{base}{PLACES['v3p0']}").rstrip("/") if url.strip("/") else usual


def _absolute(url: str, base: str) -> str:
    """An address as https where it has no scheme, as the specification's examples, or joined to
    ``base`` where it has no host either, as in 1EdTech's own OpenAPI files."""
    if not url or "://" in url:
        return url
    first = url.partition("/")[0].strip(".")
    if "." in first or ":" in first:
        return f"https://{url}"
    return urljoin(base, url)


def _texts(value: Any) -> tuple[str, ...]:
    items = list(value) if isinstance(value, list | Mapping) else []
    found = read_scope([i for i in items if isinstance(i, str) and " " not in i], " ")
    return found or ()
