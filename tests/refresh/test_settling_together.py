"""Answers that arrive together are stored in one transaction, each behind its own fence."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts import signals
from connected_accounts.database import updates
from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.attempts import Attempt, RefreshResult, ask, claim, prepare
from connected_accounts.refresh.outcomes import settle, settle_together
from connected_accounts.services import disconnect
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect

pytestmark = pytest.mark.django_db


@pytest.fixture
def answers(
    client_of_ada: Client, badgr: FakeProvider, now: datetime
) -> list[tuple[Attempt, RefreshResult]]:
    """Three claimed accounts, and what the provider said to each."""
    for n in range(3):
        connect(client_of_ada, badgr, subject=f"person-{n}")
    return asked(now)


def asked(now: datetime) -> list[tuple[Attempt, RefreshResult]]:
    past = timezone.now() - timedelta(minutes=1)
    ConnectedAccount.objects.transition(refresh_at=past, lease_holder=None, lease_until=None)
    pks = list(ConnectedAccount.objects.values_list("pk", flat=True))
    attempts = claim(pks, get_provider("badgr"), now=now)
    assert [prepare(attempt) for attempt in attempts] == [None] * len(pks)
    return [(attempt, ask(attempt)) for attempt in attempts]


def stored_tokens() -> dict[int, str]:
    rows = ConnectedAccount.objects.with_token()
    return {row.pk: row.open_token()["access_token"] for row in rows}


def told(answers: list[tuple[Attempt, RefreshResult]]) -> dict[int, str]:
    return {a.account.pk: o.access_token.reveal() for a, o in answers}  # type: ignore[union-attr]


def test_what_came_together_is_stored_together(
    answers: list[tuple[Attempt, RefreshResult]],
) -> None:
    heard: list[Any] = []

    def hear(account: ConnectedAccount, **kwargs: Any) -> None:
        heard.append(account.refreshed_at)

    signals.account_refreshed.connect(hear)
    try:
        with CaptureQueriesContext(connection) as queries:
            left = settle_together(answers)
    finally:
        signals.account_refreshed.disconnect(hear)
    updates = [q for q in queries.captured_queries if "UPDATE" in q["sql"]]
    assert len(updates) == 2  # the rows, of which Django notes an executemany once, and the ledger
    assert (left, len(answers)) == ([], 3)
    assert stored_tokens() == told(answers)
    rows = ConnectedAccount.objects.all()
    assert {(row.lease_holder, row.lease_until, row.attempt_started_at) for row in rows} == {
        (None, None, None)
    }
    assert sorted(heard) == sorted(row.refreshed_at for row in rows)
    for attempt, _ in answers:
        fresh = ConnectedAccount.objects.get(pk=attempt.account.pk)
        assert attempt.account.refresh_at == fresh.refresh_at
        assert fresh.refresh_at > timezone.now()


def test_where_one_is_no_longer_ours_nothing_is_stored_until_each_is_settled_by_itself(
    answers: list[tuple[Attempt, RefreshResult]],
) -> None:
    before = stored_tokens()
    gone = answers[1][0].account.pk
    disconnect(ConnectedAccount.objects.get(pk=gone))
    assert settle_together(answers) == answers
    assert stored_tokens() == {pk: text for pk, text in before.items() if pk != gone}
    errors = [settle(attempt, outcome) for attempt, outcome in answers]
    assert [error and error.code for error in errors] == [None, "overtaken", None]
    assert stored_tokens() == {pk: text for pk, text in told(answers).items() if pk != gone}
    # The disconnected grant as it was, and the late one, are both withdrawn.
    assert Revocation.objects.filter(outcome="pending").count() == 2


def test_a_taken_lease_is_a_fence_in_a_transaction_of_many_too(
    answers: list[tuple[Attempt, RefreshResult]], now: datetime
) -> None:
    before = stored_tokens()
    past = now - timedelta(seconds=1)
    ConnectedAccount.objects.transition(lease_until=past)  # it ran out
    later = claim(list(before), get_provider("badgr"), now=now + timedelta(minutes=2))
    assert settle_together(answers) == answers
    assert [settle(*one).code for one in answers] == ["overtaken"] * 3  # type: ignore[union-attr]
    assert stored_tokens() == before
    holders = set(ConnectedAccount.objects.values_list("lease_holder", flat=True))
    assert holders == {later[0].account.lease_holder}


def test_failures_are_left_to_be_settled_one_by_one(
    client_of_ada: Client, badgr: FakeProvider, now: datetime
) -> None:
    for n in range(3):
        connect(client_of_ada, badgr, subject=f"person-{n}")
    badgr.script("token", Answer(503))
    answers = asked(now)
    left = settle_together(answers)
    assert [settle(*one).code for one in left] == ["status_503"]  # type: ignore[union-attr]
    assert Event.objects.filter(kind="refresh_failed").count() == 1


def test_one_answer_alone_is_not_stored_here(answers: list[tuple[Attempt, RefreshResult]]) -> None:
    assert settle_together(answers[:1]) == answers[:1]
    assert settle_together([]) == []


@pytest.mark.parametrize("fault", [AttributeError, OperationalError])
def test_a_fault_in_storing_them_together_loses_no_answer(
    answers: list[tuple[Attempt, RefreshResult]],
    monkeypatch: pytest.MonkeyPatch,
    fault: type[Exception],
) -> None:
    """Such as a driver that knows no such list: the provider has rotated already."""

    def fail(*args: Any) -> None:
        raise fault("of the statement")

    with monkeypatch.context() as patched:
        patched.setattr(updates, "array_text", fail)
        patched.setattr(updates.Table, "equals", fail)
        left = settle_together(answers)
    assert left == answers
    assert [settle(*one) for one in left] == [None] * 3
    assert stored_tokens() == told(answers)
