"""The site's own address and key: nothing of a request is told to a provider, and nothing that is
published opens a token."""

from typing import Any

import pytest
from django.core import checks
from django.test import Client

from connected_accounts.models import AuthorizationRequest, ProviderClient
from connected_accounts.testing import FakeProvider
from tests.journeys import query_of
from tests.providers.badge_site import HOST, configure

pytestmark = pytest.mark.django_db

SITE = "https://site.example"
DEMO_KEY = "b25seS1mb3ItdGhlLWRlbW8tMDEyMzQ1Njc4OS1hYmM="


def ids(*, deploy: bool = False) -> list[str]:
    found = checks.run_checks(tags=["connected_accounts"], include_deployment_checks=deploy)
    return [str(message.id).rpartition(".")[2] for message in found]


@pytest.fixture
def registering(settings: Any) -> Any:
    """An alias at which the site registers itself, and settings to change."""
    configure(settings)
    with FakeProvider("badges", inputs={"host": HOST}) as fake:
        yield fake


@pytest.mark.parametrize("allowed", ["*", ""])
@pytest.mark.parametrize("host", ["evil.example", "www.site.example", "testserver"])
def test_the_host_of_a_request_is_never_registered(
    settings: Any, registering: FakeProvider, client_of_ada: Client, host: str, allowed: str
) -> None:
    settings.ALLOWED_HOSTS = [allowed or host]
    page = client_of_ada.post(
        "/connections/badges/connect/", {"host": HOST}, headers={"host": host}
    )
    assert page.status_code == 503
    assert not registering.requests
    assert not ProviderClient.objects.exists()
    assert not AuthorizationRequest.objects.exists()


def test_the_address_of_settings_is_registered_whatever_the_request_says(
    settings: Any, registering: FakeProvider, client_of_ada: Client
) -> None:
    settings.CONNECTED_ACCOUNTS |= {"REDIRECT_BASE_URL": SITE}
    settings.ALLOWED_HOSTS = ["*"]
    page = client_of_ada.post(
        "/connections/badges/connect/", {"host": HOST}, headers={"host": "evil.example"}
    )
    told = query_of(page["Location"])["redirect_uri"]
    assert told.startswith(f"{SITE}/connections/badges/callback/")
    [sent] = registering.sent_to("registration")
    assert sent.json["redirect_uris"] == [told]
    assert "evil.example" not in str(sent.json)


@pytest.mark.parametrize("client_id", ["", "entered"])
def test_a_site_without_an_address_is_no_client_of_servers_that_people_name(
    settings: Any, client_of_ada: Client, client_id: str
) -> None:
    entry: dict[str, Any] = {"BACKEND": "connected_accounts.providers.mcp.MCP"}
    if client_id:
        entry |= {"CLIENT_ID": client_id, "OPTIONS": {"client_issuer": "https://other.example"}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"mcp": entry}}
    settings.ALLOWED_HOSTS = ["www.site.example"]
    with FakeProvider("mcp", inputs={"server": "https://mcp.example/mcp"}) as fake:
        page = client_of_ada.post(
            "/connections/mcp/connect/",
            {"server": "https://mcp.example/mcp", "issuer": "https://mcp.example"},
            headers={"host": "www.site.example"},
        )
        assert page.status_code != 303
        assert not fake.sent_to("registration")
    told = client_of_ada.get("/connections/mcp/client.json", headers={"host": "www.site.example"})
    assert told.status_code == 404
    assert not AuthorizationRequest.objects.exists()


def test_a_developers_own_machine_may_register(
    settings: Any, registering: FakeProvider, client_of_ada: Client
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    page = client_of_ada.post(
        "/connections/badges/connect/", {"host": HOST}, headers={"host": "127.0.0.1:8000"}
    )
    assert page.status_code == 303


def test_a_site_that_registers_must_know_its_address(settings: Any) -> None:
    configure(settings)
    assert "E024" in ids()
    settings.CONNECTED_ACCOUNTS |= {"REDIRECT_BASE_URL": SITE}
    assert "E024" not in ids()
    settings.CONNECTED_ACCOUNTS |= {"REDIRECT_BASE_URL": None}
    settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badges"] |= {"CLIENT_ID": "entered"}
    assert "E024" not in ids()


def test_the_demos_key_is_an_error_when_deployed(settings: Any) -> None:
    assert "E025" not in ids(deploy=True)
    settings.FIELD_ENCRYPTION_KEY = [*settings.FIELD_ENCRYPTION_KEY, DEMO_KEY]
    assert "E025" in ids(deploy=True)


@pytest.mark.parametrize(
    ("entry", "is_told"),
    [
        ({}, False),
        ({"CLIENT_ID": "c", "CLIENT_SECRET": "s"}, True),
        ({"OPTIONS": {"api_hosts": ["api.example.org"]}}, True),
        ({"CLIENT_ID": "c", "CLIENT_SECRET": "s", "OPTIONS": {"hosts": [HOST]}}, False),
    ],
)
def test_what_several_hosts_share_is_told(
    settings: Any, entry: dict[str, Any], is_told: bool
) -> None:
    configure(settings, **entry)
    assert ("W016" in ids(deploy=True)) is is_told
