"""A token for the client itself, by its key: for the site, and for who brings a client id."""

from collections.abc import Iterator
from typing import Any

import pytest

from connected_accounts.connect.direct import connect_directly
from connected_accounts.oauth2 import jose
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import refresh
from tests.strong.conftest import Use, site_keys
from tests.strong.server import StrongServer

pytestmark = pytest.mark.django_db

GRANT = {"grant_type": "client_credentials"}
BITS = "connected_accounts.providers.bits.Bits"


@pytest.fixture
def server() -> Iterator[StrongServer]:
    with StrongServer("assertion", keys=site_keys) as started:
        yield started


@pytest.fixture
def key() -> str:
    return jose.new_key().private_pem().reveal()


def test_the_site_gets_a_token_by_its_key_and_another_when_that_ends(
    server: StrongServer, use: Use, key: str
) -> None:
    use(server, GRANT, CLIENT_KEY=key)
    account, created = connect_directly(user=None, provider="bank", values={})
    assert created
    refresh(account)
    assert server.sent("/token")[0]["grant_type"] == "client_credentials"
    assert len({one["jti"] for one in server.assertions}) == 2


def test_a_person_brings_a_client_id_and_no_secret(
    server: StrongServer, use: Use, key: str, ada: Any
) -> None:
    use(server, GRANT | {"token_endpoint_auth_method": "private_key_jwt"}, CLIENT_KEY=key)
    assert [field.name for field in get_provider("bank").asked_fields()] == ["client_id"]
    values = {"client_id": server.client_id}
    account, _ = connect_directly(user=ada, provider="bank", values=values)
    refresh(account)
    assert account.client_id == server.client_id
    assert not server.refusals


def test_bits_takes_a_key_in_place_of_the_secret(
    server: StrongServer, settings: Any, key: str
) -> None:
    entry = {
        "BACKEND": BITS,
        "CLIENT_ID": server.client_id,
        "CLIENT_KEY": key,
        "OPTIONS": {
            "token_endpoint_auth_method": "private_key_jwt",
            "client_assertion_audience": "token_endpoint",
            "token_endpoint": f"{server.issuer}/token",
            "userinfo_endpoint": f"{server.issuer}/me",
            "subject_path": "sub",
        },
    }
    server.audience = "token_endpoint"
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bits": entry}}
    account, _ = connect_directly(user=None, provider="bits", values={})
    refresh(account)
    assert len(server.assertions) == 2
    assert "Authorization" not in server.sent("/token")[0]
