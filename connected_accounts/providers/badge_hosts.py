"""The hosts of Badge Connect that a site lists, and the checks of what it writes about them."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from connected_accounts.conf import is_loopback_literal, is_safe_url
from connected_accounts.providers.badge_client import ADDRESSES
from connected_accounts.providers.endpoints import ENDPOINT_NAMES, as_origin

MAX_HOST: Final = 200


def base_of(host: str) -> str:
    """An entry of ``hosts`` as the URL that its discovery documents are below."""
    return as_origin(host).rstrip("/")


def is_local(host: str) -> bool:
    """Whether settings name a host by a loopback address: no other one may be at a private one."""
    return is_loopback_literal(urlsplit(base_of(host)).hostname or "")


def is_its_own(address: str, host: str, api_base_url: str, hosts: Collection[str]) -> bool:
    """Whether a profile's address is on the host that told it, or on its API's, if that is no other
    listed host: else one host could lay its hands on another's accounts."""
    own, api = [f"{base_of(host)}/"], urljoin(api_base_url, "/")
    if api not in {urljoin(base_of(other), "/") for other in hosts}:
        own.append(api)
    return " " not in address and address.startswith(tuple(own))


def api_hosts_of(host: str, api_hosts: Collection[str], hosts: Collection[str]) -> list[str]:
    """The ``api_hosts``, as URLs, that a host may name: never another one of ``hosts``."""
    others = {urljoin(base_of(other), "/") for other in hosts if other != host}
    return [url for url in map(as_origin, api_hosts) if urljoin(url, "/") not in others]


def missing_scopes(offered: Collection[str]) -> str:
    """The code for a host that offers nothing of what is wanted: why that is, as far as its scopes
    tell."""
    if any("/obc/v1p0/" in scope for scope in offered):  # badgr-server of 2019
        return "draft_scopes_only"
    if any("/spec/clr/" in scope for scope in offered):  # Comprehensive Learner Record
        return "clr_scopes_only"
    return "no_scope_offered"


def host_faults(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The faults of the options, each with what to write instead."""
    hosts = options["hosts"]
    sound = all(
        len(h) <= MAX_HOST and h.isprintable() and is_safe_url(base_of(h)) and "?" not in h
        for h in hosts
    )
    if not hosts or not sound or len(set(map(base_of, hosts))) < len(hosts):
        yield (
            "['hosts'] does not name the hosts, each once.",
            'Write the hosts that people may choose from: ["badges.example.org"]; or a URL such as '
            '"https://example.org/badges" where the documents of a host are below a path.',
        )
    if options["version"] not in ("", "v2p1", "v3p0"):
        yield "['version'] is unknown.", "Write 'v2p1', 'v3p0', or '' for whichever there is."
    for name in ADDRESSES:
        if options[name] and not is_safe_url(options[name]):
            yield f"[{name!r}] is not an https URL.", "Write an address on the host of your site."
    ends = [name for name in ENDPOINT_NAMES if options.get(name)]
    if ends and len(hosts) > 1:
        yield (
            f"[{ends[0]!r}] would serve several hosts.",
            "Give the host whose endpoint this is an alias of its own.",
        )
