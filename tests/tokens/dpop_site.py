"""A site whose provider binds tokens to keys, and the fake that plays it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

ALIAS = "bank"
API = "https://api.bank.example/v1"
ENTRY: dict[str, Any] = {
    "BACKEND": "connected_accounts.providers.generic.OAuth2",
    "CLIENT_ID": "the-site",
    "CLIENT_SECRET": "canary-client-secret",
    "SCOPES": ["read"],
    "OPTIONS": {
        "authorization_endpoint": "https://login.bank.example/authorize",
        "token_endpoint": "https://login.bank.example/token",
        "revocation_endpoint": "https://login.bank.example/revoke",
        "userinfo_endpoint": f"{API}/me",
        "api_base_url": API,
        "dpop": True,
    },
}


def use(settings: Any, **options: Any) -> None:
    """Let the site have the bank, with these OPTIONS besides."""
    settings.CONNECTED_ACCOUNTS = {
        "REDIRECT_BASE_URL": "https://site.example",
        "PROVIDERS": {ALIAS: {**ENTRY, "OPTIONS": {**ENTRY["OPTIONS"], **options}}},
    }


@pytest.fixture
def bank(settings: Any, nothing_discovered: None) -> Iterator[FakeProvider]:
    use(settings)
    with FakeProvider(ALIAS, expires_in=3600) as fake:
        yield fake


@pytest.fixture
def bound(client: Client, user: Any, bank: FakeProvider) -> ConnectedAccount:
    """An account whose token is bound to its key."""
    client.force_login(user)
    return connect(client, bank, ALIAS)
