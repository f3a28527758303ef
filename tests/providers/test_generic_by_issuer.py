"""``generic.OAuth2`` by its issuer alone: what it asks for, how it authenticates, whom it finds."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import checks, mail
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event, Kind
from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.operations.notices import mail_owner
from connected_accounts.providers.base import Client as Pair
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.services import get_access_token, refresh
from connected_accounts.signals import reconnect_required
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import query_of, set_row, start
from tests.named_server import name_server

pytestmark = pytest.mark.django_db

ISSUER = "https://login.example"
Fakes = Callable[..., FakeProvider]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    discovery.clear_cache()


def by_issuer(settings: Any, told: dict[str, Any], options: Any = None, **entry: Any) -> None:
    """Put the server into settings, as if it had told this of itself."""
    metadata = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "userinfo_endpoint": f"{ISSUER}/me",
        discovery.IS_OPENID: True,
        **told,
    }
    discovery.cached_document(f"issuer:{ISSUER}", lambda: (metadata, 3600.0))
    left = dict.fromkeys(
        ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint")
    )
    name_server(
        settings,
        "login",
        {**left, "api_base_url": None, "issuer": ISSUER, **(options or {})},
        **entry,
    )


# --- What is asked for


ASKED: list[tuple[dict[str, Any], Any, Any, str | None, str | None]] = [
    ({}, None, None, "openid", None),
    (
        {"scopes_supported": ["openid", "offline_access"]},
        None,
        None,
        "openid offline_access",
        "consent",
    ),
    ({"scopes_supported": ["openid"]}, None, None, "openid", None),
    (
        {"scopes_supported": ["openid", "offline_access"]},
        {"offline_access": False},
        None,
        "openid",
        None,
    ),
    (
        {"scopes_supported": ["openid", "offline_access"]},
        None,
        ["openid", "email"],
        "openid email offline_access",
        "consent",
    ),
    ({"scopes_supported": ["openid", "offline_access"]}, None, [], None, None),
    (
        {"scopes_supported": ["openid", "offline_access"]},
        {"authorization_params": {"prompt": "login"}},
        None,
        "openid offline_access",
        "login",
    ),
    (
        {"scopes_supported": ["openid", "offline_access"]},
        {"authorization_params": {"prompt": ""}},
        None,
        "openid offline_access",
        None,
    ),
    # It is not asked for where it is not offered, unless settings name it.
    ({discovery.IS_OPENID: False, "scopes_supported": ["read", "write"]}, None, None, None, None),
    ({discovery.IS_OPENID: False}, None, None, None, None),
    ({discovery.IS_OPENID: False, "scopes_supported": ["openid"]}, None, None, "openid", None),
    ({discovery.IS_OPENID: False, "scopes_supported": ["read"]}, None, ["openid"], "openid", None),
    # Without openid the scope needs no consent each time.
    (
        {discovery.IS_OPENID: False, "scopes_supported": ["read", "offline_access"]},
        None,
        ["read"],
        "read offline_access",
        None,
    ),
]


@pytest.mark.parametrize(("told", "options", "scopes", "asked", "prompt"), ASKED)
def test_it_asks_for_what_the_server_offers(
    settings: Any,
    client_of_ada: Client,
    told: Any,
    options: Any,
    scopes: Any,
    asked: Any,
    prompt: Any,
) -> None:
    by_issuer(settings, told, options, SCOPES=scopes)
    query = query_of(start(client_of_ada, "login"))
    assert query.get("scope") == asked
    assert query.get("prompt") == prompt
    assert ("nonce" in query) is ("openid" in (asked or ""))


def test_what_was_not_offered_is_not_shown_as_missing(
    settings: Any, client_of_ada: Client, ada: Any, fake_provider: Fakes
) -> None:
    by_issuer(settings, {discovery.IS_OPENID: False, "scopes_supported": ["read"]})
    account = connect_account(fake_provider("login"), ada)
    assert account.scopes_requested == []
    assert "not granted" not in client_of_ada.get("/connections/").content.decode()


# --- How it authenticates


METHODS = ["client_secret_basic", "client_secret_post", "none"]
AUTH: list[tuple[Any, str, str, str]] = [
    (METHODS, "id", "plain-secret_1.x~", "client_secret_basic"),
    (METHODS, "id", "a b+c%41", "client_secret_post"),
    (METHODS, "si:te", "plain", "client_secret_post"),
    (["client_secret_basic"], "id", "a b+c%41", "client_secret_basic"),
    (["client_secret_post"], "id", "plain", "client_secret_post"),
    (None, "id", "plain", "client_secret_basic"),
    (METHODS, "id", "", "none"),
]


@pytest.mark.parametrize(("methods", "client_id", "secret", "chosen"), AUTH)
def test_the_best_client_authentication_that_is_offered_is_used(
    settings: Any, methods: Any, client_id: str, secret: str, chosen: str
) -> None:
    told = {} if methods is None else {"token_endpoint_auth_methods_supported": methods}
    by_issuer(settings, told, CLIENT_ID=client_id, CLIENT_SECRET=secret)
    provider = get_provider("login").bound(inputs={})
    provider.endpoints()
    assert provider.token_endpoint_auth_method == chosen


@pytest.mark.parametrize(
    ("methods", "chosen"),
    [
        (METHODS, "client_secret_basic"),
        (["none", "client_secret_post"], "client_secret_post"),
        (["none"], "none"),
    ],
)
def test_it_registers_with_the_best_that_is_offered_and_keeps_to_it(
    settings: Any, methods: Any, chosen: str
) -> None:
    registers = {"registration_endpoint": f"{ISSUER}/register"}
    told = {"token_endpoint_auth_methods_supported": methods}
    by_issuer(settings, told, registers, CLIENT_ID="", CLIENT_SECRET="")
    provider = get_provider("login").bound(inputs={})
    provider.endpoints()
    said = provider.registration("https://site.example/callback/", ["openid"])
    assert (said["token_endpoint_auth_method"], said["application_type"]) == (chosen, "web")
    local = provider.registration("http://127.0.0.1:8000/callback/", [])
    assert local["application_type"] == "native"
    secret = "" if chosen == "none" else "odd secret %"
    registered = provider.bound(client=Pair("made", Secret(secret), pk=1, registered=True))
    assert registered.token_endpoint_auth_method == chosen


# --- Whom it finds


PEOPLE: list[tuple[Any, dict[str, Any], dict[str, Any], tuple[str, str]]] = [
    ({"sub": "1", "email": "a@x.example"}, {}, {}, ("1", "a@x.example")),
    ({"sub": "1", "preferred_username": "ada"}, {}, {}, ("1", "ada")),
    ({"sub": "1", "name": "Ada"}, {"email": "a@x.example"}, {}, ("1", "a@x.example")),
    ({"id": 7, "login": "ada"}, {}, {}, ("7", "ada")),
    ({"id": 7}, {"sub": "1"}, {}, ("1", "")),
    (
        {"id": 7, "sub": "1", "name": "Ada"},
        {},
        {"subject_path": "id", "label_path": "nick"},
        ("7", ""),
    ),
    ({}, {}, {"identity_source": "none"}, ("login.example", "")),
]


@pytest.mark.parametrize(("document", "claims", "options", "found"), PEOPLE)
def test_the_account_is_known_by_what_the_server_names(
    settings: Any, document: Any, claims: Any, options: Any, found: tuple[str, str]
) -> None:
    by_issuer(settings, {}, options)

    class Session:
        def fetch(self, method: str, url: str) -> Any:
            return document

    provider = get_provider("login").bound(inputs={})
    token = TokenResponse(Secret("t"), claims=claims)
    identity = provider.fetch_identity(Session(), token)  # type: ignore[arg-type]
    assert (identity.subject, identity.label) == found


def test_a_server_that_tells_no_person_has_one_account_for_each_owner(
    settings: Any, ada: Any, bob: Any, fake_provider: Fakes
) -> None:
    name_server(settings, "house", {"identity_source": "none", "userinfo_endpoint": None})
    fake = fake_provider("house")
    first = connect_account(fake, ada, subject="cleo")
    assert connect_account(fake, ada, subject="ada").pk == first.pk
    assert connect_account(fake, bob, subject="ada").pk != first.pk
    assert fake.sent_to("identity") == []
    for grant in fake.grants:
        grant.revoke()
    with pytest.raises(Exception, match="revoked"):
        refresh(ConnectedAccount.objects.for_user(ada).get())
    assert [m for m in checks.run_checks(tags=["connected_accounts"]) if "house" in m.msg] == []


@pytest.mark.parametrize("path", ["email", "user.mail", "primaryEmail"])
def test_an_address_as_subject_is_warned_of(settings: Any, path: str) -> None:
    name_server(settings, "pretix", {"subject_path": path})
    found = checks.run_checks(tags=["connected_accounts"])
    assert [m.id for m in found if "pretix" in m.msg] == ["connected_accounts.W013"]


def test_nobody_known_cannot_be_exclusive(settings: Any) -> None:
    name_server(settings, "house", {"identity_source": "none"}, EXCLUSIVE=True)
    found = checks.run_checks(tags=["connected_accounts"])
    assert [m.id for m in found if "house" in m.msg] == ["connected_accounts.E015"]


def test_it_is_called_by_its_host_until_it_has_a_name(settings: Any) -> None:
    by_issuer(settings, {})
    assert get_provider("login").name == "login.example"
    by_issuer(settings, {}, {"name": "Our login"})
    assert get_provider("login").name == "Our login"


# --- A connection that cannot be renewed


def test_its_end_is_told_beforehand_seen_by_beat_and_mailed(
    settings: Any, ada: Any, client_of_ada: Client, fake_provider: Fakes
) -> None:
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {
        "REDIRECT_BASE_URL": "https://site.example"
    }
    name_server(settings, "brief")
    fake = fake_provider("brief", expires_in=3600, omit_refresh_token=True)
    account = connect_account(fake, ada)
    told: list[Any] = []

    def tell(sender: Any, account: ConnectedAccount, reason: str, **kwargs: Any) -> None:
        told.append((reason, mail_owner(account.pk, account.generation)))

    assert "Connected until" in client_of_ada.get("/connections/").content.decode()
    refresh_due_accounts.apply()
    account.refresh_from_db()
    assert account.status == "active"
    reconnect_required.connect(tell)
    try:
        fake.advance(hours=1, seconds=1)
        refresh_due_accounts.apply()
        refresh_due_accounts.apply()
    finally:
        reconnect_required.disconnect(tell)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "refresh_token_expired")
    assert told == [("refresh_token_expired", True)]
    assert [message.to for message in mail.outbox] == [[ada.email]]
    assert Event.objects.filter(kind=Kind.RECONNECT_REQUIRED).count() == 1
    assert "the permission has expired" in client_of_ada.get("/connections/").content.decode()
    assert len(fake.sent_to("token")) == 1  # nobody was asked for what cannot be had


def test_what_was_looked_at_before_its_end_is_looked_at_again_then(
    settings: Any, ada: Any, fake_provider: Fakes
) -> None:
    name_server(settings, "brief")
    fake = fake_provider("brief", expires_in=3600, omit_refresh_token=True)
    account = connect_account(fake, ada)
    set_row(account, expires_at=timezone.now() + timedelta(seconds=20), refresh_at=None)
    assert get_access_token(account)
    account.refresh_from_db()
    assert account.refresh_at == account.expires_at


def test_one_that_is_refreshed_on_use_has_not_run_out(
    settings: Any, ada: Any, client_of_ada: Client, fake_provider: Fakes
) -> None:
    name_server(settings, "idle", REFRESH_POLICY="on_use")
    fake = fake_provider("idle", expires_in=3600)
    account = connect_account(fake, ada)
    fake.advance(hours=2)
    assert "Action needed" not in client_of_ada.get("/connections/").content.decode()
    assert get_access_token(account)
