"""A whole life at a server that demands more than a secret and a bearer, one demand after the other
and all together: connect, refresh, a crowd at one expired account, dead, reconnect, disconnect."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Outcome, Revocation
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import get_access_token, get_session
from connected_accounts.tasks import drain_refreshes, revoke_pending_tokens
from connected_accounts.tokens.endpoint import revoke_token
from tests.journeys import expire, finish, set_row, start, stored
from tests.mcp.real.crowd import digest
from tests.servers.listed import ROOT, listed
from tests.servers.person import Person
from tests.servers.strict.conftest import Strict
from tests.services import service

PROCESSES = 50
ALL = ("par", "dpop", "private_key_jwt", "mtls")
pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def person(authority: Any) -> Iterator[Person]:
    ada = Person(listed()["oidc-provider"])
    yield ada
    ada.close()


def connect(client: Client, person: Person, url: str) -> ConnectedAccount:
    response = finish(client, person.walk(url), "stock")
    assert response.status_code == 303, response.content.decode()[-1500:]
    account: ConnectedAccount = ConnectedAccount.objects.latest("connected_at")
    return account


@pytest.mark.parametrize("demands", [*((one,) for one in ALL), ALL], ids="-".join)
def test_a_whole_life(
    demands: tuple[str, ...],
    started: Callable[..., Strict],
    client: Client,
    user: Any,
    person: Person,
) -> None:
    service("postgresql")
    server = started(*demands)
    client.force_login(user)
    url = start(client, "stock")
    assert ("request_uri" in url) is ("par" in demands)
    account = connect(client, person, url)
    assert ("dpop_key" in stored(account)) is ("dpop" in demands)
    assert_only_the_site_can_use_it(server, account, demands)

    set_row(account, refresh_at=timezone.now())
    drain_refreshes.apply(args=["stock"]).get()
    account.refresh_from_db()
    assert (account.status, account.failure_count) == ("active", 0)
    assert server.grants("refresh_token") == 1

    assert crowd(account) == {digest(get_access_token(account))}
    assert server.grants("refresh_token") == 2
    get_session(account).get("me").raise_for_status()

    key = stored(account).get("dpop_key")
    withdraw_behind_its_back(account)
    expire(account)
    with pytest.raises(ReauthorizationRequired):
        get_access_token(account)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "revoked")
    again = client.post(f"/connections/{account.pk}/reconnect/")["Location"]
    assert connect(client, person, again).pk == account.pk
    assert key is None or stored(account)["dpop_key"] != key
    get_session(account).get("me").raise_for_status()

    assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    assert {one.outcome for one in Revocation.objects.all()} <= {"revoked", "already_gone"}
    assert server.grants("refresh_token", "invalid_grant") == 1  # that of the dead grant


def assert_only_the_site_can_use_it(
    server: Strict, account: ConnectedAccount, demands: tuple[str, ...]
) -> None:
    """The userinfo endpoint checks to whom a token is bound."""
    get_session(account).get("me").raise_for_status()
    token = get_access_token(account)
    bound = {"dpop", "mtls"} & set(demands)
    for scheme in ("Bearer", "DPoP"):
        headers = {"Authorization": f"{scheme} {token}"}
        answer = requests.get(f"{server.url}/me", headers=headers, timeout=20)
        assert answer.ok is (not bound and scheme == "Bearer"), answer.text


def crowd(account: ConnectedAccount) -> set[str]:
    """Digests of what fifty processes get, who want the token of an expired account at once."""
    expire(account)
    address = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    done = subprocess.run(
        [sys.executable, "-m", "tests.mcp.real.crowd", str(account.pk), str(PROCESSES)],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": address.geturl(),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SITE_SETTINGS": json.dumps(settings.CONNECTED_ACCOUNTS),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
    digests = done.stdout.split()
    assert len(digests) == PROCESSES
    account.refresh_from_db()
    return set(digests)


def withdraw_behind_its_back(account: ConnectedAccount) -> None:
    provider = get_provider("stock").bound(inputs=account.inputs)
    endpoints = provider.endpoints()
    assert revoke_token(provider, endpoints, account.open_token()) is Outcome.REVOKED
