"""Tokens that are bound to a key (RFC 9449), over real HTTP and at a server that verifies: by
``requests``, httpx and httpx2, and for a client that gets a token for itself."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import requests
from django.test import Client
from django.utils import timezone

from connected_accounts.connect.direct import connect_directly
from connected_accounts.contrib.httpx import ConnectedAccountAuth
from connected_accounts.contrib.httpx2 import ConnectedAccountAuth as AuthOfHttpx2
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2 import dpop, jose
from connected_accounts.services import get_access_token, get_session, refresh
from tests.journeys import run, set_row, stored
from tests.strong.conftest import Use, connect, site_keys
from tests.strong.server import StrongServer

BOUND = {"dpop": True, "token_endpoint_auth_method": "none"}
Call = Callable[..., int]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[StrongServer]:
    dpop.forget_nonces()
    with StrongServer("proof") as started:
        started.nonce = "first"
        yield started
    dpop.forget_nonces()


@pytest.fixture
def account(server: StrongServer, use: Use, client_of_ada: Client) -> ConnectedAccount:
    use(server, BOUND)
    found = connect(client_of_ada, server)
    set_row(found, connected_at=timezone.now() - timedelta(minutes=5))  # a new token is not renewed
    return found


@pytest.fixture(params=["requests", "httpx", "httpx, async", "httpx2", "httpx2, async"])
def call(request: pytest.FixtureRequest, account: ConnectedAccount) -> Call:
    """Call the API by one of the libraries; the status of its answer."""
    name, _, in_loop = request.param.partition(", ")
    library: ModuleType = {"requests": requests, "httpx": httpx, "httpx2": httpx2}[name]
    auth: Any = (AuthOfHttpx2 if name == "httpx2" else ConnectedAccountAuth)(account)

    def call(method: str, url: str, **kwargs: Any) -> int:
        if library is requests:
            return get_session(account).request(method, url, **kwargs).status_code

        async def asynchronously() -> int:
            async with library.AsyncClient(auth=auth, trust_env=False) as client:
                return int((await client.request(method, url, **kwargs)).status_code)

        if in_loop:
            return int(run(asynchronously()))
        with library.Client(auth=auth, trust_env=False) as client:
            return int(client.request(method, url, **kwargs).status_code)

    return call


def test_a_call_is_proved_and_the_nonce_that_is_asked_for_is_given(
    server: StrongServer, call: Call
) -> None:
    url = f"{server.issuer}/me"
    assert call("GET", url, params={"page": "2"}) == 200
    server.nonce = "second"
    assert call("POST", url, json={"a": 1}) == 200
    said = [(proof["htm"], proof["nonce"]) for proof in server.proofs[-3:]]
    assert said == [("GET", "first"), ("POST", "first"), ("POST", "second")]
    assert server.sent("/me")[-1] == server.sent("/me")[-2]
    assert len(server.sent("/token")) == 2  # of which the first was without a nonce


def test_a_dead_token_is_renewed_with_the_same_key_also_where_the_nonce_is_another(
    server: StrongServer, call: Call, account: ConnectedAccount
) -> None:
    before = stored(account)
    server.end_access_tokens()
    server.nonce = "second"
    assert call("GET", f"{server.issuer}/me") == 200
    after = stored(account)
    assert after["dpop_key"] == before["dpop_key"]
    assert after["access_token"] != before["access_token"]
    assert [form["grant_type"] for form in server.sent("/token")][-1] == "refresh_token"


def test_a_stolen_token_is_worth_nothing_without_the_key(
    server: StrongServer, account: ConnectedAccount
) -> None:
    assert_it_needs_the_key(server, account)


def assert_it_needs_the_key(server: StrongServer, account: ConnectedAccount) -> None:
    url = f"{server.issuer}/me"
    assert get_session(account).get(url).status_code == 200
    token = get_access_token(account)
    anothers = dpop.BoundToken(token, dpop.new_proof_key())
    stolen = [
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"DPoP {token}"},
        dpop.authorization(anothers, "GET", url),
    ]
    for headers in stolen:
        assert requests.get(url, headers=headers, timeout=5).status_code == 401


def test_a_client_gets_a_bound_token_for_itself_by_its_key_and_another_when_that_ends(
    use: Use,
) -> None:
    dpop.forget_nonces()
    with StrongServer("assertion", "proof", keys=site_keys) as server:
        server.nonce = "first"
        options = {"grant_type": "client_credentials", "dpop": True}
        use(server, options, CLIENT_KEY=jose.new_key().private_pem().reveal())
        account, _ = connect_directly(user=None, provider="bank", values={})
        assert_it_needs_the_key(server, account)
        before = stored(account)
        server.nonce = "second"
        refresh(account)
        assert stored(account)["access_token"] != before["access_token"]
        assert_it_needs_the_key(server, account)
        assert {form["grant_type"] for form in server.sent("/token")} == {"client_credentials"}
        # Each try has an assertion of its own, that for the sake of the nonce too.
        sent = [form["client_assertion"] for form in server.sent("/token")]
        assert len(set(sent)) == len(sent) == 4
