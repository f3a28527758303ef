"""For sentry-sdk: ``before_send``, with twins for transactions and log lines. They take out of an
event what Sentry had read of a request before any of our code ran, or did not know for a secret.

Nothing is imported from sentry-sdk, so that settings may import this before it is set up.
"""

import re
from typing import Any, Final

__all__ = ["before_send", "before_send_log", "before_send_transaction"]

FILTERED: Final = "[Filtered]"
MAX_DEPTH: Final = 20  # Sentry's own events are never so deep
COOKIE: Final = "connected_accounts_token"
_NAME: Final = r"(?:code|state|[\w.-]*(?:token|secret|verifier)[\w.-]*)"
_IN_ADDRESS: Final = re.compile(rf"([?&]{_NAME}=)[^&#\s'\"]+", re.I)
# In an address that is itself a parameter of another.
_IN_INNER_ADDRESS: Final = re.compile(rf"((?:%3F|%26){_NAME}%3D)(?:(?!%26)[^&#\s'\"])+", re.I)
_IN_QUERY: Final = re.compile(rf"((?:^|&){_NAME}=)[^&#\s'\"]+", re.I)
_IN_COOKIES: Final = re.compile(rf"({COOKIE}=)[^;\s'\"]+")
_QUERIES: Final = ("query_string", "http.query", "url.query")
_SECRET: Final = re.compile(r"token|secret|verifier", re.I)
_OF_A_CALLBACK: Final = ("code", "state")


def before_send(event: Any, hint: Any) -> Any:
    """The event without codes, states, tokens, and secrets that were posted. ``hint`` is not read.

    Hand it to ``sentry_sdk.init``, or call it in a ``before_send`` of your own. The rest of every
    address, form and variable stays.
    """
    request = event.get("request")
    if isinstance(request, dict) and isinstance(request.get("query_string"), dict | list | tuple):
        request["query_string"] = _parameters(request["query_string"])
    return _cleaned(event)


before_send_transaction = before_send
before_send_log = before_send


def _cleaned(value: Any, name: str = "", depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        return FILTERED
    if isinstance(value, dict):
        for key in value:
            value[key] = _cleaned(value[key], str(key), depth + 1)
    elif isinstance(value, list | tuple):
        return [_cleaned(one, name, depth + 1) for one in value]
    elif isinstance(value, str):
        if _SECRET.search(name):
            return FILTERED
        patterns = (_IN_ADDRESS, _IN_INNER_ADDRESS, _IN_COOKIES)
        for pattern in (*patterns, *((_IN_QUERY,) if name in _QUERIES else ())):
            value = pattern.sub(rf"\1{FILTERED}", value)
    return value


def _parameters(query: Any) -> Any:
    """A query that is no text, but pairs or a dictionary."""
    pairs = query.items() if isinstance(query, dict) else query
    return [
        (name, FILTERED if name in _OF_A_CALLBACK or _SECRET.search(str(name)) else value)
        for name, value in pairs
    ]
