"""A 401 of the provider's API: renewed once, repeated once, and only what can be sent again."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.oauth2.session import ProviderSession, origin_of
from connected_accounts.secret import Secret

pytestmark = pytest.mark.usefixtures("own_connections")


class Store:
    """The stored token and how often it was renewed, as the services would do it."""

    def __init__(self) -> None:
        self.token = "token-0"
        self.renewals: list[str] = []

    def get(self) -> Secret:
        return Secret(self.token)

    def renew(self, failed: Secret) -> Secret:
        if failed.reveal() == self.token:
            self.renewals.append(self.token)
            self.token = f"token-{len(self.renewals)}"
        return self.get()


@pytest.fixture
def store() -> Store:
    return Store()


def session_for(server: Any, store: Store, **kwargs: Any) -> ProviderSession:
    names = {"access_token": store.get, "renew": store.renew, **kwargs}
    return ProviderSession(
        client_id="c", base_url=server.url, origins={origin_of(server.url)}, **names
    )


def bearers(server: Any) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


@pytest.fixture
def takes_only(serve: Any, answering: Any) -> Any:
    """A server that answers 401 to every token but one."""

    def make(good: str) -> Any:
        return serve(
            lambda request, line: answering(
                request.body, 200 if request.headers["authorization"] == f"Bearer {good}" else 401
            )
        )

    return make


def test_a_token_that_works_is_not_renewed(takes_only: Any, store: Store) -> None:
    server = takes_only("token-0")
    session = session_for(server, store)
    assert [session.get("/").status_code for _ in range(3)] == [200] * 3
    assert store.renewals == []


def test_after_a_401_the_call_is_repeated_with_the_renewed_token(
    takes_only: Any, store: Store
) -> None:
    server = takes_only("token-1")
    answer = session_for(server, store).post("/data", data={"a": "b"})
    assert (answer.status_code, answer.text) == (200, "a=b")
    assert bearers(server) == ["token-0", "token-1"]
    assert store.renewals == ["token-0"]


def test_a_second_401_is_returned(takes_only: Any, store: Store) -> None:
    server = takes_only("none")
    assert session_for(server, store).get("/").status_code == 401
    assert bearers(server) == ["token-0", "token-1"]
    assert store.renewals == ["token-0"]


def test_a_token_that_another_renewed_meanwhile_is_used_as_it_is(
    takes_only: Any, store: Store
) -> None:
    server = takes_only("token-other")
    session = session_for(server, store, renew=lambda failed: Secret("token-other"))
    assert session.get("/").status_code == 200
    assert store.renewals == []


def test_a_renewal_that_brings_the_same_token_repeats_nothing(
    takes_only: Any, store: Store
) -> None:
    server = takes_only("none")
    session = session_for(server, store, renew=lambda failed: failed)
    assert session.get("/").status_code == 401
    assert len(server.requests) == 1


def test_without_a_way_to_renew_the_401_is_returned(takes_only: Any, store: Store) -> None:
    server = takes_only("none")
    assert session_for(server, store, renew=None).get("/").status_code == 401
    assert len(server.requests) == 1


def test_a_renewal_that_fails_is_raised(takes_only: Any, store: Store) -> None:
    def renew(failed: Secret) -> Secret:
        raise ReauthorizationRequired("revoked")

    with pytest.raises(ReauthorizationRequired):
        session_for(takes_only("none"), store, renew=renew).get("/")


def chunks() -> Iterator[bytes]:
    yield b"a"
    yield b"b"


@pytest.mark.parametrize("body", [chunks, lambda: BytesIO(b"file")], ids=["generator", "file"])
def test_a_body_that_can_be_read_once_is_not_sent_again(
    body: Any, serve: Any, answering: Any, store: Store
) -> None:
    # Hangs up after its answer: it does not read a chunked body.
    refusal = answering(b"", 401, Connection="close")
    server = serve(lambda request, line: line.sendall(refusal))
    assert session_for(server, store).post("/", data=body()).status_code == 401
    assert len(server.requests) == 1
    assert store.renewals == []


@pytest.mark.parametrize(
    "body",
    [{"data": b"bytes"}, {"data": "text"}, {"data": {"a": "b"}}, {"json": {"a": 1}}, {}],
    ids=repr,
)
def test_a_body_in_memory_is_sent_again_whole(body: Any, takes_only: Any, store: Store) -> None:
    server = takes_only("token-1")
    assert session_for(server, store).put("/", **body).status_code == 200
    first, second = server.requests
    assert first.body == second.body


def test_a_401_behind_a_redirect_is_renewed_once(serve: Any, answering: Any, store: Store) -> None:
    def answer(request: Any, line: Any) -> bytes:
        moved = request.target == "/old"
        return answering(b"", 302, Location="/new") if moved else answering(b"", 401)

    server = serve(answer)
    assert session_for(server, store).get("/old").status_code == 401
    assert store.renewals == ["token-0"]
    assert [request.target for request in server.requests] == ["/old", "/new", "/new"]


def test_each_call_asks_for_the_token_of_that_moment(takes_only: Any, store: Store) -> None:
    server = takes_only("token-x")
    session = session_for(server, store, renew=None)
    assert session.get("/").status_code == 401
    store.token = "token-x"
    assert session.get("/").status_code == 200
