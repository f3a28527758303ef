"""Knocking at a provider's endpoints: what cannot do harm there, and what the answers tell.

A GET where people and bearers go, without either; an empty POST where only a POST is known; a HEAD
where a POST could make something. Nothing of the site's own is sent.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Self
from urllib.parse import urlsplit

import requests

from connected_accounts.exceptions import ProviderError
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.transport import Answer
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked, warning
from connected_accounts.operations.doctor.tries import Call
from connected_accounts.providers.base import Endpoints
from connected_accounts.providers.endpoints import with_client_id

METHODS: Final[Mapping[str, str]] = {
    "authorization_endpoint": "GET",
    "token_endpoint": "POST",
    "refresh_endpoint": "POST",
    "revocation_endpoint": "POST",
    "userinfo_endpoint": "GET",
    "registration_endpoint": "HEAD",
    "api_base_url": "HEAD",
}
USELESS: Final[Mapping[str, tuple[str, ...]]] = {
    "client_credentials": ("authorization_endpoint",),
    "identity_assertion": ("authorization_endpoint",),
    "personal_token": ("authorization_endpoint", "token_endpoint", "refresh_endpoint"),
}
# Whose root may well answer 404, or which does not know the method.
ANY_ANSWER: Final = ("registration_endpoint", "api_base_url")
MAY_SKEW: Final = 60.0  # seconds: an id_token's times are compared with our clock
MUST_NOT_SKEW: Final = 300.0
WORDS: Final[Mapping[str, str]] = {
    "tls": "its certificate is not accepted",
    "unreachable": "nobody answers there",
    "timeout": "it does not answer in time",
    "deadline": "it does not answer in time",
    "connection_lost": "the connection was cut",
    "private_address": "its name leads to a private address, and nothing is sent there",
    "bad_request": "its address cannot be called",
}
HINTS: Final[Mapping[str, str]] = {
    "tls": "Its operator must mend the certificate. For a company's own authority, name the bundle "
    "in REQUESTS_CA_BUNDLE.",
    "unreachable": "Check the address, the name server, and what leaves this machine: firewall, "
    "HTTPS_PROXY.",
}


@dataclass(frozen=True)
class Knock:
    """One request, and its answer at a moment of ours, or the error it ended with."""

    name: str
    url: str
    method: str
    at: datetime
    answer: Answer | None = None
    failure: str = ""

    @classmethod
    def of(cls, name: str, call: Call) -> Self:
        """A call that was made for more than to see whether somebody answers."""
        return cls(name, call.url, call.method, call.at, call.answer, call.failure)


def knock(
    endpoints: Endpoints, grant_type: str, client_id: str = "", *, leave_out: Collection[str] = ()
) -> list[Knock]:
    """Call each endpoint there is, once, but those that this grant type has no use for, and those
    to ``leave_out``."""
    useless = (*USELESS.get(grant_type, ()), *leave_out)
    named = [
        (name, with_client_id(getattr(endpoints, name), client_id))
        for name in METHODS
        if name not in useless
    ]
    return [_knock(name, url, public=endpoints.public_only) for name, url in named if url]


def refused_everywhere(knocks: Sequence[Knock]) -> bool:
    """Whether each of several endpoints answers 403: as a server does that has locked out the
    address, and no endpoint does that a page and an API are at."""
    statuses = [one.answer.status if one.answer else None for one in knocks]
    pages = [one for one in knocks if one.name == "authorization_endpoint"]
    return len(statuses) > 1 and bool(pages) and set(statuses) == {403}


def _knock(name: str, url: str, *, public: bool) -> Knock:
    method = METHODS[name]
    began = datetime.now(UTC)
    answer, failure = None, ""
    try:
        # The connection is not used again: some servers answer a HEAD with a body.
        request = requests.Request(method, url, headers={"Connection": "close"})
        answer = transport.fetch(request, public=public)
    except ProviderError as problem:
        failure = problem.code
    now = datetime.now(UTC)
    return Knock(name, url, method, began + (now - began) / 2, answer, failure)


def endpoint_findings(knocks: Sequence[Knock]) -> Iterator[Finding]:
    for one in sorted(knocks, key=lambda one: list(METHODS).index(one.name)):
        yield _judge(one)


def _judge(one: Knock) -> Finding:
    if one.answer is None:
        if one.failure == "too_large":  # a page of more than 1 MiB is an answer
            return ok(one.name, f"{one.url} answers.")
        what = WORDS.get(one.failure, one.failure)
        return error(one.name, f"{one.url}: {what}.", HINTS.get(one.failure, ""))
    status = one.answer.status
    said = f"{one.url} answers {one.method} with {status}"
    if one.name in ANY_ANSWER and (status < 500 or status == 501):  # which knows no HEAD
        return ok(one.name, f"{said}.")
    if status >= 500:
        if one.method == "POST" and status == 500:
            return warning(one.name, f"{said}, which a made-up request may bring about.")
        return error(one.name, f"{said}.", "Try again later.")
    if status == 429:
        return warning(one.name, f"{said}: too many requests from here.", "Try again later.")
    if status in (404, 410):
        lacking = error if one.name != "userinfo_endpoint" else warning
        return lacking(one.name, f"{said}: nothing is there.", "Correct the address.")
    if 300 <= status < 400 and one.method == "POST":
        return error(one.name, f"{said}: no redirect is followed with a secret.", _leads_to(one))
    return ok(one.name, f"{said}.")


def _leads_to(one: Knock) -> str:
    target = one.answer.headers.get("Location", "") if one.answer is not None else ""
    try:
        parts = urlsplit(target)._replace(query="", fragment="")
    except ValueError:
        return ""
    address = parts.geturl()
    return f"It leads to {address}: name that one." if address and address.isprintable() else ""


def tls_finding(knocks: Sequence[Knock]) -> Finding:
    """Whether every https host has a certificate that this machine accepts."""
    bad = sorted({_host(k.url) for k in knocks if k.failure == "tls"})
    if bad:
        return error("tls", f"No certificate that is accepted: {', '.join(bad)}.", HINTS["tls"])
    good = {_host(k.url) for k in knocks if k.answer is not None and k.url.startswith("https:")}
    if not good:
        return unchecked("tls", "No https endpoint answered.")
    return ok("tls", f"Certificates are accepted: {', '.join(sorted(good))}.")


def _host(url: str) -> str:
    return urlsplit(url).netloc


def clock_finding(knocks: Sequence[Knock]) -> Finding:
    """The difference between this machine's clock and the provider's, by the ``Date`` of an
    answer."""
    for one in sorted(knocks, key=lambda one: one.name != "token_endpoint"):
        date = _date_of(one.answer)
        if date is None:
            continue
        skew = (one.at - date).total_seconds()
        said = f"This machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
        said = f"{said} {_host(one.url)}'s."
        if abs(skew) <= MAY_SKEW:
            return ok("clock", said)
        judged = error if abs(skew) > MUST_NOT_SKEW else warning
        return judged("clock", said, "Set the clock by NTP; if it is, theirs is wrong.")
    return unchecked("clock", "No answer carried a Date header.")


def _date_of(answer: Answer | None) -> datetime | None:
    if answer is None or "Age" in answer.headers:  # out of a cache, and so from earlier
        return None
    try:
        date = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
