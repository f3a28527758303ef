"""The life of a connection at each real server of the list: the app's own pages and services."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client

from connected_accounts.exceptions import ConnectedAccountsError, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.oauth2 import transport
from connected_accounts.operations.doctor.diagnosis import diagnose
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.tasks import revoke_pending_tokens
from tests.journeys import expire, finish, start, stored
from tests.lost_answer import LostAnswer
from tests.servers.bare_client import BareClient
from tests.servers.listed import ROOT, Running, listed
from tests.servers.person import Person
from tests.services import service

Note = Callable[[str, str], None]

each_server = pytest.mark.parametrize(
    "server",
    [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in listed()],
    indirect=True,
)
pytestmark = [pytest.mark.django_db, each_server]


@pytest.fixture
def person(server: Running) -> Any:
    ada = Person(server.entry)
    yield ada
    ada.close()


@pytest.fixture
def account(
    server: Running, use_server: Callable[..., Any], client: Client, user: Any, person: Person
) -> ConnectedAccount:
    """Connected by the site's own pages."""
    use_server(server)
    client.force_login(user)
    return walk(client, person, start(client, "stock"), BareClient(server))


def walk(client: Client, person: Person, url: str, bare: BareClient) -> ConnectedAccount:
    """The person says yes, and comes back."""
    bare.rest()
    response = finish(client, person.walk(url), "stock")
    assert response.status_code == 303, response.content.decode()[-1500:]
    account: ConnectedAccount = ConnectedAccount.objects.latest("connected_at")
    bare.rest()
    return account


def renew(account: ConnectedAccount, bare: BareClient) -> None:
    bare.rest()
    refresh(account)


def reconnect(client: Client, person: Person, account: ConnectedAccount, bare: BareClient) -> None:
    response = client.post(f"/connections/{account.pk}/reconnect/")
    assert response.status_code == 303, response.content
    assert walk(client, person, response["Location"], bare).pk == account.pk
    account.refresh_from_db()


def test_it_connects_and_refreshes_three_times(
    account: ConnectedAccount, bare: BareClient, note: Note
) -> None:
    assert account.refresh_at is not None
    assert bare.lives(get_access_token(account))
    for _ in range(3):
        renew(account, bare)
        assert account.status == "active"
        assert bare.lives(get_access_token(account))
    if bare.entry.api:
        answer = get_session(account).get(bare.server.url + bare.entry.api)
        assert answer.status_code not in (401, 403)
    note("connect", "connects, refreshes")


def test_a_grant_that_died_there_needs_the_person_and_a_reconnect_heals_it(
    account: ConnectedAccount, bare: BareClient, client: Client, person: Person, note: Note
) -> None:
    if bare.entry.ends_by_time_alone:
        pytest.skip("optional: nothing but time ends a grant at this server")
    end_there(bare, stored(account))
    expire(account)
    with pytest.raises(ReauthorizationRequired):
        get_access_token(account)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "revoked")
    note("dead grant", "a dead grant is `reconnect_required` at once")
    reconnect(client, person, account, bare)
    assert account.status == "active"
    renew(account, bare)
    assert bare.lives(get_access_token(account))


def end_there(bare: BareClient, document: dict[str, Any]) -> None:
    """End the grant behind the site's back: revoked, or spent where nothing can be revoked."""
    if bare.entry.ends_by_revocation:
        assert bare.revoke(document["refresh_token"], "refresh_token").ok
        bare.revoke(document["access_token"], "access_token")
    else:
        assert bare.refresh(document["refresh_token"]).ok


def test_a_disconnect_ends_all_grants_there_also_those_before_a_reconnect(
    account: ConnectedAccount, bare: BareClient, client: Client, person: Person, note: Note
) -> None:
    documents = [stored(account)]
    reconnect(client, person, account, bare)
    renew(account, bare)
    documents.append(stored(account))
    assert client.post(f"/connections/{account.pk}/disconnect/").status_code == 303
    revoke_pending_tokens.apply().get()
    outcomes = {revocation.outcome for revocation in Revocation.objects.all()}
    if not bare.entry.revoke:
        assert outcomes == {"unsupported"}
        note("disconnect", "a disconnect says that the service cannot withdraw it")
        return
    if bare.entry.revocation_ends_nothing:
        assert outcomes == {"unconfirmed"}
        assert bare.lives(documents[1]["access_token"])
        assert bare.renews(documents[1]["refresh_token"])
        note("disconnect", "a disconnect says that the service does not confirm it")
        return
    assert "revoked" in outcomes
    assert outcomes <= {"revoked", "already_gone"}
    assert not any(bare.lives(document["access_token"]) for document in documents[1:])
    assert not any(bare.renews(document["refresh_token"]) for document in documents)
    note("disconnect", "a disconnect ends it there")


def test_check_provider_proposes_not_to_believe_a_revocation_that_ends_nothing(
    server: Running, use_server: Callable[..., Any]
) -> None:
    """@jmondi/oauth2-server says yes to a client that may not revoke, and to a wrong secret."""
    if not server.entry.revocation_ends_nothing:
        pytest.skip("optional: a revocation does what it says at this server")
    use_server(server, revocation_confirms=True)
    finding = next(finding for finding in diagnose("stock") if finding.check == "revocation")
    assert finding.level == "warning"
    assert '"revocation_confirms": False' in finding.hint


def test_a_lost_answer_heals_where_the_server_lets_it_and_else_is_called_so(
    account: ConnectedAccount, bare: BareClient, note: Note
) -> None:
    expire(account)
    losing = LostAnswer()
    previous = transport.install_adapter(losing)
    try:
        with pytest.raises(ConnectedAccountsError) if bare.entry.lost_answer else nullcontext():
            get_access_token(account)
        account.refresh_from_db()
        if account.status == "active" and bare.entry.lost_answer:
            with pytest.raises(ReauthorizationRequired):
                renew(account, bare)
    finally:
        transport.install_adapter(previous)
        losing.poolmanager.clear()
    assert losing.lost == 1
    account.refresh_from_db()
    assert account.reason == bare.entry.lost_answer
    if account.status == "active":
        renew(account, bare)
        assert bare.lives(get_access_token(account))
    ends = f"ends the connection (`{bare.entry.lost_answer}`)"
    note("lost answer", f"a lost answer {ends if bare.entry.lost_answer else 'is healed'}")


def test_a_person_who_says_no_reads_a_calm_page(
    server: Running,
    start_server: Callable[..., Running],
    use_server: Any,
    client: Client,
    user: Any,
    person: Person,
    note: Note,
) -> None:
    if server.entry.silent_refusal or server.entry.asks_nobody:
        pytest.skip("optional: a refusal never comes back from this server")
    if server.entry.remembers_consent:
        server = start_server(server.entry.name, asks_anew=True)
    use_server(server)
    client.force_login(user)
    response = finish(client, person.walk(start(client, "stock"), agree=False), "stock")
    assert response.status_code == 200, response.content.decode()[-1500:]
    assert not ConnectedAccount.objects.exists()
    note("refusal", "a refusal is the calm page")


TWO_AT_ONCE = """
import json, os, sys, django
django.setup()
from django.conf import settings
settings.CONNECTED_ACCOUNTS = json.loads(os.environ["ACCOUNTS"])
from connected_accounts.models import ConnectedAccount
from connected_accounts.operations.doctor.diagnosis import diagnose
from connected_accounts.services import get_access_token
account = ConnectedAccount.objects.get()
print("ready", flush=True)
sys.stdin.readline()
print(get_access_token(account))
"""


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_processes_at_once_ask_once_and_have_one_token(
    account: ConnectedAccount, bare: BareClient, settings: Any
) -> None:
    address = urlsplit(service("postgresql"))._replace(path=f"/{connection.settings_dict['NAME']}")
    spent = stored(account)["access_token"]
    expire(account)
    environment = {
        **os.environ,
        "DATABASE_URL": address.geturl(),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "ACCOUNTS": json.dumps(settings.CONNECTED_ACCOUNTS),
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_AT_ONCE],
            **{"cwd": ROOT, "env": environment, "text": True},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    tokens = {process.communicate(timeout=60)[0].strip() for process in both}
    assert len(tokens) == 1
    assert tokens != {spent}
    account.refresh_from_db()
    assert account.status == "active"
    renew(account, bare)
    assert bare.lives(get_access_token(account))
