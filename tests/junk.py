"""What anybody may send to the callback: query strings and cookies, odd in every way."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.test import Client
from hypothesis import strategies as st

from connected_accounts.oauth2 import state

NAMES = ["code", "state", "iss", "error", "error_description", "error_uri", "bounced", "scope", "x"]
WORDS = [
    "",
    "null",
    "undefined",
    "0",
    "-1",
    "true",
    "[]",
    "{}",
    "%",
    "%00",
    "\x00",
    "\r\n",
    "\ud800",
]
WORDS += [
    "a" * 513,
    "a" * 4097,
    "a" * 8192,
    "💥" * 100,
    "access_denied",
    "invalid_request",
    "../..",
]
WORDS += ["' OR 1=1 --", "<script>", "{{7*7}}", "http://[::1", "٣" * 43, "%c0%80", "%ff%fe"]


@dataclass
class Flow:
    """An authorization that is open, so that some of the junk is nearly right."""

    session: str
    state: str
    cookie: str


@dataclass
class Input:
    query: str
    cookies: str = field(repr=False)
    provider: str = "badgr"


def values(flow: Flow) -> st.SearchStrategy[str]:
    right = [flow.state, flow.cookie, state.sign(state.new_secret()), state.sign("short"), "."]
    return st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(right),
        st.text(max_size=60),
        st.text(alphabet="0123456789abcdefABCDEF.-_", max_size=90),
        st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")),
        st.builds(lambda text, at: text[:at], st.just(flow.state), st.integers(0, 90)),
    )


def inputs(flow: Flow) -> st.SearchStrategy[Input]:
    pairs = st.lists(st.tuples(st.sampled_from(NAMES), values(flow), st.booleans()), max_size=6)
    raw = st.binary(max_size=120).map(lambda text: text.decode("latin-1"))
    queries = st.one_of(pairs.map(_as_query), pairs.map(_as_query), raw)
    ours = st.one_of(st.just(flow.cookie), values(flow), st.none())
    return st.builds(
        Input,
        query=queries,
        cookies=ours.map(lambda value: _as_cookies(flow, value)),
        provider=st.sampled_from(["badgr", "badgr", "badgr", "bitbadges", "nobody"]),
    )


def _as_query(pairs: list[tuple[str, str, bool]]) -> str:
    return "&".join(
        f"{name}={quote(value, safe='', errors='surrogatepass') if encoded else value}"
        for name, value, encoded in pairs
    )


def _as_cookies(flow: Flow, value: str | None) -> str:
    ours = "" if value is None else f"; connected_accounts_token={value}"
    return f"sessionid={flow.session}{ours}"


def send(client: Client, junk: Input, seen: Counter[int]) -> int:
    """One callback; counts and returns its status. What fails inside is a 500, as on a site."""
    client.raise_request_exception = False
    extra: dict[str, Any] = {
        "QUERY_STRING": _in_environ(junk.query),
        "HTTP_COOKIE": _in_environ(junk.cookies),
    }
    status = client.get(f"/connections/{junk.provider}/callback/", **extra).status_code
    seen[status] += 1
    return status


def _in_environ(text: str) -> str:
    """As a WSGI server passes what it read: each byte a character (PEP 3333)."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")
