"""What a host answers to a registration, and what of it is believed."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connected_accounts.clients.registration import registered_client
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ProviderClient, ProviderState
from connected_accounts.providers.badge_connect import OB2
from connected_accounts.providers.base import Endpoints
from connected_accounts.providers.registry import get_provider
from connected_accounts.testing import Answer, BadgrBadgeConnect, FakeProvider, Timeout
from tests.journeys import query_of
from tests.providers.badge_site import HOST, PROFILE, SITE, Flow, answered, faked_host
from tests.providers.harness import assert_hidden, recorded

pytestmark = pytest.mark.django_db


@pytest.fixture
def fake(settings: Any) -> Iterator[FakeProvider]:
    with faked_host(settings) as fake:
        yield fake


def refused(user: Any) -> ConnectedAccountsError:
    """The error that starting ends with; nothing is stored then."""
    with pytest.raises(ConnectedAccountsError) as caught:
        Flow(user)
    assert_hidden(caught.value)
    assert not ProviderClient.objects.exists()
    assert not AuthorizationRequest.objects.exists()
    assert ProviderState.objects.get().registering_until is None
    return caught.value


@pytest.mark.parametrize("name", ["registration_refused", "registration_badgr_refused"])
def test_a_refused_registration_stores_nothing_and_is_not_repeated_in_words(
    fake: FakeProvider, user: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script("registration", recorded("badge_connect", name))
    error = refused(user)
    assert (type(error), error.code) == (ClientRejected, "registration_refused")
    assert f"host={HOST} status=400" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(503), ProviderUnavailable),
        (Answer(429, headers={"Retry-After": "60"}), ProviderUnavailable),
        (Timeout(), ProviderUnavailable),
        (Answer(401), ClientRejected),
        (Answer(302, headers={"Location": "https://evil.example/"}), UnexpectedResponse),
        (Answer(201, body="canary"), UnexpectedResponse),
        (Answer(201, body=b"{" + b" " * 2_000_000), UnexpectedResponse),
        (Answer(201, []), UnexpectedResponse),
        (answered(client_id=...), UnexpectedResponse),
        (answered(client_id=""), UnexpectedResponse),
        (answered(client_id=7), UnexpectedResponse),
        (answered(client_id="x" * 256), UnexpectedResponse),
        (answered(client_id="a\nb"), UnexpectedResponse),
        (answered(client_secret=...), UnexpectedResponse),
        (answered(client_secret=""), UnexpectedResponse),
        (answered(client_secret=["canary"]), UnexpectedResponse),
        (answered(client_secret="canary\x00"), UnexpectedResponse),
        (answered(client_secret="canary-é"), UnexpectedResponse),
        (answered(client_secret="canary" * 1000), UnexpectedResponse),
    ],
)
def test_an_answer_that_is_no_registration_stores_nothing(
    fake: FakeProvider, user: Any, answer: Any, kind: Any
) -> None:
    fake.script("registration", answer)
    assert type(refused(user)) is kind
    assert Flow(user).client_id  # and the next one may do


def test_of_an_answer_only_what_is_of_use_is_kept(fake: FakeProvider, user: Any) -> None:
    more = {
        "registration_access_token": "canary-a",
        "another_secret": "canary-b",
        "x": "\x00\ud800",
    }
    fake.script("registration", answered(**more, client_name="canary" * 10000))
    Flow(user)
    metadata = ProviderClient.objects.get().metadata
    assert set(metadata) == {
        "scope",
        "client_id_issued_at",
        "client_secret_expires_at",
        "redirect_uris",
        "requested_scope",
        "token_endpoint_auth_method",
    }
    assert "canary" not in json.dumps(metadata)


def test_no_more_is_asked_of_people_than_was_registered(fake: FakeProvider, user: Any) -> None:
    fake.script("registration", recorded("badge_connect", "registration_fewer_scopes"))
    assert query_of(Flow(user).url)["scope"] == PROFILE
    assert query_of(Flow(user).url)["scope"] == PROFILE
    assert len(fake.sent_to("registration")) == 1


def test_where_nothing_that_is_wanted_was_registered_nobody_is_sent_away(
    fake: FakeProvider, user: Any
) -> None:
    fake.script("registration", answered(scope=f"{OB2}never.heard.of"))
    with pytest.raises(UnexpectedResponse) as caught:
        Flow(user)
    assert caught.value.code == "no_scope_offered"
    assert not AuthorizationRequest.objects.exists()


def test_badgr_is_asked_for_nothing_that_it_does_not_offer(settings: Any, user: Any) -> None:
    with faked_host(settings, dialect=BadgrBadgeConnect) as fake:
        fake.script("registration", recorded("badge_connect", "registration_badgr"))
        assert "offline_access" not in query_of(Flow(user).url)["scope"]
        [sent] = fake.sent_to("registration")
    assert "offline_access" not in sent.json["scope"]


def test_a_registration_endpoint_at_a_private_address_is_sent_nothing(
    settings: Any, serve: Callable[..., Any], own_connections: None, user: Any
) -> None:
    server = serve()
    at = Endpoints(registration_endpoint=f"https://localhost:{server.port}/", public_only=True)
    with faked_host(settings):
        provider = get_provider("badges").bound(inputs={"host": HOST})
        provider.scopes_to_ask([PROFILE])  # from here on its description is known

        def scopes(wanted: list[str]) -> list[str]:
            return [PROFILE]

        provider.scopes_to_ask = scopes  # type: ignore[method-assign]
    with pytest.raises(UnexpectedResponse) as caught:
        registered_client(provider, at, redirect_uri=SITE)
    assert caught.value.code == "private_address"
    assert server.requests == []
    assert not ProviderClient.objects.exists()
