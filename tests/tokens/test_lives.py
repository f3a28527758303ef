"""How long tokens live: however a provider tells it, and where it does not tell."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import checks
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ConnectedAccountsError, UnexpectedResponse
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.token import MAX_LIFE, UNITS
from connected_accounts.providers.options import LIFE_UNITS
from connected_accounts.services import get_access_token, refresh
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import OMITTED, Answer, FakeProvider, connect_account
from tests.journeys import set_row, stored
from tests.named_server import answering, name_server, with_fields

pytestmark = pytest.mark.django_db

MONTH = 30 * 86400


def life_of(account: ConnectedAccount, name: str) -> float | None:
    end = getattr(account, name)
    return None if end is None else (end - account.connected_at).total_seconds()


@pytest.mark.parametrize("life", [0, -1, "0", -3600, OMITTED, None, "", "soon"])
def test_a_token_without_a_told_end_goes_on(
    settings: Any,
    ada: Any,
    client_of_ada: Client,
    fake_provider: Callable[..., FakeProvider],
    life: Any,
) -> None:
    name_server(settings, "mailchimp")
    fake = fake_provider("mailchimp", expires_in=life, omit_refresh_token=True)
    account = connect_account(fake, ada)
    token = fake.grants[0].access_token
    assert (account.expires_at, account.refresh_at) == (None, None)
    assert "Needs you" not in client_of_ada.get("/connections/").content.decode()
    assert get_access_token(account) == token


REFRESH_LIVES: list[tuple[str, str | None, str | None, Any]] = [
    ("refresh_token_expires_in", None, None, lambda: MONTH),
    ("refresh_expires_in", "refresh_expires_in", "seconds", lambda: str(MONTH)),
    ("x_refresh_token_expires_in", "x_refresh_token_expires_in", "seconds", lambda: MONTH),
    ("refresh_life_ms", "refresh_life_ms", "milliseconds", lambda: MONTH * 1000),
    ("refresh_ends", "refresh_ends", "timestamp", lambda: time.time() + MONTH),
    ("refresh_ends", "refresh_ends", "timestamp", lambda: str(int(time.time() + MONTH))),
    ("refreshEnds", "refreshEnds", "timestamp_ms", lambda: (time.time() + MONTH) * 1000),
    (
        "refresh_until",
        "refresh_until",
        "date",
        lambda: (datetime.now(UTC) + timedelta(seconds=MONTH)).isoformat(),
    ),
    (
        "refresh_until",
        "refresh_until",
        "date",
        lambda: (datetime.now(UTC) + timedelta(seconds=MONTH)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    ),
]


@pytest.mark.parametrize(("told_as", "declared", "unit", "value"), REFRESH_LIVES)
def test_the_life_of_a_refresh_token_is_read_as_it_is_declared(
    settings: Any,
    ada: Any,
    fake_provider: Callable[..., FakeProvider],
    told_as: str,
    declared: str | None,
    unit: str | None,
    value: Any,
) -> None:
    options: dict[str, Any] = {}
    if declared:
        options = {
            "refresh_token_expires_in_field": declared,
            "refresh_token_expires_in_unit": unit,
        }
    name_server(settings, "telling", options)
    fake = fake_provider("telling")
    with_fields(fake, **{told_as: value()})
    life = life_of(connect_account(fake, ada), "refresh_token_expires_at")
    assert life == pytest.approx(MONTH, abs=5)


@pytest.mark.parametrize("unit", LIFE_UNITS)
@pytest.mark.parametrize(
    "value", [0, -1, "0", None, True, [], {}, "never", float("inf"), -(10**400)]
)
def test_what_is_no_life_in_any_unit_is_not_known(unit: str, value: Any) -> None:
    assert UNITS[unit](value) is None


@pytest.mark.parametrize("unit", sorted(set(LIFE_UNITS) - {"date"}))
@pytest.mark.parametrize("value", [10**15, 10**400, 1e300, "1" + "0" * 40])
def test_what_is_beyond_all_measure_is_bounded_in_any_unit(unit: str, value: Any) -> None:
    assert UNITS[unit](value) == MAX_LIFE


def test_the_units_that_settings_may_name_are_those_that_are_read() -> None:
    assert set(LIFE_UNITS) == set(UNITS)


def test_a_moment_that_has_passed_is_not_an_end() -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    assert UNITS["timestamp"](past.timestamp()) is None
    assert UNITS["date"](past.isoformat()) is None


def test_settings_say_the_life_that_a_provider_does_not_tell(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(
        settings, "zendesk", {"default_expires_in": 1800, "default_refresh_token_expires_in": MONTH}
    )
    fake = fake_provider("zendesk", expires_in=OMITTED)
    account = connect_account(fake, ada)
    assert life_of(account, "expires_at") == 1800
    assert life_of(account, "refresh_token_expires_at") == MONTH
    fake.advance(hours=2)
    fake.expire_access_tokens()
    assert fake._server.by_access_token(get_access_token(account))


def test_a_told_life_is_before_that_of_settings(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(settings, "zendesk", {"default_expires_in": 1800})
    account = connect_account(fake_provider("zendesk", expires_in=7200), ada)
    assert life_of(account, "expires_at") == 7200


def test_settings_ask_for_a_life_at_each_token_request(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(
        settings, "zendesk", {"token_request_params": {"expires_in": "1800", "grant_type": "x"}}
    )
    fake = fake_provider("zendesk")
    refresh(connect_account(fake, ada))
    assert [sent.fields["expires_in"] for sent in fake.sent_to("token")] == ["1800"] * 2
    kinds = [sent.fields["grant_type"] for sent in fake.sent_to("token")]
    assert kinds == ["authorization_code", "refresh_token"]  # what the flow itself says stays


def test_an_end_of_a_refresh_token_that_was_none_starts_no_loop(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    """It was said to end then, works beyond, and is not named again: its life slides."""
    name_server(settings, "sliding")
    fake = fake_provider("sliding", rotates=False, refresh_token_expires_in=OMITTED)
    account = connect_account(fake, ada)
    set_row(account, refresh_token_expires_at=timezone.now() - timedelta(hours=1))
    refresh(account)
    assert account.refresh_token_expires_at is None
    assert account.refresh_at - timezone.now() > timedelta(hours=1)


# --- When to renew ------------------------------------------------------------------------------


def test_each_provider_may_have_a_share_of_its_own(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(settings, "early", REFRESH_AT=0.1)
    account = connect_account(fake_provider("early", expires_in=10000), ada)
    assert 900 <= (account.refresh_at - account.connected_at).total_seconds() <= 1100


def test_a_margin_makes_it_due_at_the_end_and_not_before(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(settings, "late", {"refresh_margin": 300})
    fake = fake_provider("late", expires_in=10000)
    account = connect_account(fake, ada)
    assert 9700 <= (account.refresh_at - account.connected_at).total_seconds() <= 9850


@pytest.mark.parametrize(("margin", "renewed_at"), [(0, 60), (30, 30), (300, 60)])
def test_a_margin_of_less_than_a_minute_holds_for_whoever_asks_for_a_token(
    settings: Any,
    ada: Any,
    fake_provider: Callable[..., FakeProvider],
    margin: int,
    renewed_at: int,
) -> None:
    name_server(settings, "late", {"refresh_margin": margin})
    account = connect_account(fake_provider("late", expires_in=10000), ada)
    before = stored(account)["access_token"]
    set_row(account, expires_at=timezone.now() + timedelta(seconds=renewed_at + 5))
    assert get_access_token(account) == before
    set_row(account, expires_at=timezone.now() + timedelta(seconds=renewed_at - 5))
    assert get_access_token(account) != before


@pytest.mark.parametrize("value", ["0.5", True, 0, -1, 1])
def test_a_wrong_share_of_an_entry_is_an_error(settings: Any, value: Any) -> None:
    name_server(settings, "wrong", REFRESH_AT=value)
    found = [m for m in checks.run_checks(tags=["connected_accounts"]) if m.level >= checks.ERROR]
    assert [message.id for message in found] == ["connected_accounts.E014"]
    assert "REFRESH_AT" in found[0].msg


def refusing_early(fake: FakeProvider, left: float, said: dict[str, str] | None = None) -> None:
    """Let a refresh be refused while the access token is good for more than ``left`` seconds."""

    def change(seen: Any, own: Callable[[Any], Answer]) -> Answer:
        [grant] = fake.grants or [None]
        ends = getattr(grant, "access_token_ends", None)
        if "refresh_token" in seen.fields and ends and ends - fake._server.now() > left:
            return Answer(400, json=said or {"error": "invalid_request"})
        return own(seen)

    answering(fake, change)


def looks(fake: FakeProvider, account: ConnectedAccount, minutes: int) -> Iterator[str]:
    """Beat each minute, and a token asked for each ten seconds; yields what went wrong."""
    for _ in range(minutes):
        refresh_due_accounts.apply()
        for _ in range(6):
            try:
                if fake._server.by_access_token(get_access_token(account)) is None:
                    yield "a dead token"
            except ConnectedAccountsError as error:
                yield error.code
            fake.advance(seconds=10)


@pytest.mark.parametrize(
    "entry",
    [{}, {"REFRESH_AT": 0.95}, {"REFRESH_POLICY": "on_use"}, {"options": {"refresh_margin": 30}}],
    ids=["as it is", "late", "on use", "margin"],
)
def test_a_provider_that_refuses_early_fails_no_look(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider], entry: dict[str, Any]
) -> None:
    name_server(settings, "strict", **entry)
    fake = fake_provider("strict", expires_in=600)
    account = connect_account(fake, ada)
    refusing_early(fake, 30)
    assert list(looks(fake, account, 60)) == []


TOO_EARLY = {"error": "invalid_grant", "error_description": "token not expired"}


def test_a_service_that_refuses_while_the_token_lives_is_asked_after_its_end(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    entry = {"SERVICE": "headhunter", "CLIENT_ID": "client", "CLIENT_SECRET": "client-secret"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"hh": entry}}
    fake = fake_provider("hh", expires_in=600)
    account = connect_account(fake, ada)
    assert 5 <= (account.refresh_at - account.expires_at).total_seconds() <= 10
    refusing_early(fake, 0, TOO_EARLY)
    with pytest.raises(UnexpectedResponse):
        refresh(account)  # by hand: a refusal that ends nothing
    assert (account.status, account.reason) == ("active", "")
    found = set(looks(fake, account, 60))
    assert found <= {"a dead token"}  # until it can be renewed
    account.refresh_from_db()
    assert (account.status, account.failure_count) == ("active", 0)


def test_with_a_margin_such_a_provider_refuses_nothing(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(settings, "strict", {"refresh_margin": 30})
    fake = fake_provider("strict", expires_in=600)
    account = connect_account(fake, ada)
    refusing_early(fake, 30)
    assert list(looks(fake, account, 30)) == []
    assert len(fake.sent_to("token")) <= 1 + 3
    account.refresh_from_db()
    assert account.failure_count == 0


def test_a_wait_that_was_asked_for_is_kept_whatever_ends_meanwhile(
    settings: Any, ada: Any, fake_provider: Callable[..., FakeProvider]
) -> None:
    name_server(settings, "patient")
    fake = fake_provider("patient", expires_in=600)
    account = connect_account(fake, ada)
    fake.script(
        "token", Answer(400, json={"error": "invalid_request"}, headers={"Retry-After": "1800"})
    )
    with pytest.raises(ConnectedAccountsError):
        refresh(account)
    assert account.refresh_at > account.expires_at
