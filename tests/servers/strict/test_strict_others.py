"""Others that demand a key: a resource server of oauth4webapi, and Bluesky's own server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from django.test import Client

from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.oauth2 import dpop
from connected_accounts.oauth2.dpop import BoundToken
from connected_accounts.secret import Secret
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import expire, finish, query_of, start, stored
from tests.servers.listed import CALLBACK, SITE, free_port, listed
from tests.servers.person import Person
from tests.servers.strict.conftest import GENERIC, Strict, node

pytestmark = pytest.mark.django_db
AUDIENCE = "https://api.example/"


@contextmanager
def resource_server(folder: Path, issuer: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    told = {"port": port, "url": url, "issuer": issuer, "audience": AUDIENCE, "require_dpop": True}
    with node("resource.mjs", folder, told):
        yield url


def test_a_resource_server_confirms_the_key_and_refuses_a_stolen_token(
    started: Callable[..., Strict], client: Client, user: Any, tmp_path: Path
) -> None:
    server = started("dpop", resource=AUDIENCE)
    with resource_server(tmp_path, server.url) as api:
        server.entry["OPTIONS"] |= {"identity_source": "id_token", "api_hosts": [api]}
        client.force_login(user)
        ada = Person(listed()["oidc-provider"])
        assert finish(client, ada.walk(start(client, "stock")), "stock").status_code == 303
        ada.close()
        account = ConnectedAccount.objects.get()

        answer = get_session(account).get(f"{api}/things?page=2")
        key = Secret(stored(account)["dpop_key"])
        assert answer.json()["cnf"] == {"jkt": dpop.thumbprint(key)}

        token = get_access_token(account)
        stolen = [
            {"Authorization": f"Bearer {token}"},
            {"Authorization": f"DPoP {token}"},
            dpop.authorization(BoundToken(token, dpop.new_proof_key()), "GET", f"{api}/things"),
            dpop.authorization(BoundToken(token, key), "POST", f"{api}/things"),  # of another call
        ]
        for headers in stolen:
            answer = requests.get(f"{api}/things", headers=headers, timeout=20)
            assert answer.status_code == 401, answer.text
        refresh(account)
        assert get_session(account).get(f"{api}/things").status_code == 200


@pytest.fixture
def bluesky(started: Any, tmp_path: Path, settings: Any) -> Iterator[Strict]:
    """Bluesky's server, which knows the site by an address that describes a client on a developer's
    own machine."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    described = urlencode({"redirect_uri": CALLBACK, "scope": "atproto"})
    options = {
        "issuer": url,
        "dpop": True,
        "token_endpoint_auth_method": "none",
        "identity_source": "token_response",
    }
    entry = {
        "BACKEND": GENERIC,
        "CLIENT_ID": f"http://localhost?{described}",
        "SCOPES": ["atproto"],
        "OPTIONS": options,
    }
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": SITE, "PROVIDERS": {"stock": entry}}
    with node("atproto.mjs", tmp_path, {"port": port, "url": url}) as log:
        yield Strict(url, log, entry)


def agree(server: Strict, url: str) -> dict[str, str]:
    """What comes back after the person's yes."""
    answer = requests.get(f"{server.url}/agree", params=query_of(url), timeout=30)
    assert answer.ok, answer.text + server.log.read_text()
    found: dict[str, str] = answer.json()
    return found


def test_blueskys_server_connects_refreshes_and_disconnects(
    bluesky: Strict, client: Client, user: Any
) -> None:
    client.force_login(user)
    url = start(client, "stock")
    assert set(query_of(url)) == {"client_id", "request_uri"}
    response = finish(client, agree(bluesky, url), "stock")
    assert response.status_code == 303, response.content.decode()[-1500:] + bluesky.log.read_text()
    account = ConnectedAccount.objects.get()
    assert account.subject.startswith("did:plc:")

    before = stored(account)
    expire(account)
    get_access_token(account)
    assert stored(account)["refresh_token"] != before["refresh_token"]
    assert stored(account)["dpop_key"] == before["dpop_key"]

    again = client.post(f"/connections/{account.pk}/reconnect/")["Location"]
    assert finish(client, agree(bluesky, again), "stock").status_code == 303
    document = stored(account)
    assert document["dpop_key"] != before["dpop_key"]
    assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    assert {one.outcome for one in Revocation.objects.all()} == {"revoked"}
