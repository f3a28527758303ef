"""The connections to providers: used again, replaced in time, one for each call at once."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2 import transport, wire
from connected_accounts.oauth2.transport import MAX_BODY, Answer
from tests.oauth2.ways import way

__all__ = ["way"]  # a fixture


def post(url: str) -> Answer:
    return transport.fetch(requests.Request("POST", url))


def test_a_connection_is_used_again(serve: Any) -> None:
    server = serve()
    for _ in range(5):
        post(server.url)
    assert [request.line for request in server.requests] == [1] * 5


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    post(server.url)
    monkeypatch.setattr(wire, "MAX_IDLE", 0.0)
    post(server.url)
    assert [request.line for request in server.requests] == [1, 2]


def test_a_connection_that_the_server_closed_is_replaced(serve: Any, answering: Any) -> None:
    closed = threading.Event()

    def once(request: Any, line: Any) -> None:
        line.sendall(answering(b"x"))
        closed.set()

    server = serve(once)
    for _ in range(3):
        closed.clear()
        assert post(server.url).body == b"x"
        assert closed.wait(5)
        ends = time.monotonic() + 5
        while server.lines[-1].fileno() != -1 and time.monotonic() < ends:
            threading.Event().wait(0.01)
    assert [request.line for request in server.requests] == [1, 2, 3]


def test_an_answer_that_was_cut_off_is_not_left_on_the_connection(
    serve: Any, answering: Any
) -> None:
    answers = iter([answering(b"x" * (2 * MAX_BODY)), answering(b"second")])
    server = serve(lambda request, line: next(answers))
    with pytest.raises(UnexpectedResponse):
        post(server.url)
    assert post(server.url).body == b"second"


def test_the_answer_behind_an_interim_one_is_not_left_to_the_next_request(
    serve: Any, answering: Any
) -> None:
    answers = iter([b"for one", b"for another"])

    def answer(request: Any, line: Any) -> bytes:
        line.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        time.sleep(0.05)  # what was read as a whole answer would have been handed on by now
        return answering(next(answers))

    server = serve(answer)
    assert post(server.url).body == b"for one"
    assert post(server.url).body == b"for another"
    assert [request.line for request in server.requests] == [1, 1]


@pytest.mark.parametrize("way", ["a call"], indirect=True)
def test_closing_a_session_leaves_the_shared_connections_open(serve: Any) -> None:
    server = serve()
    for _ in range(2):
        with requests.Session() as session:
            session.mount("http://", transport.adapter())
            session.get(server.url)
        post(server.url)
    assert {request.line for request in server.requests} == {1}


def test_twenty_calls_at_once_each_get_their_own_answer(serve: Any, answering: Any) -> None:
    together = threading.Barrier(20)

    def answer(request: Any, line: Any) -> Any:
        together.wait(10)
        return answering(request.target)

    server = serve(answer)
    paths = [f"/{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        for _ in range(3):
            answers = list(pool.map(lambda path: post(server.url + path), paths))
            assert [got.body.decode() for got in answers] == paths
    assert len(server.lines) <= 20 + 2, "the connections were used again"


@pytest.mark.parametrize("way", ["a call"], indirect=True)
# Python 3.12 warns of every fork of a process with threads; that is what is tried here.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="optional: a system without fork")
def test_a_forked_child_makes_its_own_connections(serve: Any, answering: Any) -> None:
    stop = threading.Event()

    def answer(request: Any, line: Any) -> Any:
        if request.target == "/slow":
            stop.wait(20)
        return answering(request.target)

    server = serve(answer)
    post(f"{server.url}/parent")
    before = transport.adapter()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        said = "failed"
        try:
            fresh = transport.adapter() is not before
            got = post(f"{server.url}/child").body.decode()
            call = wire.Call(0.05)
            transport._watchdog.add(call)
            ends = time.monotonic() + 5
            while not call.expired and time.monotonic() < ends:
                threading.Event().wait(0.01)
            said = f"{fresh} {got} {call.expired}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "True /child True"
    os.waitpid(child, 0)
    post(f"{server.url}/parent-again")
    lines = {request.target: request.line for request in server.requests}
    assert lines == {"/parent": 1, "/child": 2, "/parent-again": 1}
