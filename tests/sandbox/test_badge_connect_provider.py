"""``BadgeConnect`` with nothing but a list of hosts, against the sandbox's three as they run."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, ProviderClient
from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.badge_connect import OB2, OB3
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    complete_authorization,
    disconnect,
    get_access_token,
    get_session,
    refresh,
    start_authorization,
)
from tests.journeys import query_of
from tests.sandbox.sandbox_client import SITE, Person, Sandbox
from tests.site import running_site
from tests.tasks.test_processes import go

CALLBACK = f"{SITE}/connections/badges/callback/"
BACKEND = "connected_accounts.providers.badge_connect.BadgeConnect"
LIFE = 600  # of a client secret
# Dialect of the sandbox, options besides the host, scopes that are left, outcome of a revocation.
HOSTS = [
    (
        "badgeconnect",
        {},
        [f"{OB2}profile.readonly", f"{OB2}assertion.readonly", "offline_access"],
        "revoked",
    ),
    (
        "badgeconnect-badgr",
        {},
        [f"{OB2}profile.readonly", f"{OB2}assertion.readonly"],
        "revoked",
    ),
    (
        "badgeconnect3",
        {"revocation_endpoint": "{base}/oauth/revoke"},
        [f"{OB3}profile.readonly", f"{OB3}credential.readonly", "offline_access"],
        "revoked",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("badge-connect-provider")


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[Sandbox]:
    running = Sandbox.start(folder, "--client-secret-seconds", str(LIFE))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _nothing_kept(own_connections: None) -> Iterator[None]:
    discovery.clear_cache()
    yield
    discovery.clear_cache()


class Flow:
    """A person of ours connects at one host of the sandbox."""

    def __init__(self, sandbox: Sandbox, dialect: str, settings: Any, user: Any, **options: str):
        self.sandbox, self.dialect, self.user = sandbox, dialect, user
        self.host = f"{sandbox.url}/{dialect}"
        options = {name: text.format(base=self.host) for name, text in options.items()}
        entry = {"BACKEND": BACKEND, "OPTIONS": {"hosts": [self.host], **options}}
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}

    def start(self) -> tuple[str, str]:
        secret = new_secret()
        url = start_authorization(
            user=self.user,
            provider="badges",
            redirect_uri=CALLBACK,
            browser_secret=secret,
            inputs={"host": self.host},
        )
        return url, secret

    def connect(self) -> ConnectedAccount:
        url, secret = self.start()
        path = url.removeprefix(self.sandbox.url).partition("?")[0]
        params = Person(self.sandbox).allow(path, **query_of(url))
        return complete_authorization(
            user=self.user, provider="badges", browser_secret=secret, params=params
        ).account

    @property
    def state(self) -> dict[str, Any]:
        return self.sandbox.state(self.dialect)


@pytest.mark.django_db
@pytest.mark.parametrize(("dialect", "options", "scopes", "outcome"), HOSTS)
def test_a_host_is_found_registered_at_connected_refreshed_used_and_left(
    sandbox: Sandbox,
    settings: Any,
    user: Any,
    dialect: Any,
    options: Any,
    scopes: Any,
    outcome: Any,
) -> None:
    flow = Flow(sandbox, dialect, settings, user, **options)
    before = flow.state
    account = flow.connect()
    assert account.label in ("Ada Lovelace", "ada@sandbox.example")
    assert account.subject.startswith(flow.host)
    assert account.scopes_granted == scopes
    first = get_access_token(account)
    refresh(account)
    assert get_access_token(account) != first
    profile = get_session(account).get("profile")
    assert profile.status_code == 200
    refresh(account)  # in 3.0 with the refresh token of before, which is not told again

    again = flow.connect()
    assert again.pk == account.pk
    after = flow.state
    assert after["registrations"] - before["registrations"] == 1
    # badgr-server's is a redirect to it.
    assert after["discoveries"] - before["discoveries"] == 1
    assert after["reuse_detected"] == before["reuse_detected"]

    token = get_access_token(again)
    revocation = disconnect(again)
    revoke_pending()
    assert revocation is not None
    revocation.refresh_from_db()
    assert revocation.outcome == outcome
    path = profile.url.removeprefix(sandbox.url)
    assert sandbox.get(path, token).status_code == (401 if outcome == "revoked" else 200)


@pytest.mark.django_db
def test_two_hosts_under_one_alias_are_two_accounts(
    sandbox: Sandbox, settings: Any, user: Any
) -> None:
    accounts = [Flow(sandbox, name, settings, user).connect() for name, *_ in HOSTS]
    assert len({account.pk for account in accounts}) == 3
    assert len({account.subject for account in accounts}) == 3
    assert ProviderClient.objects.count() == 3


@pytest.mark.django_db
def test_a_secret_that_has_expired_is_registered_anew(
    sandbox: Sandbox, settings: Any, user: Any
) -> None:
    flow = Flow(sandbox, "badgeconnect", settings, user)
    before = flow.state["registrations"]
    account = flow.connect()
    row = ProviderClient.objects.get()
    assert row.secret_expires_at is not None
    assert 0 < (row.secret_expires_at - timezone.now()).total_seconds() <= LIFE + 1
    assert query_of(flow.start()[0])["client_id"] == account.client_id

    ProviderClient.objects.update(secret_expires_at=timezone.now())
    renewed = flow.connect()
    assert renewed.pk == account.pk
    assert renewed.client_id != account.client_id
    refresh(renewed)
    assert flow.state["registrations"] == before + 2


@pytest.mark.django_db
def test_a_secret_that_ends_at_the_host_ends_the_account_with_a_reason(
    sandbox: Sandbox, folder: Path, settings: Any, user: Any
) -> None:
    flow = Flow(sandbox, "badgeconnect3", settings, user)
    account = flow.connect()
    with closing(sqlite3.connect(folder / "sandbox.sqlite3", timeout=20)) as host, host:
        host.execute("UPDATE sandbox_registration SET secret_expires_at = '2000-01-01 00:00:00'")
    with pytest.raises(ReauthorizationRequired) as caught:
        refresh(account)
    assert caught.value.code == "credentials_rejected"
    assert ProviderClient.objects.get().retired_at is not None

    again = flow.connect()
    assert (again.pk, again.status) == (account.pk, "active")
    refresh(again)


START = f"""
import os
from django.conf import settings
from connected_accounts.oauth2.state import new_secret
from connected_accounts.services import start_authorization
host = os.environ["SANDBOX_URL"] + "/badgeconnect"
entry = dict(BACKEND="{BACKEND}", OPTIONS=dict(hosts=[host]))
settings.CONNECTED_ACCOUNTS = dict(PROVIDERS=dict(badges=entry))
print(start_authorization(
    user=account.user, provider="badges", redirect_uri="{CALLBACK}", browser_secret=new_secret(),
    inputs=dict(host=host),
))
"""


@pytest.mark.postgres
def test_processes_that_connect_at_once_register_once(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        printed = go([site.start(START) for _ in range(6)])
        assert len({query_of(url)["client_id"] for url in printed}) == 1
        made = site.sql("SELECT count(*) FROM connected_accounts_providerclient")
        assert made == [(1,)]
        running = Sandbox(site.sandbox, site.sandbox_url)  # type: ignore[arg-type]
        assert running.state("badgeconnect")["registrations"] == 1
