"""An answer read as its bytes arrive is the answer that urllib3 reads from the whole."""

import gzip
import time
from http.client import HTTPException
from typing import Any

import pytest
import requests
import urllib3

from connected_accounts.exceptions import ProviderError
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.event_loop.response import MAX_HEAD, Response, TooLarge

LIMIT = 1000
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SQUEEZED = gzip.compress(b"a word")

ANSWERS: dict[str, bytes] = {
    "a length": HEAD + b"Content-Length: 5\r\n\r\nabcde",
    "no length": HEAD + b"\r\nabcde",
    "no length in HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nabcde",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
    "both kinds of line ends": b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nab",
    "a header in two lines": HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nab",
    "a header without a name": HEAD + b": a\r\nContent-Length: 2\r\n\r\nab",
    "a header without a colon": HEAD + b"X\r\nContent-Length: 2\r\n\r\nab",
    "an odd name": HEAD + b"@type: a\r\nContent-Length: 2\r\n\r\nab",
    "a space before the colon": HEAD + b"Content-Length : 2\r\n\r\nab",
    "no headers": HEAD + b"\r\n",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\nab",
    "a length below zero": HEAD + b"Content-Length: -2\r\n\r\nab",
    "a length that is none": HEAD + b"Content-Length: two\r\n\r\nab",
    "the same length twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "the same length in one line": HEAD + b"Content-Length: 2, 2\r\n\r\nab",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths in one line": HEAD + b"Content-Length: 2, 3\r\n\r\nabc",
    "more than its length": HEAD + b"Content-Length: 2\r\n\r\nabcde",
    "less than its length": HEAD + b"Content-Length: 6\r\n\r\nabcde",
    "a status of four digits": b"HTTP/1.1 0200 OK\r\nContent-Length: 2\r\n\r\nab",
    "a status of 99": b"HTTP/1.1 99 OK\r\nContent-Length: 2\r\n\r\nab",
    "a status that is none": b"HTTP/1.1 two OK\r\nContent-Length: 2\r\n\r\nab",
    "another version": b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nab",
    "no version": b"200 OK\r\nContent-Length: 2\r\n\r\nab",
    "an empty line first": b"\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "100 before": b"HTTP/1.1 100 Continue\r\nX: a\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab",
    "100 twice before": b"HTTP/1.1 100 Continue\r\n\r\n" * 2
    + HEAD
    + b"Content-Length: 2\r\n\r\nab",
    "103 before": b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab",
    "chunks": CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "chunks with trailers": CHUNKED + b"3\r\nabc\r\n0\r\nX: a\r\nY: b\r\n\r\n",
    "chunks with extensions": CHUNKED + b"3;a=b\r\nabc\r\n0;c\r\n\r\n",
    "chunks in capitals": CHUNKED + b"A\r\nabcdefghij\r\n0\r\n\r\n",
    "chunks with zeros before": CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n",
    "no chunk": CHUNKED + b"0\r\n\r\n",
    "chunks without the last line": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "chunks without the last chunk": CHUNKED + b"3\r\nabc\r\n",
    "half a chunk": CHUNKED + b"ff\r\nabc",
    "a chunk of no size": CHUNKED + b"x\r\nabc\r\n0\r\n\r\n",
    "an empty size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "chunks and a length": HEAD
    + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked among others": HEAD
    + b"Transfer-Encoding: identity, Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "another coding": HEAD + b"Transfer-Encoding: other\r\nContent-Length: 2\r\n\r\nab",
    "gzip": HEAD
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(SQUEEZED)
    + SQUEEZED,
    "gzip in chunks": HEAD
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(SQUEEZED), SQUEEZED),
    "gzip that is none": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
    "an encoding that nobody knows": HEAD + b"Content-Encoding: odd\r\nContent-Length: 2\r\n\r\nab",
    "nothing": b"",
    "half a head": HEAD + b"Content-Le",
}


def read(text: bytes, *, step: int) -> tuple[int, bytes] | None:
    """Status and body of an answer that arrives so many bytes at a time; None: it is none."""
    response = Response(LIMIT)
    try:
        for begin in range(0, len(text), step):
            if response.feed(text[begin : begin + step]):
                break
        else:
            response.end()
    except (HTTPException, ValueError, urllib3.exceptions.HTTPError):
        return None
    return response.status, response.body


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
@pytest.mark.parametrize("text", ANSWERS.values(), ids=ANSWERS)
def test_bytes_that_arrive_one_by_one_are_the_answer_that_urllib3_reads(
    text: bytes, step: int, serve: Any, own_connections: None, app_settings: Any
) -> None:
    def answer(request: Any, line: Any) -> None:
        line.sendall(text)

    try:
        whole = transport.fetch(requests.Request("POST", serve(answer).url))
    except ProviderError:
        assert read(text, step=step) is None
    else:
        assert read(text, step=step) == (whole.status, whole.body)


def test_names_of_headers_are_read_in_any_case_and_twice() -> None:
    response = Response(LIMIT)
    response.feed(HEAD + b"x-one: a\r\nX-One: b\r\nContent-Length: 0\r\n\r\n")
    assert response.headers["X-ONE"] == "a, b"


def test_an_interim_answer_is_never_the_answer() -> None:
    response = Response(LIMIT)
    for status in (b"102 Processing", b"103 Early Hints", b"199 Odd"):
        assert not response.feed(b"HTTP/1.1 " + status + b"\r\nX: y\r\n\r\n")
    assert response.feed(HEAD + b"Content-Length: 2\r\n\r\nab")
    assert (response.status, response.body) == (200, b"ab")


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nab", True),
        (CHUNKED + b"2\r\nab\r\n0\r\n\r\n", True),
        (HEAD + b"Content-Length: 2\r\n\r\nabc", False),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False),
        (HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nab", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", False),
    ],
)
def test_a_connection_is_left_to_another_where_nothing_more_is_to_come(
    text: bytes, follows: bool
) -> None:
    response = Response(LIMIT)
    assert response.feed(text)
    assert response.may_follow is follows


# --- No further than the limit ------------------------------------------------------------------

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a body without a length": (HEAD + b"\r\n", b"x"),
    "a length over the limit": (HEAD + b"Content-Length: 1001\r\n\r\n", b"x"),
    "small chunks": (CHUNKED, b"1\r\nx\r\n"),
    "a large chunk": (CHUNKED + b"fffff\r\n", b"x"),
    "a chunk below zero": (CHUNKED + b"-1\r\n", b"x"),
    "a long size": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n"),
    "a long header": (HEAD + b"X: ", b"x"),
    "many headers": (HEAD, b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "an interim answer's headers": (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_refused_at_the_limit(begin: bytes, more: bytes) -> None:
    response, began, fed = Response(LIMIT), time.process_time(), [begin]

    def feed_on() -> None:
        while len(fed) * len(more) < 2 * MAX_HEAD:
            response.feed(fed[-1])
            fed.append(more)

    with pytest.raises(HTTPException):
        feed_on()
    assert len(fed) * len(more) <= MAX_HEAD + LIMIT
    assert time.process_time() - began < 20, "no byte is looked at over and over"


def test_a_small_answer_that_unpacks_to_more_is_refused() -> None:
    bomb = gzip.compress(bytes(LIMIT + 1))
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with pytest.raises(TooLarge):
        Response(LIMIT).feed(head + bomb)
