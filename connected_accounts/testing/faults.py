"""The faults that a test can make an endpoint have instead of its own answer."""

import json as json_module
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import RemoteDisconnected
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import requests
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from connected_accounts import conf


class Scripted(Protocol):
    """One entry of a script. ``act`` is what the server would do and answer by itself."""

    # Whether the server gets to see the request.
    reaches_server: ClassVar[bool]

    def play(self, request: requests.PreparedRequest, act: "Callable[[], Answer]") -> "Answer": ...


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, given in place of what the server would have done: ``json`` or a ``body``."""

    status: int = 200
    json: Any = None
    body: str | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    reaches_server: ClassVar[bool] = True

    def play(self, request: requests.PreparedRequest, act: "Callable[[], Answer]") -> "Answer":
        return self

    def content(self) -> bytes:
        """The body as bytes; JSON where no ``body`` is given, nothing where there is neither."""
        if self.body is None:
            return b"" if self.json is None else json_module.dumps(self.json).encode()
        return self.body if isinstance(self.body, bytes) else self.body.encode()

    def all_headers(self) -> dict[str, str]:
        """The headers, with a content type that fits the body unless one is given."""
        kind = "text/html; charset=utf-8" if self.json is None else "application/json"
        return {"Content-Type": kind, **self.headers}


class TooManyRequests(Answer):
    """429, and when to come again; None: it does not say."""

    def __init__(self, retry_after: int | None = 60) -> None:
        told = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(429, body="", headers=told)


class BadGateway(Answer):
    """The proxy before the server cannot reach it: 502, and a page for people."""

    def __init__(self) -> None:
        super().__init__(502, body="<html><h1>502 Bad Gateway</h1></html>")


@dataclass(frozen=True)
class Redirect:
    """The server sends the client elsewhere, and does nothing."""

    url: str
    status: int = 307

    reaches_server: ClassVar[bool] = True

    def play(self, request: requests.PreparedRequest, act: Callable[[], Answer]) -> Answer:
        return Answer(self.status, body="", headers={"Location": self.url})


@dataclass(frozen=True)
class Timeout:
    """The server takes the request, does nothing and never answers."""

    reaches_server: ClassVar[bool] = True

    def play(self, request: requests.PreparedRequest, act: Callable[[], Answer]) -> Answer:
        error = ReadTimeoutError(_pool(request), request.path_url, "Read timed out.")
        raise requests.ReadTimeout(error, request=request)


@dataclass(frozen=True)
class Slow:
    """The server acts and answers after ``seconds``, for which nobody waits. Where ``HTTP_TIMEOUT``
    is over by then, its answer is not read any more."""

    seconds: float

    reaches_server: ClassVar[bool] = True

    def play(self, request: requests.PreparedRequest, act: Callable[[], Answer]) -> Answer:
        answer = act()
        return Timeout().play(request, act) if self.seconds > conf.get("HTTP_TIMEOUT") else answer


@dataclass(frozen=True)
class DropAnswer:
    """The server does what it was asked for, and its answer is lost on the way."""

    reaches_server: ClassVar[bool] = True

    def play(self, request: requests.PreparedRequest, act: Callable[[], Answer]) -> Answer:
        act()
        lost = RemoteDisconnected("Remote end closed connection without response")
        raise requests.ConnectionError(ProtocolError("Connection aborted.", lost), request=request)


@dataclass(frozen=True)
class ConnectionRefused:
    """Nobody listens: nothing is sent."""

    reaches_server: ClassVar[bool] = False

    def play(self, request: requests.PreparedRequest, act: Callable[[], Answer]) -> Answer:
        pool = _pool(request)
        reason = NewConnectionError(HTTPConnection(pool.host), "Connection refused")
        error = MaxRetryError(pool, request.path_url, reason)
        raise requests.ConnectionError(error, request=request)


def _pool(request: requests.PreparedRequest) -> HTTPConnectionPool:
    # For the errors' texts alone: it opens no connection.
    return HTTPConnectionPool(urlsplit(request.url or "").hostname or "provider.invalid")
