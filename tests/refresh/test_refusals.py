"""A definite refusal that stays is an end, and no outage; some refusals end by themselves."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from connected_accounts import signals
from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event, ProviderState
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh import refusals
from connected_accounts.services import get_access_token, refresh
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import Answer, FakeProvider, Timeout, connect_account
from connected_accounts.web.cards import account_card
from tests.journeys import change_token_answers, stored

pytestmark = pytest.mark.django_db

REFUSALS = [
    Answer(400, json={"error": "invalid_request"}),
    Answer(400, body=""),
    Answer(403, json={"error": "access_denied"}),
    Answer(403, body="403: Forbidden"),
    Answer(404, json={"detail": "no such grant"}),
]


@pytest.fixture
def account(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    badgr.behaviour.expires_in = 1800
    return connect_account(badgr, ada, subject="ada")


@pytest.fixture
def other(bob: Any, account: ConnectedAccount, badgr: FakeProvider) -> ConnectedAccount:
    return connect_account(badgr, bob, subject="bob")


class Refusing:
    """A provider that has one answer to one refresh token, until it is let in again."""

    def __init__(self, fake: FakeProvider, account: ConnectedAccount, answer: Any) -> None:
        self.token, self.answer = stored(account)["refresh_token"], answer
        change_token_answers(fake, self.change)

    def change(self, seen: Any, own: Any) -> Any:
        mine = seen.fields.get("refresh_token") == self.token
        return self.answer if mine and self.answer else own(seen)


def pass_hours(fake: FakeProvider, hours: int, minutes: int = 30) -> None:
    for _ in range(hours * 60 // minutes):
        fake.advance(minutes=minutes)
        refresh_due_accounts.apply()


@pytest.mark.parametrize("answer", REFUSALS, ids=repr)
def test_a_refusal_that_stays_for_hours_ends_the_grant_while_others_are_served(
    account: ConnectedAccount, other: ConnectedAccount, badgr: FakeProvider, answer: Answer
) -> None:
    heard: list[str] = []
    signals.reconnect_required.connect(lambda **told: heard.append(told["reason"]), weak=False)
    refusing = Refusing(badgr, account, answer)
    pass_hours(badgr, 5)
    account.refresh_from_db()
    assert account.status == "active"
    pass_hours(badgr, 4)
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "refused")
    assert heard == ["refused"]
    assert get_access_token(other)
    asked = badgr.presentations[refusing.token]
    pass_hours(badgr, 72, minutes=180)
    assert 2 <= badgr.presentations[refusing.token] - asked <= 4
    assert stored(account)["refresh_token"] == refusing.token
    assert heard == ["refused"]


def test_an_only_account_that_is_refused_ends_later(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    Refusing(badgr, account, Answer(400, json={"error": "invalid_request"}))
    pass_hours(badgr, 11)
    account.refresh_from_db()
    assert account.status == "active"
    pass_hours(badgr, 4)
    account.refresh_from_db()
    assert account.reason == "refused"


def test_a_refusal_that_ends_by_itself_heals_the_connection(
    account: ConnectedAccount, other: ConnectedAccount, badgr: FakeProvider
) -> None:
    refusing = Refusing(badgr, account, Answer(403, json={"error": "access_denied"}))
    pass_hours(badgr, 9)
    pass_hours(badgr, 21, minutes=180)
    with pytest.raises(ReauthorizationRequired) as caught:
        get_access_token(account)
    assert caught.value.code == "refused"
    refusing.answer = None
    pass_hours(badgr, 27, minutes=180)
    account.refresh_from_db()
    assert (account.status, account.reason, account.refused_since) == ("active", "", None)
    assert get_access_token(account) == badgr.grants[0].access_token
    assert Event.objects.filter(kind="reconnected", detail="taken_again").count() == 1


def test_after_a_month_it_is_tried_no_more(
    account: ConnectedAccount, other: ConnectedAccount, badgr: FakeProvider
) -> None:
    Refusing(badgr, account, Answer(400))
    pass_hours(badgr, 10)
    account.refresh_from_db()
    assert account.refresh_at is not None
    for _ in range(33):
        badgr.advance(days=1)
        refresh_due_accounts.apply()
    account.refresh_from_db()
    assert (account.reason, account.refresh_at) == ("refused", None)


def test_while_the_access_token_is_good_a_refusal_ends_nothing(
    ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada)  # for a day
    Refusing(badgr, account, Answer(400, json={"error": "invalid_request"}))
    badgr.advance(hours=10)
    with pytest.raises(UnexpectedResponse):
        refresh(account)
    pass_hours(badgr, 13)
    account.refresh_from_db()
    assert account.status == "active"
    assert get_access_token(account) == badgr.grants[0].access_token


@pytest.mark.parametrize("answer", [Answer(500), Answer(503), Answer(429), Timeout()], ids=repr)
def test_an_outage_of_any_length_ends_nothing(
    account: ConnectedAccount, badgr: FakeProvider, answer: Any
) -> None:
    badgr.unavailable(answer)
    pass_hours(badgr, 48, minutes=120)
    account.refresh_from_db()
    assert (account.status, account.refused_since) == ("active", None)


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
def test_the_person_is_told_that_it_refuses_and_never_that_nobody_answers(
    account: ConnectedAccount,
    other: ConnectedAccount,
    badgr: FakeProvider,
    client_of_ada: Client,
    language: str,
) -> None:
    words = {
        "en": ("refuses to renew", "not answering"),
        "de": ("verweigert", "antwortet"),
        "fr": ("refuse de renouveler", "ne répond pas"),
        "es": ("se niega a renovar", "no responde"),
    }
    refuses, answers = words[language]
    Refusing(badgr, account, Answer(400, json={"error": "invalid_request"}))

    states = []
    for hours in (0, 3, 6):  # refused, run out, and ended
        badgr.advance(minutes=25)
        refresh_due_accounts.apply()
        pass_hours(badgr, hours)
        account.refresh_from_db()
        with translation.override(language):
            page = client_of_ada.get("/connections/").content.decode()
        states.append(account_card(account, timezone.now()).state)
        assert refuses in page
        assert answers not in page
    assert states == ["connected", "needs_you", "needs_you"]
    account.refresh_from_db()
    assert account.reason == "refused"


def test_ten_people_who_are_refused_are_no_outage(
    account: ConnectedAccount,
    badgr: FakeProvider,
    make_account: Any,
    client_of_ada: Client,
) -> None:
    dead = [make_account() for _ in range(12)]
    change_token_answers(
        badgr,
        lambda seen, own: (
            Answer(400, json={"error": "invalid_request"})
            if seen.fields.get("refresh_token") == "stored-refresh-token"
            else own(seen)
        ),
    )
    for one in dead:
        with pytest.raises(UnexpectedResponse):
            refresh(one)
    assert ProviderState.objects.get().pause_reason == "refusing"
    assert "not answering" not in client_of_ada.get("/connections/").content.decode()
    pass_hours(badgr, 1)
    assert get_access_token(account)
    assert ProviderState.objects.get().pause_reason == ""


# --- Words --------------------------------------------------------------------------------------


def meant(status: int, payload: dict[str, Any], **options: Any) -> Exception:
    provider = get_provider("badgr")
    for name, value in options.items():
        setattr(provider, name, value)
    return provider.classify_error(status, payload)


@pytest.mark.parametrize("payload", [{}, {"detail": "no"}])
def test_a_401_without_a_known_word_is_the_clients(payload: dict[str, Any]) -> None:
    error = meant(401, payload)
    assert isinstance(error, ClientRejected)
    assert error.code == "invalid_client"


def test_a_401_with_a_word_for_a_dead_grant_is_one() -> None:
    assert isinstance(meant(401, {"error": "invalid_grant"}), ReauthorizationRequired)


@pytest.mark.parametrize(
    ("status", "payload", "declared", "dead"),
    [
        (400, {}, {"dead_grant_errors": ("invalid_grant", "status_400")}, True),
        (400, {"error": "other"}, {"dead_grant_errors": ("status_400",)}, False),
        (401, {}, {"dead_grant_errors": ("status_400",)}, False),
        (403, {"message": "Token Revoked"}, {"dead_grant_text": ("token revoked",)}, True),
        (400, {"error": {"code": "E_DEAD"}}, {"dead_grant_text": ("e_dead",)}, True),
        (500, {"message": "token revoked"}, {"dead_grant_text": ("token revoked",)}, False),
        (400, {"error": "invalid_request"}, {"dead_grant_text": ("",)}, False),
    ],
)
def test_a_providers_own_word_for_a_dead_grant_is_declared(
    status: int, payload: dict[str, Any], declared: dict[str, Any], dead: bool
) -> None:
    assert isinstance(meant(status, payload, **declared), ReauthorizationRequired) is dead


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, None])
def test_what_asks_for_patience_or_says_nothing_is_no_refusal(status: int | None) -> None:
    assert not UnexpectedResponse("x", status=status).refused
    assert not refusals.is_refusal(ProviderUnavailable("x", status=status))


def test_the_hours_are_those_that_are_written_down() -> None:
    hours = {refusals.REFUSED_FOR: "six hours", refusals.REFUSED_ALONE_FOR: "twelve"}
    assert list(hours) == [timedelta(hours=6), timedelta(hours=12)]
    with open("docs/explanation/refreshing.md") as page:
        text = " ".join(page.read().split())
    assert all(words in text for words in hours.values())
