"""Two authorization servers of the same kind: an honest one, and the attacker's."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from connected_accounts.providers.base import Endpoints
from connected_accounts.providers.generic import OAuth2
from connected_accounts.testing import FakeProvider

HONEST = "https://honest.example"
EVIL = "https://evil.example"
OURS = "http://testserver/connections"


class Named(OAuth2):
    """Its addresses are all in settings: the server's own word, which nobody could give here, is
    not asked for."""

    def resolve_endpoints(self, inputs: Any) -> Endpoints:
        return self.known_endpoints()


def server(origin: str, **options: Any) -> dict[str, Any]:
    addresses = {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "userinfo_endpoint": f"{origin}/userinfo",
        "api_base_url": origin,
    }
    return {
        "BACKEND": f"{__name__}.Named",
        "CLIENT_ID": f"client-at-{urlsplit(origin).hostname}",
        "CLIENT_SECRET": f"secret-at-{urlsplit(origin).hostname}",
        "SCOPES": ["profile"],
        "OPTIONS": addresses | options,
    }


@pytest.fixture
def options() -> dict[str, Any]:
    """Further options of the honest server."""
    return {}


@pytest.fixture
def servers(settings: Any, options: dict[str, Any]) -> Any:
    settings.CONNECTED_ACCOUNTS = {
        "PROVIDERS": {"honest": server(HONEST, **options), "evil": server(EVIL)}
    }
    uris = [f"{OURS}/honest/callback/"]
    with FakeProvider("honest", redirect_uris=uris) as honest, FakeProvider("evil") as evil:
        yield honest, evil
