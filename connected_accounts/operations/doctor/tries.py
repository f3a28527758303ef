"""Made-up requests to a provider, and what it says to them: nothing in them was ever anybody's."""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import requests

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    ReauthorizationRequired,
)
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.oauth2.transport import Answer

SHOWN: Final = re.compile(r"[A-Za-z0-9][\w .,:;/'()-]{2,79}", re.ASCII)


@dataclass(frozen=True)
class Call:
    """One request that went out, and its answer at a moment of ours, or the error's code."""

    method: str
    url: str
    at: datetime
    answer: Answer | None
    failure: str

    @property
    def was_refused(self) -> bool:
        return self.answer is not None and 400 <= self.answer.status < 500


@contextmanager
def watched() -> Iterator[list[Call]]:
    """Every call of this thread while it lasts, in their order."""
    calls: list[Call] = []

    def note(request: requests.Request, answer: Answer | None, code: str) -> None:
        calls.append(Call(str(request.method), str(request.url), datetime.now(UTC), answer, code))

    token = transport.listener.set(note)
    try:
        yield calls
    finally:
        transport.listener.reset(token)


class Kind(StrEnum):
    """An answer, as the app reads it."""

    CLIENT_REFUSED = "client"
    GRANT_REFUSED = "grant"
    ACCEPTED = "accepted"
    REFUSED = "refused"  # by a 4xx that is neither
    NONE = "none"  # no answer, or a 5xx
    NOT_SENT = "not_sent"


@dataclass(frozen=True)
class Said:
    """An answer to a made-up request. ``word`` is its own error, or ``status_400`` and the like."""

    kind: Kind
    word: str = ""
    status: int | None = None
    text: str = ""  # a part of what it says that can be shown, for an option to look for
    problem: ConnectedAccountsError | None = None


def made_up(length: int = 32) -> str:
    """A value that cannot be anybody's."""
    return f"made-up-{secrets.token_urlsafe(length)}"


def attempt(send: Callable[[], Any], calls: Sequence[Call]) -> Said:
    """Send one made-up request; ``calls`` are those that are watched."""
    before, problem, kind = len(calls), None, Kind.ACCEPTED
    try:
        send()
    except ConfigurationError as error:
        return Said(Kind.NOT_SENT, problem=error)
    except ConnectedAccountsError as error:
        problem, kind = error, _kind_of(error)
    answer = calls[-1].answer if len(calls) > before else None
    if answer is None:
        return Said(kind, getattr(problem, "code", ""), problem=problem)
    payload = parse_json_object(answer.body) or {}
    word = payload.get("error")
    word = word if isinstance(word, str) and SHOWN.fullmatch(word) else f"status_{answer.status}"
    return Said(kind, word, answer.status, _text_of(payload, word), problem)


def _kind_of(error: ConnectedAccountsError) -> Kind:
    if isinstance(error, ClientRejected):
        return Kind.CLIENT_REFUSED
    if isinstance(error, ReauthorizationRequired):
        return Kind.GRANT_REFUSED
    refused = isinstance(error, ProviderError) and error.refused
    return Kind.REFUSED if refused else Kind.NONE


def _text_of(payload: dict[str, Any], word: str) -> str:
    said = [payload.get(name) for name in ("error_description", "message", "detail", "error")]
    texts = [text for text in said if isinstance(text, str) and SHOWN.fullmatch(text)]
    texts = [text for text in texts if "made-up" not in text]  # which it quotes
    return next((text.lower() for text in texts if text != word), word)
