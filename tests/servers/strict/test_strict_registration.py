"""A site that makes itself a client by its certificate (RFC 8705 2.1.2), at a server that asks for
certificates at addresses of their own (RFC 8705 5)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount, ProviderClient, Revocation
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import finish, start
from tests.servers.listed import SITE, free_port, listed
from tests.servers.person import Person
from tests.servers.strict.conftest import Strict, node

pytestmark = pytest.mark.django_db
MCP = "connected_accounts.providers.mcp.MCP"


def alias() -> dict[str, Any]:
    port = free_port()
    return {"port": port, "url": f"https://127.0.0.1:{port}"}


def connect(client: Client, **entered: Any) -> ConnectedAccount:
    ada = Person(listed()["oidc-provider"])
    response = finish(client, ada.walk(start(client, "stock", **entered)), "stock")
    ada.close()
    assert response.status_code == 303, response.content.decode()[-1500:]
    account: ConnectedAccount = ConnectedAccount.objects.get()
    return account


def end(client: Client, account: ConnectedAccount, outcome: str = "revoked") -> None:
    assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    assert {one.outcome for one in Revocation.objects.all()} == {outcome}


def assert_known_by_its_certificate(account: ConnectedAccount) -> None:
    row = ProviderClient.objects.get()
    assert row.registered
    assert row.client_id == account.client_id
    assert row.metadata["token_endpoint_auth_method"] == "tls_client_auth"
    assert row.open_secret().reveal() == ""


@pytest.mark.parametrize("apart", [False, True], ids=["at one address", "at an alias"])
def test_a_site_registers_its_certificate_and_lives_by_it(
    started: Callable[..., Strict], client: Client, user: Any, apart: bool
) -> None:
    server = started("mtls", registers=True, **({"alias": alias()} if apart else {}))
    client.force_login(user)
    account = connect(client)
    assert_known_by_its_certificate(account)
    refresh(account)
    assert server.grants("refresh_token") == 1
    provider = get_provider("stock").bound(inputs=account.inputs)
    get_session(account).get(provider.endpoints().userinfo_endpoint).raise_for_status()
    end(client, account)


def test_an_mcp_server_leads_to_the_addresses_that_ask_for_certificates(
    started: Callable[..., Strict], client: Client, user: Any, tmp_path: Path, settings: Any
) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    server = started("mtls", registers=True, resource=api, alias=alias())
    told = {"port": port, "url": api, "issuer": server.url, "audience": api}
    entry = {
        "BACKEND": MCP,
        "CLIENT_CERTIFICATE": server.entry["CLIENT_CERTIFICATE"],
        "OPTIONS": {"servers": [api, server.url]},
    }
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": SITE, "PROVIDERS": {"stock": entry}}
    client.force_login(user)
    with node("resource.mjs", tmp_path, {**told, "require_dpop": False}):
        account = connect(client, server=api, issuer=server.url)  # as the page showed
        assert_known_by_its_certificate(account)
        assert "Notes" in account.label
        assert get_session(account).get(api).json()["sub"]
        end(client, account, "unsupported")  # it takes no JWT back, and gave nothing else
