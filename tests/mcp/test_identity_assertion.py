"""A person's MCP servers by their organisation's sign-in, without a page of the server's."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from connected_accounts.exceptions import (
    ClientRejected,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers import options
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import connect_directly, get_session, refresh
from tests.mcp.conftest import BACKEND
from tests.mcp.guarded import Guarded

pytestmark = pytest.mark.django_db(transaction=True)

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
OAUTH2 = "connected_accounts.providers.generic.OAuth2"
ENDS = int(time.time()) + 3600


def identity_token(ends: int = ENDS, name: str = "ada") -> str:
    """One as a sign-in issues it; nobody but that looks at the signature."""
    parts: list[dict[str, Any]] = [{"alg": "ES256"}, {"sub": name, "exp": ends}]
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join(text.rstrip("=") for text in (*texts, "c2ln"))


@pytest.fixture
def configure(settings: Any, guarded: Guarded) -> Callable[..., None]:
    """Settings with the MCP servers of an organisation, and its sign-in."""

    def change(backend: str = BACKEND, **changed: Any) -> None:
        sign_in = {
            "BACKEND": OAUTH2,
            "CLIENT_ID": "site-at-sign-in",
            "CLIENT_SECRET": "secret-at-sign-in",
            "OPTIONS": {
                "authorization_endpoint": f"{guarded.url}/sign-in/authorize",
                "token_endpoint": f"{guarded.url}/sign-in/token",
                "userinfo_endpoint": f"{guarded.url}/sign-in/me",
            },
        }
        own = {"grant_type": "identity_assertion", "identity_provider": "sign-in"}
        if backend == BACKEND:
            own |= {"servers": [guarded.url], "client_issuer": guarded.url}
        mcp = {
            "BACKEND": backend,
            "CLIENT_ID": "site-at-server",
            "CLIENT_SECRET": "secret-at-server",
            "SCOPES": ["read"],
            "OPTIONS": own | changed,
        }
        settings.CONNECTED_ACCOUNTS = {
            "REDIRECT_BASE_URL": "http://testserver",
            "PROVIDERS": {"mcp": mcp, "sign-in": sign_in},
        }

    change()
    return change


@pytest.fixture
def connect(
    configure: Callable[..., None], guarded: Guarded, ada: Any
) -> Callable[..., ConnectedAccount]:
    def at_once(id_token: str = "", **kwargs: Any) -> ConnectedAccount:
        id_token = id_token or identity_token()
        guarded.people.append(id_token)
        values = {"server": guarded.server, "id_token": id_token}
        return connect_directly(user=ada, provider="mcp", values=values, **kwargs)[0]

    return at_once


Connect = Callable[..., ConnectedAccount]


def test_an_identity_token_connects_and_the_server_takes_what_comes_of_it(
    connect: Connect, guarded: Guarded
) -> None:
    account = connect()
    assert get_session(account).post(guarded.server, json=PING).status_code == 200
    (exchange,), (token,) = guarded.asked("/sign-in/token"), guarded.asked("/token")
    assert exchange.body == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
        "subject_token": identity_token(),
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "audience": guarded.url,
        "resource": guarded.server,
        "scope": "read",
        "client_id": "site-at-sign-in",
        "client_secret": "secret-at-sign-in",
    }
    assert token.body["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert account.scopes_granted == ["read"]


def test_the_identity_token_goes_to_the_sign_in_alone_and_is_kept_sealed(
    connect: Connect, guarded: Guarded
) -> None:
    account = connect()
    others = [one for one in guarded.requests if one.path != "/sign-in/token"]
    assert others
    assert identity_token() not in str(others)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM connected_accounts_connectedaccount")
        kept = str([bytes(v) if isinstance(v, memoryview) else v for v in cursor.fetchone()])
    assert identity_token() not in kept
    row = ConnectedAccount.objects.with_token().get(pk=account.pk)
    assert row.open_token()["id_token"] == identity_token()
    assert row.open_token().get("refresh_token") is None


def test_a_refresh_asks_for_an_assertion_of_its_own(
    connect: Connect, guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    account = connect()
    refresh(account)
    assert "id_token" not in caplog.text, "that of the sign-in is not the server's to give"
    assertions = [one.body["assertion"] for one in guarded.asked("/token")]
    assert len(set(assertions)) == 2
    assert get_session(account).post(guarded.server, json=PING).status_code == 200


def test_the_connection_ends_with_the_identity_token(connect: Connect) -> None:
    account = connect()
    assert account.is_renewable
    ends = account.refresh_token_expires_at
    assert ends is not None
    assert abs((ends - datetime.fromtimestamp(ENDS, UTC)).total_seconds()) < 5
    refresh(account)
    assert account.refresh_token_expires_at is not None
    assert abs((account.refresh_token_expires_at - ends).total_seconds()) < 5


def test_an_identity_token_that_the_sign_in_refuses_needs_the_person_who_heals_the_account(
    connect: Connect, guarded: Guarded
) -> None:
    account = connect()
    guarded.people.clear()
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    account.refresh_from_db()
    assert account.needs_reconnect
    assert connect(identity_token(name="again"), account=account) == account
    account.refresh_from_db()
    assert not account.needs_reconnect


@pytest.mark.parametrize("id_token", [identity_token(ENDS - 7200), "none"], ids=["ended", "none"])
def test_an_identity_token_that_is_not_accepted_connects_nothing(
    configure: Any, guarded: Guarded, ada: Any, id_token: str
) -> None:
    values = {"server": guarded.server, "id_token": id_token}
    with pytest.raises(ClientRejected) as caught:
        connect_directly(user=ada, provider="mcp", values=values)
    assert caught.value.code == "credentials"
    assert not ConnectedAccount.objects.exists()


def test_a_sign_in_that_refuses_the_site_is_no_fault_of_the_client_at_the_server(
    connect: Connect, guarded: Guarded
) -> None:
    account = connect()
    guarded.answers["/sign-in/token"] = (401, {"error": "invalid_client"}, {})
    with pytest.raises(UnexpectedResponse) as caught:
        refresh(account)
    assert caught.value.code == "identity_provider"
    assert len(guarded.asked("/token")) == 1
    account.refresh_from_db()
    assert not account.needs_reconnect


def test_a_token_of_another_kind_is_no_assertion(connect: Connect, guarded: Guarded) -> None:
    kind = "urn:ietf:params:oauth:token-type:access_token"
    told = {"access_token": "a", "issued_token_type": kind, "token_type": "Bearer"}
    guarded.answers["/sign-in/token"] = (200, told, {})
    with pytest.raises(UnexpectedResponse) as caught:
        connect()
    assert caught.value.code == "no_assertion"
    assert not guarded.asked("/token")


def test_a_sign_in_that_settings_have_no_more_stops_nothing_but_its_own(
    connect: Connect, settings: Any
) -> None:
    account = connect()
    del settings.CONNECTED_ACCOUNTS["PROVIDERS"]["sign-in"]
    with pytest.raises(UnexpectedResponse):
        refresh(account)
    account.refresh_from_db()
    assert not account.needs_reconnect


def test_a_person_whose_site_is_no_client_there_brings_one(
    configure: Callable[..., None], guarded: Guarded, ada: Any
) -> None:
    configure(client_issuer="https://elsewhere.example")
    guarded.people.append(identity_token())
    values = {"server": guarded.server, "id_token": identity_token()}
    own = {"client_id": "hers", "client_secret": "her-secret"}
    account, _ = connect_directly(user=ada, provider="mcp", values=values | own)
    assert account.client_id == "hers"


def test_the_page_asks_for_the_identity_token_and_shows_it_to_nobody(
    connect: Connect, guarded: Guarded, ada: Any
) -> None:
    browser = Client()
    browser.force_login(ada)
    asked = browser.get("/connections/mcp/connect/").content.decode()
    assert 'name="id_token"' in asked
    guarded.people.append(identity_token())
    entered = {"server": guarded.server, "id_token": identity_token()}
    assert browser.post("/connections/mcp/connect/", entered).status_code == 303
    assert ConnectedAccount.objects.for_user(ada).count() == 1
    refused = browser.post("/connections/mcp/connect/", entered | {"id_token": "not-hers"})
    assert "not-hers" not in refused.content.decode()


@pytest.mark.parametrize("named", ["", "mcp", "nowhere"])
def test_a_sign_in_that_is_not_in_settings_is_a_fault_of_settings(
    configure: Callable[..., None], named: str
) -> None:
    from connected_accounts import conf
    from connected_accounts.providers.mcp import MCP

    configure(identity_provider=named)
    found = list(options.problems(MCP, conf.provider_config("mcp")))
    assert [one.id for one in found if "identity_provider" in one.message] == ["E027"]


def test_another_provider_has_no_such_grant(configure: Callable[..., None]) -> None:
    from connected_accounts import conf

    configure(OAUTH2, issuer="https://login.example")
    provider = type(get_provider("sign-in"))
    found = list(options.problems(provider, conf.provider_config("mcp")))
    assert any(one.id == "E011" and "identity_assertion" in one.message for one in found)
