"""An alias with many hosts, one of them hostile: it gets nothing of another host's, and stops
nothing there."""

from contextlib import nullcontext
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.clients.credentials import clients_of
from connected_accounts.exceptions import (
    ClientRejected,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ProviderClient, ProviderState
from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.provider_state.pauses import get_or_create_state, pause, pause_of
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.testing import Answer, FakeProvider
from tests.providers.badge_site import HOST, OTHER, Flow, answered, configure

pytestmark = pytest.mark.django_db


def says(evil: FakeProvider, **changes: str) -> None:
    """Let the hostile host name addresses of the other one in its manifest."""
    document = evil._dialect.manifest()
    document["badgeConnectAPI"][0] |= changes
    evil.script("discovery", Answer(200, document))
    discovery.clear_cache()


# The manifest names another listed host.

OAUTH = f"https://{HOST}/oauth"


@pytest.mark.parametrize(
    "named",
    [
        {"authorizationUrl": f"{OAUTH}/authorize", "registrationUrl": f"{OAUTH}/register"},
        {"authorizationUrl": f"{OAUTH}/authorize"},
        {"tokenUrl": f"{OAUTH}/token"},
        {"tokenRevocationUrl": f"{OAUTH}/revoke"},
        {"apiBase": f"https://{HOST}/ims/ob/v2p1"},
        {
            "authorizationUrl": f"{OAUTH}/authorize",
            "registrationUrl": f"{OAUTH}/register",
            "tokenUrl": f"{OAUTH}/token",
        },
    ],
)
def test_a_manifest_names_no_endpoint_of_another_listed_host(
    honest: FakeProvider, evil: FakeProvider, user: Any, named: dict[str, str]
) -> None:
    says(evil, **named)
    with pytest.raises(UnexpectedResponse) as caught:
        Flow(user, OTHER)
    assert caught.value.code == "unlisted_host"
    assert not AuthorizationRequest.objects.exists()
    assert not honest.requests
    assert not evil.sent_to("registration")


def test_a_manifest_is_not_read_at_another_listed_host(
    honest: FakeProvider, evil: FakeProvider, user: Any
) -> None:
    there = f"https://{HOST}/.well-known/badgeconnect.json"
    evil.script("discovery", Answer(302, "", headers={"Location": there}))
    with pytest.raises(UnexpectedResponse) as caught:
        Flow(user, OTHER)
    assert caught.value.code == "unlisted_host"


@pytest.mark.parametrize(
    ("named", "is_taken"),
    [
        ({"apiBase": "https://api.example.org/v2"}, True),
        ({"tokenUrl": "https://api.example.org/token"}, False),
        ({"authorizationUrl": "https://api.example.org/authorize"}, False),
        ({"registrationUrl": "https://api.example.org/register"}, False),
    ],
)
def test_api_hosts_of_several_hosts_serve_their_apis_alone(
    settings: Any, evil: FakeProvider, user: Any, named: dict[str, str], is_taken: bool
) -> None:
    configure(settings, OPTIONS={"api_hosts": ["api.example.org", HOST]})
    says(evil, **named)
    with nullcontext() if is_taken else pytest.raises(UnexpectedResponse, match="unlisted_host"):
        Flow(user, OTHER)


# By its issuer.

ISSUERS = {
    "connect_fields": ["host"],
    "issuer": "https://{host}",
    "registration_endpoint": "https://{host}/register",
}


@pytest.fixture
def told(settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An alias of issuers that people name; what the next one says of itself."""
    entry = {"BACKEND": "connected_accounts.providers.generic.OAuth2", "OPTIONS": ISSUERS}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"server": entry}}
    own = f"https://{OTHER}"
    found = {
        "authorization_endpoint": f"{own}/authorize",
        "token_endpoint": f"{own}/token",
        "userinfo_endpoint": f"{own}/me",
    }
    monkeypatch.setattr(discovery, "server_metadata", lambda issuer, public: found)
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("authorization_endpoint", "token_endpoint", "revocation_endpoint"),
        *("userinfo_endpoint", "refresh_endpoint"),
    ],
)
def test_metadata_of_one_host_names_no_endpoint_elsewhere(told: dict[str, Any], name: str) -> None:
    server = get_provider("server")
    assert server.endpoints({"host": OTHER}).token_endpoint == f"https://{OTHER}/token"
    told[name] = f"https://{HOST}/somewhere"
    with pytest.raises(UnexpectedResponse, match="unlisted_host"):
        server.endpoints({"host": OTHER})


def test_one_subject_at_two_issuers_is_two_accounts(told: dict[str, Any]) -> None:
    subjects = []
    for host in (HOST, OTHER):
        provider = get_provider("server").bound(inputs={"host": host})
        token = TokenResponse(access_token=Secret("t"), claims={"sub": "1"})
        provider.identity_source = "id_token"
        subjects.append(provider.fetch_identity(None, token).subject)
    assert subjects == [f"{HOST}:1", f"{OTHER}:1"]


# Its registration answers with another host's client id.


def test_a_host_is_never_sent_the_secret_of_another_host(
    honest: FakeProvider, evil: FakeProvider, user: Any
) -> None:
    theirs = Flow(user)
    secret = clients_of(get_provider("badges").bound(inputs={"host": HOST}), theirs.client_id, "")
    evil.script("registration", answered(client_id=theirs.client_id, client_secret="evils-own"))
    evil.script("token", *[Answer(401, {"error": "invalid_client"})] * 3)
    flow = Flow(user, OTHER)
    with pytest.raises(ClientRejected):
        flow.finish_with("any-code")
    assert [sent.basic(form_encoded=True) for sent in evil.sent_to("token")] == [
        (theirs.client_id, "evils-own")
    ]
    assert secret
    # Nor does the other host's registration end by what this one answers.
    assert ProviderClient.objects.get(host=HOST).retired_at is None
    assert ProviderClient.objects.get(host=OTHER).retired_at is not None


# Its troubles are its own.


def test_a_registration_at_one_host_waits_for_no_other_host(
    honest: FakeProvider, user: Any
) -> None:
    get_or_create_state("badges", OTHER)
    ProviderState.objects.update(registering_until=timezone.now() + timezone.timedelta(hours=1))
    assert Flow(user).client_id


def test_a_pause_of_one_host_is_not_that_of_another(honest: FakeProvider) -> None:
    now = timezone.now()
    pause("badges", "invalid_client", host=OTHER, now=now)
    assert pause_of("badges", now, host=OTHER) == "invalid_client"
    assert pause_of("badges", now, host=HOST) == ""
