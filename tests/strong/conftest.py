"""A strong server in settings, and a person who connects there."""

from typing import Any, Protocol

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from tests.journeys import finish, start
from tests.strong.server import StrongServer


class Use(Protocol):
    def __call__(
        self, server: StrongServer, options: dict[str, Any] | None = None, **entry: Any
    ) -> None: ...


def site_keys() -> dict[str, Any]:
    """What the site's own page shows to the server."""
    answer: dict[str, Any] = Client().get("/connections/jwks/").json()
    return answer


def connect(client: Client, server: StrongServer) -> ConnectedAccount:
    response = finish(client, server.authorize(start(client, "bank")), "bank")
    assert response.status_code == 303, (response.content, server.refusals)
    return ConnectedAccount.objects.at("bank").latest("connected_at")


@pytest.fixture
def use(settings: Any) -> Use:
    """Put the server into settings, as ``bank``."""

    def put(server: StrongServer, options: dict[str, Any] | None = None, **entry: Any) -> None:
        one = {
            "BACKEND": "connected_accounts.providers.generic.OAuth2",
            "CLIENT_ID": server.client_id,
            "SCOPES": ["profile"],
            "OPTIONS": {"issuer": server.issuer, **(options or {})},
            **entry,
        }
        settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": {"bank": one}}

    return put
