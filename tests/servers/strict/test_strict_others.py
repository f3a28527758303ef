"""Others that demand a key: a resource server of oauth4webapi, and Bluesky's own server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client

from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.oauth2 import dpop
from connected_accounts.oauth2.dpop import BoundToken
from connected_accounts.oauth2.jose import new_key
from connected_accounts.secret import Secret
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import expire, finish, query_of, start, stored
from tests.servers.listed import free_port, listed
from tests.servers.person import Person
from tests.servers.strict.conftest import Strict, node

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


PUBLIC = "https://app.example.org"
API = "xrpc/com.atproto.server.getSession"


@contextmanager
def bluesky(folder: Path, settings: Any, *, holder: str = "", **entry: Any) -> Iterator[Strict]:
    """Bluesky's server, and the catalogue's entry for it. It reads the site's own pages, as they
    are now, at the addresses that the site has in public."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = {"hosts": [url], "plc_directory": url}
    one = {"SERVICE": "bluesky", "OPTIONS": options, **entry}
    settings.CONNECTED_ACCOUNTS = {"REDIRECT_BASE_URL": PUBLIC, "PROVIDERS": {"stock": one}}
    site = {}
    for page in ("stock/client.json", "jwks/"):
        file = folder / page.strip("/").replace("/", "-")
        file.write_bytes(Client().get(f"/connections/{page}").content)
        site[f"{PUBLIC}/connections/{page}"] = str(file)
    told = {"port": port, "url": url, "site": site, **({"holder": holder} if holder else {})}
    with node("atproto.mjs", folder, told) as log:
        yield Strict(url, log, one)


def agree(server: Strict, url: str) -> dict[str, str]:
    """What comes back after the person's yes."""
    answer = requests.get(f"{server.url}/agree", params=query_of(url), timeout=30)
    assert answer.ok, answer.text + server.log.read_text()
    found: dict[str, str] = answer.json()
    return found


@pytest.mark.parametrize("by_key", [True, False], ids=["by its key", "without"])
def test_blueskys_server_serves_the_catalogues_entry_for_a_whole_life(
    started: Any, tmp_path: Path, settings: Any, client: Client, user: Any, by_key: bool
) -> None:
    entry = {"CLIENT_KEY": new_key().private_pem().reveal()} if by_key else {}
    client.force_login(user)
    with bluesky(tmp_path, settings, **entry) as server:
        url = start(client, "stock")
        assert set(query_of(url)) == {"client_id", "request_uri"}
        response = finish(client, agree(server, url), "stock")
        said = response.content.decode()[-1500:] + server.log.read_text()
        assert response.status_code == 303, said
        account = ConnectedAccount.objects.get()
        assert account.subject.startswith("did:plc:")
        assert account.client_id == f"{PUBLIC}/connections/stock/client.json"
        assert get_session(account).get(API).json() == {"did": account.subject}
        headers = {"Authorization": f"Bearer {get_access_token(account)}"}
        assert requests.get(f"{server.url}/{API}", headers=headers, timeout=20).status_code == 401

        before = stored(account)
        expire(account)
        get_access_token(account)
        assert stored(account)["refresh_token"] != before["refresh_token"]
        assert stored(account)["dpop_key"] == before["dpop_key"]
        assert get_session(account).get(API).ok

        again = client.post(f"/connections/{account.pk}/reconnect/")["Location"]
        assert finish(client, agree(server, again), "stock").status_code == 303
        assert stored(account)["dpop_key"] != before["dpop_key"]
        assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
        revoke_pending_tokens.apply().get()
        assert {one.outcome for one in Revocation.objects.all()} == {"revoked"}


def test_blueskys_server_connects_nobody_whose_account_is_held_elsewhere(
    started: Any, tmp_path: Path, settings: Any, client: Client, user: Any
) -> None:
    client.force_login(user)
    elsewhere = f"http://127.0.0.1:{free_port()}"
    with bluesky(tmp_path, settings, holder=elsewhere) as server:
        response = finish(client, agree(server, start(client, "stock")), "stock")
        assert response.status_code == 502
        assert not ConnectedAccount.objects.exists()
