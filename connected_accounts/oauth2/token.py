"""Reading a token endpoint's answer (RFC 6749 5.1), without trusting any of it."""

import json
import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.secret import Secret

__all__ = ["TokenResponse"]

MAX_TOKEN: Final = 64 * 1024
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
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
        )
    # Outside, so that it does not carry the parser's error, which holds the body.
    raise UnexpectedResponse("not_json")


def parse_json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in ``body``, or None where it is anything else."""
    try:
        payload = parse_json(body)
    except UnexpectedResponse:
        return None
    return payload if isinstance(payload, dict) else None


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


def read_token_response(
    payload: Mapping[str, Any],
    *,
    scope_separator: str = " ",
    token_types: Collection[str] = ("bearer",),
    refresh_token_expires_in_field: str = "refresh_token_expires_in",  # noqa: S107  # a field
) -> TokenResponse:
    """Check a token answer in RFC 6749's words. Raises UnexpectedResponse, which never quotes it.

    ``expires_in`` may be a number or a decimal string. A missing or unreadable one is None: not
    known, which is not the same as expired; nor is 0, which says that there is no end. A missing
    ``token_type`` is a bearer.
    """
    token_type = payload.get("token_type")
    if token_type is not None and str(token_type).lower() not in token_types:
        raise UnexpectedResponse("token_type")
    access_token = _token(payload.get("access_token"))
    if access_token is None:
        raise UnexpectedResponse("access_token")
    return TokenResponse(
        access_token=access_token,
        refresh_token=_token(payload.get("refresh_token")),
        expires_in=seconds(payload.get("expires_in")),
        refresh_token_expires_in=seconds(payload.get(refresh_token_expires_in_field)),
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
    """A life in whole seconds, from 1 to ten years; None where the value is no such thing, or says
    that there is no end: nobody gives a token that has expired already."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(min(max(value, 1), MAX_LIFE)) if value > 0 else None


def read_scope(value: Any, separator: str) -> tuple[str, ...] | None:
    """The scopes in a string or a list, duplicates dropped; None where the answer does not say."""
    if isinstance(value, str):
        value = value.split(separator) if separator.strip() else value.split()
    if not isinstance(value, list | tuple):
        return None
    named = (item.strip() for item in value if isinstance(item, str))
    # A NUL or half a surrogate pair is no scope, and no database would take it.
    return tuple(dict.fromkeys(s for s in named if s and s.isprintable()))
