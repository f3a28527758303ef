"""A bearer in the query (RFC 6750 2.3) is in the bytes that are sent, and nowhere else: seen with
real sockets, and every logger at its most talkative."""

import pprint
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import ConnectedAccountsError, UnexpectedResponse
from connected_accounts.oauth2.session import ProviderSession, origin_of
from connected_accounts.secret import Secret

TOKEN = "canary-in-the-query"
MANGLED = b"HTTP/1.1 200 OK\r\nbroken header line\r\nContent-Length: 2\r\n\r\n"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, own_connections: None) -> Iterator[None]:
    """Every line of the test, at any level; none may show the token."""
    caplog.set_level(1)
    for name in ("urllib3", "urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
        caplog.set_level(1, logger=name)
    yield
    records = caplog.get_records("call")
    assert "urllib3.connectionpool" in {record.name for record in records}
    for record in records:
        shown = record.getMessage() + repr(vars(record))
        if record.exc_info and record.exc_info[1]:
            shown += "".join(traceback.format_exception(record.exc_info[1]))
        assert TOKEN not in shown, record.name


def session_to(url: str, **options: Any) -> ProviderSession:
    return ProviderSession(
        client_id="client",
        base_url=f"{url}/v3",
        origins={origin_of(url)},
        access_token=lambda: Secret(TOKEN),
        bearer_method="query",
        **options,
    )


def frames_of(error: BaseException | None) -> Iterator[str]:
    """What an error page or an error tracker shows: each error, and the values in each frame."""
    while error is not None:
        yield repr(error) + str(error) + repr(vars(error))
        tb = error.__traceback__
        while tb is not None:
            if "connected_accounts" in tb.tb_frame.f_code.co_filename:
                yield from map(pprint.pformat, tb.tb_frame.f_locals.values())
            tb = tb.tb_next
        error = error.__cause__ or error.__context__


def call(session: ProviderSession) -> requests.Response:
    return session.get("dashboards?page=2&access_token=another", headers={"X-One": "1"})


def test_the_token_is_sent_in_the_query_alone_and_the_answer_does_not_show_it(
    serve: Callable[..., Any], logged: None
) -> None:
    server = serve()
    seen: list[str] = []
    session = session_to(server.url)
    session.hooks["response"].append(lambda response, **_: seen.append(response.url))

    response = call(session)

    [sent] = server.requests
    assert sent.target == f"/v3/dashboards?page=2&access_token={TOKEN}"
    assert "authorization" not in sent.headers
    assert response.url == f"{server.url}/v3/dashboards?page=2&access_token=another"
    assert response.request.url == response.url
    assert seen == [response.url]
    shown = [vars(response), vars(response.request), vars(response.raw), response.raw.url]
    assert TOKEN not in pprint.pformat(shown)
    response.status_code = 500
    with pytest.raises(requests.HTTPError) as caught:
        response.raise_for_status()
    assert TOKEN not in str(caught.value)


def test_a_redirect_is_not_followed(
    serve: Callable[..., Any], logged: None, answering: Callable[..., bytes]
) -> None:
    server = serve(answering(status=302, Location="/elsewhere"))

    response = call(session_to(server.url))

    assert (response.status_code, len(server.requests)) == (302, 1)
    assert TOKEN not in pprint.pformat([vars(response), vars(response.next or response)])


def test_after_a_401_the_new_token_is_sent_and_neither_is_shown(
    serve: Callable[..., Any], logged: None, answering: Callable[..., bytes]
) -> None:
    server = serve(answering(status=401))
    renewed = Secret(f"{TOKEN}-2")

    response = call(session_to(server.url, renew=lambda failed: renewed))

    assert [sent.target.endswith("-2") for sent in server.requests] == [False, True]
    assert TOKEN not in pprint.pformat([vars(response), vars(response.request)])


@pytest.mark.parametrize(
    "answer",
    [None, b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"],
    ids=["hangs up", "no HTTP", "broken off"],
)
def test_a_call_that_fails_does_not_show_the_token(
    serve: Callable[..., Any], logged: None, answer: bytes | None
) -> None:
    server = serve(lambda request, line: answer and (line.sendall(answer), line.shutdown(2))[1])

    with pytest.raises(requests.RequestException) as caught:
        call(session_to(server.url))

    assert not [text for text in frames_of(caught.value) if TOKEN in text]


def test_a_host_that_is_not_there_does_not_show_the_token(
    serve: Callable[..., Any], logged: None
) -> None:
    server = serve()
    server.stop()

    with pytest.raises(requests.ConnectionError) as caught:
        call(session_to(server.url))

    assert not [text for text in frames_of(caught.value) if TOKEN in text]


def test_headers_that_cannot_be_read_are_logged_without_the_token(
    serve: Callable[..., Any], logged: None, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda request, line: line.sendall(MANGLED))

    call(session_to(server.url))
    with pytest.raises(UnexpectedResponse, match="not_json"):
        session_to(server.url).fetch("GET", "dashboards")

    assert "urllib3.connection" in {record.name for record in caplog.records}
    assert [TOKEN in sent.target for sent in server.requests] == [True, True]


@pytest.mark.parametrize("status", [200, 302, 401, 429, 500])
@pytest.mark.parametrize("body", ["no JSON", "x" * (1024 * 1024 + 1)], ids=["text", "huge"])
def test_a_failed_fetch_does_not_show_the_token(
    serve: Callable[..., Any], logged: None, answering: Callable[..., bytes], status: int, body: str
) -> None:
    server = serve(answering(body, status=status))

    with pytest.raises(ConnectedAccountsError) as caught:
        session_to(server.url).fetch("GET", "dashboards")

    assert server.requests[0].target == f"/v3/dashboards?access_token={TOKEN}"
    assert not [text for text in frames_of(caught.value) if TOKEN in text]
