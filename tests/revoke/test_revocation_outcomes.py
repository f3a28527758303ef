"""What became of a grant after disconnecting: each outcome, the remainder that was given up, and no
provider that holds up another."""

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.operations.health import health
from connected_accounts.operations.retention import purge_old
from connected_accounts.providers.badgr import Badgr
from connected_accounts.revoke import outbox
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, disconnect_all
from connected_accounts.testing import Answer, FakeProvider, Timeout
from tests.journeys import connect

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def outcomes() -> list[tuple[str, str]]:
    rows = Revocation.objects.order_by("pk")
    return [(row.outcome, row.last_error) for row in rows]


def events() -> list[tuple[str, str]]:
    rows = Event.objects.order_by("pk").exclude(kind__in=("connected", "disconnected"))
    return list(rows.values_list("kind", "detail"))


def page(client: Client) -> str:
    return client.get("/connections/").content.decode()


def given_up(account: ConnectedAccount, badgr: FakeProvider) -> Revocation:
    disconnect(account)
    badgr.unavailable()
    now = timezone.now()
    revoke_pending(now=now)
    revoke_pending(now=now + 31 * DAY)
    return Revocation.objects.get()


# --- Each outcome, and who sees it


def make_pending(badgr: FakeProvider) -> None:
    badgr.script("revocation", Answer(503))


def make_given_up(badgr: FakeProvider) -> None:
    Revocation.objects.update(created_at=timezone.now() - 31 * DAY)
    badgr.script("revocation", Answer(503))


OUTCOMES = {
    "pending": (make_pending, "status_503", "is being withdrawn"),
    "revoked": (lambda badgr: None, "", "was withdrawn at the service"),
    "already_gone": (
        lambda badgr: badgr.script("revocation", Answer(400, json={"error": "invalid_grant"})),
        "",
        "had ended the permission already",
    ),
    "unsupported": (
        lambda badgr: badgr.script("revocation", Answer(404), Answer(404)),
        "",
        "offers no way to withdraw",
    ),
    "given_up": (make_given_up, "status_503", "could not be withdrawn. Please remove it"),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_outcome_is_reached_and_seen_by_user_and_staff(
    outcome: str,
    account: ConnectedAccount,
    client_of_ada: Client,
    badgr: FakeProvider,
    django_user_model: Any,
) -> None:
    prepare, error, words = OUTCOMES[outcome]
    disconnect(account)
    prepare(badgr)
    revoke_pending()
    assert outcomes() == [(outcome, error)]
    assert words in page(client_of_ada)
    assert "status_" not in page(client_of_ada)
    row, staff = Revocation.objects.get(), Client()
    staff.force_login(django_user_model.objects.create_superuser("root"))
    where = "/admin/connected_accounts/revocation/"
    listed = staff.get(where, {"outcome__exact": outcome}).content.decode()
    assert "1 revocation" in listed
    shown = staff.get(f"{where}{row.pk}/change/").content.decode()
    assert str(row.get_outcome_display()) in shown
    assert error in shown


# --- The remainder


def test_what_was_given_up_keeps_its_token_and_is_tried_once_a_day(
    account: ConnectedAccount, badgr: FakeProvider, client_of_ada: Client
) -> None:
    row = given_up(account, badgr)
    stopped = row.finished_at
    assert (row.outcome, row.last_error, row.token is None) == ("given_up", "status_503", False)
    assert row.next_attempt_at - stopped == DAY
    assert revoke_pending(now=stopped + DAY / 2) == 0
    assert revoke_pending(now=stopped + DAY) == 1
    assert revoke_pending(now=stopped + 1.5 * DAY) == 0
    row.refresh_from_db()
    assert (row.outcome, row.attempts, row.finished_at) == ("given_up", 3, stopped)
    assert events() == [("given_up", "status_503")], "said once"
    assert "It is still tried once a day." in page(client_of_ada)


def test_what_was_given_up_is_withdrawn_when_the_provider_is_back(
    account: ConnectedAccount, badgr: FakeProvider, client_of_ada: Client
) -> None:
    row = given_up(account, badgr)
    badgr.available()
    revoke_pending(now=row.finished_at + DAY)
    row.refresh_from_db()
    assert (row.outcome, row.last_error, row.token) == ("revoked", "", None)
    assert not badgr.grants[0].is_alive
    assert events() == [("given_up", "status_503"), ("revoked", "revoked")]


def test_the_remainder_is_counted_and_goes_when_its_time_is_over(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    row = given_up(account, badgr)
    [figures] = [one for one in health(timezone.now()) if one.provider == "badgr"]
    assert (figures.revocations_waiting, figures.revocations_given_up) == (0, 1)
    purge_old(row.finished_at + 89 * DAY, timedelta(days=90))
    assert Revocation.objects.exists()
    purge_old(row.finished_at + 91 * DAY, timedelta(days=90))
    assert not Revocation.objects.exists()


def test_it_is_given_up_by_days_and_not_by_the_number_of_attempts(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    disconnect(account)
    Revocation.objects.update(attempts=10_000)
    badgr.unavailable()
    now = timezone.now()
    revoke_pending(now=now + 29.9 * DAY)
    assert outcomes() == [("pending", "status_503")]
    revoke_pending(now=now + 30 * DAY)
    assert outcomes() == [("given_up", "status_503")]


def test_a_provider_that_is_down_for_a_week_gets_its_revocations_afterwards(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    disconnect(account)
    badgr.unavailable()
    now, hours = timezone.now(), 0
    while hours < 7 * 24:
        revoke_pending(now=now + timedelta(hours=hours))
        hours += 3
    assert outcomes() == [("pending", "status_503")]
    badgr.available()
    revoke_pending(now=now + timedelta(hours=hours + 3))
    assert outcomes() == [("revoked", "")]


def test_what_had_no_turn_before_its_time_was_over_is_given_up_too(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    for number in range(8):
        disconnect(connect(client_of_ada, badgr, subject=f"person-{number}"))
    now = timezone.now()
    long_ago = now - 31 * DAY
    Revocation.objects.update(created_at=long_ago, attempts=5, last_error="timeout")
    badgr.unavailable()
    assert revoke_pending(now=now) < 8
    assert {outcome for outcome, _ in outcomes()} == {"given_up"}
    assert Event.objects.filter(kind="given_up").count() == 8


def test_a_grant_that_was_never_tried_is_tried_before_it_is_given_up(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    disconnect(account)
    revoke_pending(now=timezone.now() + 400 * DAY)
    assert outcomes() == [("revoked", "")]


def test_a_damaged_token_is_given_up_at_once_and_never_tried(
    account: ConnectedAccount, badgr: FakeProvider, client_of_ada: Client
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE connected_accounts_connectedaccount SET token = 'damaged'")
    disconnect(account)
    assert outcomes() == [("given_up", "undecryptable")]
    assert events() == [("given_up", "undecryptable")]
    assert revoke_pending(now=timezone.now() + 2 * DAY) == 0
    assert "once a day" not in page(client_of_ada)


# --- Fair between providers


def test_a_provider_that_hangs_holds_no_other_up(
    client_of_ada: Client, badgr: FakeProvider, bitbadges: FakeProvider
) -> None:
    for number in range(6):
        disconnect(connect(client_of_ada, badgr, subject=f"person-{number}"))
    for number in range(3):
        disconnect(connect(client_of_ada, bitbadges, "bitbadges", subject=f"person-{number}"))
    Revocation.objects.filter(provider="bitbadges").update(next_attempt_at=timezone.now())
    hang, ended = threading.Event(), []
    handle = badgr._handle

    def hold(request: Any) -> Any:
        if "revoke" in request.url:
            ended.append(hang.wait(20))
        return handle(request)

    badgr._adapter._handle = hold
    done = outbox.attempts.settle

    def settle(row: Revocation, *arguments: Any) -> None:
        done(row, *arguments)
        if row.provider == "bitbadges" and not Revocation.objects.filter(
            provider="bitbadges", outcome="pending"
        ):
            hang.set()  # only now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox.attempts, "settle", settle)
        revoke_pending()
    assert ended
    assert all(ended), "the others were waiting for the one that hangs"
    assert not Revocation.objects.filter(outcome="pending").exists()


def test_a_provider_that_does_not_answer_is_left_alone_until_the_next_round(
    client_of_ada: Client, badgr: FakeProvider, bitbadges: FakeProvider
) -> None:
    for number in range(12):
        disconnect(connect(client_of_ada, badgr, subject=f"person-{number}"))
    disconnect(connect(client_of_ada, bitbadges, "bitbadges"))
    badgr.unavailable(Timeout())
    now = timezone.now()
    assert revoke_pending(now=now) <= 2 * outbox.CALLS_PER_PROVIDER + 1
    assert Revocation.objects.get(provider="bitbadges").outcome == "revoked"
    untried = Revocation.objects.due(now).filter(attempts=0).count()
    assert untried >= 12 - 2 * outbox.CALLS_PER_PROVIDER
    badgr.available()
    for minutes in (1, 5):
        revoke_pending(now=now + timedelta(minutes=minutes))
    assert set(Revocation.objects.values_list("outcome", flat=True)) == {"revoked"}


@pytest.fixture
def two_owed(client_of_ada: Client, badgr: FakeProvider, bitbadges: FakeProvider) -> None:
    """A revocation at each of two providers."""
    disconnect(connect(client_of_ada, badgr))
    disconnect(connect(client_of_ada, bitbadges, "bitbadges"))


def test_a_host_that_is_asked_for_its_addresses_holds_no_other_up(
    two_owed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, waited = threading.Event(), []
    find, done = Badgr.resolve_endpoints, outbox.attempts.settle

    def silent(self: Badgr, inputs: Any) -> Any:
        waited.append(hang.wait(20))
        return find(self, inputs)

    def settle(row: Revocation, *arguments: Any) -> None:
        done(row, *arguments)
        if row.provider == "bitbadges":
            hang.set()  # only now

    monkeypatch.setattr(Badgr, "resolve_endpoints", silent)
    monkeypatch.setattr(outbox.attempts, "settle", settle)
    revoke_pending()
    assert waited == [True], "the other was waiting for the one that is silent"
    assert outcomes() == [("revoked", "")] * 2


def test_a_round_begins_no_call_behind_its_time(
    two_owed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, claim = [0.0], outbox.attempts.claim

    def claim_slowly(*arguments: Any) -> bool:
        now[0] += 60
        return claim(*arguments)

    monkeypatch.setattr(outbox, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(outbox.attempts, "claim", claim_slowly)
    assert revoke_pending(seconds=50) == 1
    assert sorted(outcome for outcome, _ in outcomes()) == ["pending", "revoked"]


def test_none_is_claimed_to_wait_for_a_thread_and_each_provider_has_its_turn(
    client_of_ada: Client,
    badgr: FakeProvider,
    bitbadges: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        disconnect(connect(client_of_ada, badgr, subject=f"person-{number}"))
        disconnect(connect(client_of_ada, bitbadges, "bitbadges", subject=f"person-{number}"))
    claim, claimed = outbox.attempts.claim, []

    def look_and_claim(row: Revocation, *arguments: Any) -> bool:
        assert not Revocation.objects.filter(outcome="pending", attempts__gt=0).exists()
        claimed.append(row.provider)
        return claim(row, *arguments)

    monkeypatch.setattr(outbox, "CALLS", 1)
    monkeypatch.setattr(outbox.attempts, "claim", look_and_claim)
    assert revoke_pending() == 6
    assert [set(pair) for pair in zip(claimed[::2], claimed[1::2], strict=True)] == (
        [{"badgr", "bitbadges"}] * 3
    )


# --- Many at once


def test_many_are_disconnected_in_few_statements_and_as_one_by_one(
    make_account: Any, user: Any, django_assert_max_num_queries: Any
) -> None:
    accounts = [make_account(user if number else None) for number in range(30)]
    make_account(user, token=None)
    everything = ConnectedAccount.objects.all()
    with django_assert_max_num_queries(20):
        assert list(disconnect_all(everything)) == [31]
    assert not everything.exists()
    assert Revocation.objects.count() == 30
    assert Event.objects.filter(kind="disconnected").count() == 31
    row = Revocation.objects.get(subject=accounts[0].subject)
    assert (row.token, row.seal_id) == (accounts[0].token, accounts[0].seal_id)
    assert (row.owner_key, row.label, row.outcome) == ("site", accounts[0].label, "pending")
    assert row.next_attempt_at == row.created_at


def test_those_who_listen_hear_of_each_that_was_disconnected(
    make_account: Any, user: Any, django_capture_on_commit_callbacks: Any
) -> None:
    from connected_accounts.signals import account_disconnected

    heard: list[tuple[str, Any]] = []

    def listen(sender: Any, provider: str, subject: str, user: Any, **kwargs: Any) -> None:
        heard.append((subject, user))

    mine, sites = make_account(user), make_account()
    account_disconnected.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            list(disconnect_all(ConnectedAccount.objects.all()))
    finally:
        account_disconnected.disconnect(listen)
    assert sorted(heard, key=str) == sorted([(mine.subject, user), (sites.subject, None)], key=str)
