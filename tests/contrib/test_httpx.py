"""The bearer for httpx: to the provider's hosts only, renewed once, and never shown."""

import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connected_accounts.contrib.httpx import ConnectedAccountAuth
from connected_accounts.exceptions import ConfigurationError, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.services import disconnect, get_access_token
from connected_accounts.testing import CANARY, FakeProvider
from tests.journeys import run

pytestmark = pytest.mark.django_db(transaction=True)
API = "https://api.badgr.io/v2/backpack/assertions"
Answerer = Callable[[httpx.Request], httpx.Response]


class Badges:
    """Badgr's API: takes the newest token only, or what ``answer`` says."""

    def __init__(self, fake: FakeProvider, answer: Answerer | None = None) -> None:
        self.seen: list[str] = []
        self._fake, self._answer = fake, answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.headers.get("Authorization", ""))
        if self._answer:
            return self._answer(request)
        good = f"Bearer {self._fake.grants[0].access_token}"
        return httpx.Response(200 if self.seen[-1] == good else 401)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, account: ConnectedAccount) -> Callable[..., Any]:
    """Call ``url`` with either kind of client, at a server that is a function."""
    auth = ConnectedAccountAuth(account)

    def call(server: Any, url: str = API, method: str = "GET", **kwargs: Any) -> httpx.Response:
        options: dict[str, Any] = {"auth": auth, "transport": httpx.MockTransport(server)}
        if request.param == "sync":
            with httpx.Client(**options, follow_redirects=True) as client:
                return client.request(method, url, **kwargs)

        async def in_loop() -> httpx.Response:
            async with httpx.AsyncClient(**options, follow_redirects=True) as client:
                return await client.request(method, url, **kwargs)

        return run(in_loop())

    return call


def test_a_call_carries_the_token_of_the_moment(
    call: Any, account: ConnectedAccount, badgr: FakeProvider
) -> None:
    server = Badges(badgr)
    badgr.advance(days=2)

    assert call(server).status_code == 200
    assert server.seen == [f"Bearer {get_access_token(account)}"]


def test_a_refused_token_is_renewed_once_and_the_call_repeated(
    call: Any, badgr: FakeProvider
) -> None:
    server = Badges(badgr)
    badgr.advance(minutes=1)
    badgr.expire_access_tokens()

    assert call(server, method="POST", json={"a": 1}).status_code == 200
    assert len(set(server.seen)) == len(server.seen) == 2
    badgr.advance(hours=2)  # a cure is not tried again in the hour
    refuses = Badges(badgr, lambda request: httpx.Response(401))
    assert call(refuses).status_code == 401
    assert len(refuses.seen) == 2


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "http://api.badgr.io/", "https://api.badgr.io.evil.example/"]
)
def test_another_host_is_sent_nothing(call: Any, badgr: FakeProvider, url: str) -> None:
    server = Badges(badgr)

    with pytest.raises(ConfigurationError):
        call(server, url)
    assert server.seen == []


def test_a_redirect_to_another_host_carries_nothing_and_renews_nothing(
    call: Any, badgr: FakeProvider
) -> None:
    def leads_away(request: httpx.Request) -> httpx.Response:
        if request.url.host == "evil.example":
            return httpx.Response(401)
        return httpx.Response(302, headers={"Location": "https://evil.example/"})

    server = Badges(badgr, leads_away)
    tokens = len(badgr.sent_to("token"))

    assert call(server).status_code == 401
    assert server.seen[1:] == [""]
    assert len(badgr.sent_to("token")) == tokens


def test_an_account_that_is_gone_raises_its_error(
    call: Any, account: ConnectedAccount, badgr: FakeProvider
) -> None:
    disconnect(account)
    with pytest.raises(ReauthorizationRequired):
        call(Badges(badgr))


def test_it_neither_shows_nor_pickles_a_token(account: ConnectedAccount) -> None:
    auth = ConnectedAccountAuth(account)
    assert CANARY not in repr(auth) + str(auth)
    with pytest.raises(TypeError):
        pickle.dumps(auth)


def test_a_provider_that_people_name_is_left_to_the_guarded_session(
    account: ConnectedAccount, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONS={"region": "us", "bearer_method": "query"})
    with pytest.raises(ConfigurationError, match="get_session"):
        httpx.get(API, auth=ConnectedAccountAuth(account))
