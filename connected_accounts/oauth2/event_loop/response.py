"""Reading an HTTP/1.1 answer whose bytes arrive one by one.

``http.client`` reads it, as it does below urllib3, so that what the one takes the other takes: an
answer that only one of them could read would be the loss of a refresh token that was rotated. It
reads from a file, which says here when it has not enough.
"""

from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import Any, Final, cast

import urllib3
from urllib3 import HTTPHeaderDict

from connected_accounts.oauth2.wire import MAX_INTERIM, FinalResponse

MAX_HEAD: Final = 64 * 1024  # bytes of one answer's status and headers
MAX_FRAME: Final = 4 * 1024  # bytes before a chunk, or behind the last


class TooLarge(HTTPException):
    """An answer that is longer than may be read."""


class _NotYet(Exception):
    """More has to arrive."""


class _Received:
    """The bytes that have arrived, as the socket and the file that ``http.client`` reads from."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at = 0  # what was read before is done with
        self.ended = False  # nothing more will arrive

    def makefile(self, mode: str) -> "_Received":
        return self

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def readline(self, limit: int) -> bytes:
        end = self.data.find(b"\n", self.at, self.at + limit) + 1
        return self._take(end - self.at if end else limit, whole=not end)

    def read(self, count: int = -1) -> bytes:
        return self._take(count, whole=True)

    def read1(self, count: int = -1) -> bytes:
        return self._take(count, whole=False)

    def _take(self, count: int, *, whole: bool) -> bytes:
        short = count < 0 or self.left < count if whole else not self.left
        if short and not self.ended:
            raise _NotYet
        end = len(self.data) if count < 0 else min(self.at + count, len(self.data))
        taken = bytes(self.data[self.at : end])
        self.at = end
        return taken

    def forget(self) -> None:
        """Drop what was read before."""
        del self.data[: self.at]
        self.at = 0

    def close(self) -> None:
        pass


class Response:
    """One answer to a request that was not HEAD, at most ``limit`` bytes long. ``feed`` and ``end``
    say whether it is complete; then ``status``, ``headers`` and ``body`` may be read.

    They raise ``http.client.HTTPException``, ValueError or urllib3's HTTPError for what is no
    answer, and TooLarge.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = _Received()
        self._seen = 0  # no head ends before
        self._tries = 0
        self._answer: HTTPResponse | None = None
        self._chunks = bytearray()
        self.body = b""

    @property
    def status(self) -> int:
        return self._answer.status if self._answer is not None else 0

    @property
    def headers(self) -> HTTPHeaderDict:
        found = HTTPHeaderDict()  # what it does to be given all at once takes longer
        for name, value in self._answer.headers.items() if self._answer is not None else ():
            found.add(name, value)
        return found

    @property
    def may_follow(self) -> bool:
        """Whether another answer may follow on the same connection."""
        return self._answer is not None and not (self._answer.will_close or self._received.left)

    def feed(self, data: bytes) -> bool:
        """Take what arrived, unless the answer was complete before."""
        self._received.data += data
        return self._advance()

    def end(self) -> bool:
        """No more will arrive. Raises HTTPException where something is missing."""
        self._received.ended = True
        if not self._advance():
            raise HTTPException("The connection was closed before the answer was complete.")
        return True

    def _advance(self) -> bool:
        if self._answer is None and not self._read_head():
            return False
        answer = cast(HTTPResponse, self._answer)
        if answer.chunked:
            return self._read_chunks(answer)
        received, length = self._received, answer.length
        if (received.left if length is None else length) > self._limit:
            raise TooLarge
        if not received.ended and (length is None or received.left < length):
            return False
        return self._finish(answer.read())

    def _read_head(self) -> bool:
        received = self._received
        data, begin = received.data, max(self._seen - 3, 0)
        if data.find(b"\n\r\n", begin) < 0 and data.find(b"\n\n", begin) < 0 and not received.ended:
            self._seen = len(data)
            if self._seen > MAX_HEAD:
                raise TooLarge
            return False
        # Another one is needed where it was the head of an interim answer.
        self._seen, self._tries = len(data), self._tries + 1
        if self._tries > MAX_INTERIM + 1:
            raise HTTPException("Too many interim answers.")
        answer = FinalResponse(cast(Any, received), method="POST")
        try:
            answer.begin()
        except _NotYet:
            received.at = 0
            return False
        _refuse_two_lengths(answer)
        self._answer = answer
        return True

    def _read_chunks(self, answer: Any) -> bool:
        while True:
            begin, open_chunk = self._received.at, answer.chunk_left
            try:
                part = answer.read1()
            except _NotYet:
                if answer.chunk_left == open_chunk:
                    self._received.at = begin  # the frame of a chunk is read as a whole
                if self._received.left > MAX_FRAME:
                    raise TooLarge from None
                return False
            if not part:
                return self._finish(bytes(self._chunks))
            self._chunks += part
            self._received.forget()
            if len(self._chunks) > self._limit:
                raise TooLarge

    def _finish(self, body: bytes) -> bool:
        answer = cast(HTTPResponse, self._answer)
        if "content-encoding" in answer.headers:  # which nobody asked for
            whole = urllib3.HTTPResponse(BytesIO(body), self.headers, preload_content=False)
            body = whole.read(self._limit + 1, decode_content=True)
            if len(body) > self._limit:
                raise TooLarge
        self.body = body
        return True


def _refuse_two_lengths(answer: HTTPResponse) -> None:
    """Refuse two that differ, as urllib3 does: nobody knows which is right (RFC 9112 6.3)."""
    found = answer.headers.get_all("content-length") or []
    if answer.chunked or (len(found) == 1 and "," not in found[0]):
        return
    with suppress(ValueError):
        if len({int(one) for one in ",".join(found).split(",")}) > 1:
            raise HTTPException("The answer has two lengths.")
