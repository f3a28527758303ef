"""The fake provider under a script: faults, what it notes, which hosts it stands for, dialects."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from connected_accounts.exceptions import (
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.oauth2 import transport
from connected_accounts.testing import (
    CANARY,
    Answer,
    ConnectionRefused,
    DropAnswer,
    FakeProvider,
    Redirect,
    Slow,
    Timeout,
    UnexpectedRequest,
)
from tests.providers.fake_site import ALIASES, Site, configure


@pytest.fixture(autouse=True)
def _configured(settings: Any) -> None:
    configure(settings)


@pytest.fixture(params=ALIASES)
def site(request: pytest.FixtureRequest) -> Site:
    return Site(request.param)


@pytest.fixture
def fake(site: Site) -> Iterator[FakeProvider]:
    with FakeProvider(site.alias) as fake:
        yield fake


# The script.


def test_scripted_answers_are_given_in_order_and_then_its_own(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    fake.script("token", Answer(500, body="down"), Answer(503, {"error": "x"}))

    for status in (500, 503):
        with pytest.raises(ProviderUnavailable) as caught:
            site.refresh(document)
        assert caught.value.status == status
    assert site.refresh(document)["refresh_token"] == fake.grants[0].refresh_token


def test_a_scripted_answer_leaves_the_server_as_it_was(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    lost = {"access_token": "made-up", "refresh_token": "made-up-too"}
    fake.script("token", Answer(200, lost))

    site.refresh(document)

    assert fake.grants[0].refresh_token == document["refresh_token"]


@pytest.mark.parametrize(
    ("fault", "code", "sent", "rotated"),
    [
        (Timeout(), "timeout", True, False),
        (ConnectionRefused(), "unreachable", False, False),
        (DropAnswer(), "connection_lost", True, True),
        (Slow(10.5), "timeout", True, True),
    ],
)
def test_faults_look_like_those_of_a_network(
    site: Site, fake: FakeProvider, fault: Any, code: str, sent: bool, rotated: bool
):
    document = site.connect(fake)
    fake.script("token", fault)

    with pytest.raises(ProviderUnavailable) as caught:
        site.refresh(document)

    assert (caught.value.code, caught.value.sent) == (code, sent)
    assert (fake.grants[0].refresh_token != document["refresh_token"]) is rotated
    assert fake.presentations[document["refresh_token"]] == int(sent)


def test_a_slow_answer_that_is_in_time_is_read(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    fake.script("token", Slow(9.5))

    assert site.refresh(document)["access_token"] == fake.grants[0].access_token


def test_an_answer_dropped_after_rotation_makes_the_next_try_a_reuse(
    site: Site, fake: FakeProvider
):
    document = site.connect(fake)
    fake.script("token", DropAnswer())

    with pytest.raises(ProviderUnavailable):
        site.refresh(document)
    with pytest.raises(ReauthorizationRequired):
        site.refresh(document)

    assert fake.reuses == 1


def test_a_redirect_is_an_answer_with_a_location(site: Site, fake: FakeProvider):
    fake.script("revocation", Redirect("https://elsewhere.example/", 302))
    url = site.provider.endpoints().revocation_endpoint

    answer = transport.fetch(requests.Request("POST", url, data={"token": "one"}))

    assert (answer.status, answer.headers["Location"]) == (302, "https://elsewhere.example/")


def test_headers_and_bodies_of_answers_are_given_as_written(site: Site, fake: FakeProvider):
    url = site.provider.endpoints().token_endpoint
    named = {"Retry-After": "7", "Content-Type": "text/plain"}
    fake.script("token", Answer(429, body=b"\xff", headers=named), Answer(204))

    limited, empty = (transport.fetch(requests.Request("POST", url)) for _ in range(2))

    assert (limited.status, limited.body, limited.retry_after()) == (429, b"\xff", 7)
    assert limited.headers["content-type"] == "text/plain"
    assert (empty.status, empty.body) == (204, b"")


def test_a_provider_is_away_until_it_is_back(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    fake.unavailable()
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="status_503"):
            site.refresh(document)
    fake.unavailable(ConnectionRefused())
    with pytest.raises(ProviderUnavailable, match="unreachable"):
        site.refresh(document)

    fake.available()

    site.refresh(document)


def test_only_the_four_endpoints_can_be_scripted():
    with FakeProvider("plain") as fake, pytest.raises(KeyError):
        fake.script("tokens", Answer())


# What it notes.


def test_requests_are_recorded_with_their_fields_and_headers(site: Site, fake: FakeProvider):
    document = site.connect(fake)
    site.refresh(document)
    site.revoke(site.connect(fake))

    assert [sent.endpoint for sent in fake.requests] == ["token", "token", "token", "revocation"]
    refreshed = fake.sent_to("token")[1]
    assert (refreshed.method, refreshed.url) == ("POST", site.provider.endpoints().token_endpoint)
    assert refreshed.fields["refresh_token"] == document["refresh_token"]
    assert refreshed.headers["user-agent"] == transport.USER_AGENT
    assert (refreshed.json is None) is not (refreshed.form is None)
    assert refreshed.bearer == ""


def test_every_secret_it_hands_out_is_known_and_begins_with_the_canary(
    site: Site, fake: FakeProvider
):
    code = fake.authorize(site.url())["code"]
    document = site.refresh(site.connect(fake))

    assert {code, document["access_token"], document["refresh_token"]} <= fake.secrets
    handed_out = {value for value in fake.secrets if value.startswith(CANARY)}
    uses_pkce = bool(site.provider.code_challenge_method)
    assert len(fake.secrets - handed_out) == int(uses_pkce)  # the verifier, which the site made


# Which hosts it stands for.


def test_a_request_to_another_host_is_an_error_here_and_on_leaving():
    fake = FakeProvider("plain")
    fake.__enter__()
    request = requests.Request("GET", "https://elsewhere.example/path?secret=1")

    with pytest.raises(UnexpectedRequest, match=r"GET https://elsewhere\.example/path$"):
        transport.fetch(request)
    with pytest.raises(UnexpectedRequest, match=r"GET https://elsewhere\.example/path$"):
        fake.__exit__(None, None, None)


def test_an_error_of_the_test_itself_is_not_hidden_by_an_unexpected_request():
    fake = FakeProvider("plain")
    fake.__enter__()
    fake.unexpected.append("GET https://elsewhere.example/")

    assert fake.__exit__(ZeroDivisionError, ZeroDivisionError(), None) is None


def test_leaving_puts_back_the_adapter_that_was_there():
    before = transport.install_adapter(None)
    transport.install_adapter(before)

    with FakeProvider("plain"):
        assert transport.adapter() is not before

    assert transport.install_adapter(before) is before


def test_fakes_of_several_aliases_nest():
    badgr, plain = Site("badgr"), Site("plain")
    with FakeProvider("badgr") as outer, FakeProvider("plain") as inner:
        badgr.connect(outer)
        plain.connect(inner)

        assert (len(outer.requests), len(inner.requests)) == (1, 1)


def test_many_threads_may_call_at_once():
    site = Site("plain")
    with FakeProvider("plain") as fake:
        documents = [site.connect(fake) for _ in range(8)]
        threads = [threading.Thread(target=site.refresh, args=(one,)) for one in documents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sum(fake.presentations.values()) == 8
    assert fake.reuses == 0
