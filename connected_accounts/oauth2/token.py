"""Reading a token endpoint's answer (RFC 6749 5.1), without trusting any of it."""

import json
import math
import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.secret import Secret

__all__ = ["TokenResponse"]

MAX_TOKEN: Final = 64 * 1024
MAX_SCOPES: Final = 200
MAX_SCOPE: Final = 255  # characters
MAX_LIFE: Final = 10 * 365 * 86400  # seconds
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True)
class TokenResponse:
    """A checked token answer. Lives are seconds from the moment the request was sent, or None.

    ``scope`` is None when the answer does not say. ``raw`` is the provider's own document, for
    ``fetch_identity``, and ``claims`` what a checked id_token says; neither is stored nor shown.
    """

    access_token: Secret
    refresh_token: Secret | None = None
    token_type: str = "Bearer"  # noqa: S105  # the name of a scheme
    expires_in: int | None = None
    refresh_token_expires_in: int | None = None
    scope: tuple[str, ...] | None = None
    id_token: Secret | None = field(default=None, repr=False)
    api_base: str = ""  # of this grant's own API, where the provider tells it so
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def expires_at(self, sent_at: datetime) -> datetime | None:
        return _after(sent_at, self.expires_in)

    def refresh_token_expires_at(self, sent_at: datetime) -> datetime | None:
        return _after(sent_at, self.refresh_token_expires_in)


@dataclass(frozen=True)
class LifeField:
    """The place in an answer that tells how long a token lives: the first of ``names`` that has a
    value, in one of ``UNITS``. ``untold`` is the life in seconds where it tells none, and 0 where
    nobody knows."""

    names: tuple[str, ...]
    unit: str = "seconds"
    untold: int = 0

    def seconds_in(self, payload: Mapping[str, Any]) -> int | None:
        """The life that is left, in seconds, or None."""
        values = (payload.get(name) for name in self.names)
        told = next((value for value in values if value not in (None, "")), None)
        return UNITS[self.unit](told) or seconds(self.untold)


def _after(moment: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else moment + timedelta(seconds=seconds)


def is_unavailable(status: int) -> bool:
    """Whether a status says that the server serves nobody just now: 429 (RFC 6585 4) or 5xx."""
    return status == 429 or status >= 500


def parse_json(body: bytes) -> Any:
    """Decode a JSON body, whatever it is labelled. Raises UnexpectedResponse (``not_json``).

    Refuses what lenient parsers let through: NaN, duplicate keys, nesting without end.
    """
    with suppress(ValueError, RecursionError):
        return _JSON.decode(body.decode("utf-8-sig"))
    # Outside, so that it does not carry the parser's error, which holds the body.
    raise UnexpectedResponse("not_json")


def parse_json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in ``body``, or None where it is anything else."""
    try:
        payload = parse_json(body)
    except UnexpectedResponse:
        return None
    return payload if isinstance(payload, dict) else None


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path such as ``data.0.id``; None where there is no plain value."""
    for step in path.split("."):
        if isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, Mapping):
            document = document.get(step)
        else:
            return None
    return None if isinstance(document, bool | list | Mapping) else document


def parse_form(body: bytes) -> dict[str, Any] | None:
    """The fields of a form-encoded body, as drafts of OAuth 2.0 had answers; None for anything
    else."""
    try:
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=50)
    except ValueError:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant
)


def read_token_response(
    payload: Mapping[str, Any],
    *,
    scope_separator: str = " ",
    token_types: Collection[str] = ("bearer",),
    access_token_life: LifeField = LifeField(("expires_in",)),
    refresh_token_life: LifeField = LifeField(("refresh_token_expires_in",)),
) -> TokenResponse:
    """Check a token answer in RFC 6749's words. Raises UnexpectedResponse, which never quotes it.

    A life may be a number or a decimal string. One that is missing, unreadable, nought or less is
    None: not told, or without end, which is not the same as expired. A missing ``token_type`` is a
    bearer.
    """
    token_type = payload.get("token_type")
    if token_type is not None and str(token_type).lower() not in map(str.lower, token_types):
        raise UnexpectedResponse("token_type")
    access_token = _token(payload.get("access_token"))
    if access_token is None:
        raise UnexpectedResponse("access_token")
    refresh_token = _token(payload.get("refresh_token"))
    if refresh_token is None:  # settings speak of one that is given, and none is
        refresh_token_life = replace(refresh_token_life, untold=0)
    return TokenResponse(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=access_token_life.seconds_in(payload),
        refresh_token_expires_in=refresh_token_life.seconds_in(payload),
        scope=read_scope(payload.get("scope"), scope_separator),
        id_token=_token(payload.get("id_token")),
        raw=payload,
    )


def _token(value: Any) -> Secret | None:
    """None for an absent or empty token; UnexpectedResponse for one that no header could carry."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_TOKEN or not _TOKEN.fullmatch(value):
        raise UnexpectedResponse("token_characters")
    return Secret(value)


def seconds(value: Any) -> int | None:
    """A life in whole seconds, from 1 to ten years; None where the value is no such thing."""
    number = _number(value)
    return None if number is None else int(min(max(number, 1), MAX_LIFE))


def wait_seconds(value: Any) -> float | None:
    """The wait that a throttle named, with its fraction: whoever asks a moment too early may be
    locked out for longer. None where the value is no such thing."""
    number = _number(value)
    return None if number is None else min(float(number), MAX_LIFE)


def _number(value: Any) -> float | None:
    """A number above nought, and not beyond all measure, or None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(value, _END) if value > 0 else None


def _until(value: Any, per_second: int = 1) -> int | None:
    """The seconds until a moment that is counted since 1970."""
    moment = _number(value)
    return None if moment is None else seconds(moment / per_second - time.time())


def _until_date(value: Any) -> int | None:
    """The seconds until a moment in the form of ISO 8601; one without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return seconds((moment - datetime.now(UTC)).total_seconds())


_END: Final = 10**15  # far behind any moment, and still a float
# Kinds of values that tell how long a token lives.
UNITS: Final[Mapping[str, Callable[[Any], int | None]]] = {
    "seconds": seconds,
    "milliseconds": lambda value: None if (n := _number(value)) is None else seconds(n / 1000),
    "timestamp": _until,
    "timestamp_ms": lambda value: _until(value, 1000),
    "date": _until_date,
}


def read_scope(value: Any, separator: str) -> tuple[str, ...] | None:
    """The scopes in a string or a list, duplicates dropped; None where the answer does not say. The
    first ``MAX_SCOPES`` count, and none that is longer than ``MAX_SCOPE``: the token is good all
    the same, and must not be lost for them."""
    if isinstance(value, str):
        value = value.split(separator) if separator.strip() else value.split()
    if not isinstance(value, list | tuple):
        return None
    named = (item.strip() for item in value if isinstance(item, str))
    # A NUL or half a surrogate pair is no scope, and no database would take it.
    good = (s for s in named if s and len(s) <= MAX_SCOPE and s.isprintable())
    return tuple(islice(dict.fromkeys(good), MAX_SCOPES))
