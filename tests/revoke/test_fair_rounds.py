"""Withdrawals that fail hold up no other person's."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.models import Event, Outcome, Revocation
from connected_accounts.revoke.outbox import CALLS_PER_PROVIDER, revoke_pending
from connected_accounts.sealing import seal_document
from connected_accounts.services import disconnect
from connected_accounts.testing import Answer, FakeProvider, connect_account

pytestmark = pytest.mark.django_db

FAILING = 600  # for whom the provider answers 503, as for tokens that are dead


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def fail_all_but(badgr: FakeProvider, living: set[str]) -> None:
    own = badgr._dialect.revocation

    def answer(seen: Any) -> Any:
        return own(seen) if living & set(seen.form.values()) else Answer(503)

    badgr._dialect.revocation = answer  # type: ignore[method-assign]


def many(account: Any, count: int) -> None:
    """As many withdrawals of one owner as this, each of a token of its own."""
    owed = disconnect(account)
    assert owed is not None
    rows = []
    for number in range(count - 1):
        row = Revocation.objects.get(pk=owed.pk)
        row.pk, row._state.adding = None, True
        row.token = seal_document({"access_token": f"dead-{number}"}, row)  # type: ignore[assignment]
        rows.append(row)
    Revocation.objects.bulk_create(rows)


@pytest.mark.parametrize("tried_before", [0, 3])
def test_six_hundred_rows_that_fail_hold_up_nobody_elses(
    tried_before: int, ada: Any, bob: Any, badgr: FakeProvider, now: datetime
) -> None:
    many(connect_account(badgr, bob, subject="bob"), FAILING)
    Revocation.objects.update(attempts=tried_before, next_attempt_at=now - timedelta(hours=1))
    account = connect_account(badgr, ada, subject="ada")
    document = account.open_token()
    owed = disconnect(account)
    assert owed is not None
    fail_all_but(badgr, {document["access_token"], document["refresh_token"]})
    minutes = 0
    while Revocation.objects.get(pk=owed.pk).outcome == Outcome.PENDING:
        minutes += 1
        assert minutes <= 3
        revoke_pending(now=now + timedelta(minutes=minutes))
    assert Event.objects.filter(kind="revoked", owner_key=owed.owner_key).exists()


def test_what_failed_goes_on_beside_what_is_new(
    ada: Any, bob: Any, badgr: FakeProvider, now: datetime
) -> None:
    many(connect_account(badgr, ada, subject="ada"), 40)
    Revocation.objects.update(attempts=3, next_attempt_at=now - timedelta(hours=1))
    many(connect_account(badgr, bob, subject="bob"), 40)
    fail_all_but(badgr, set())
    revoke_pending(now=now + timedelta(minutes=1))
    attempts = Revocation.objects.values_list("attempts", flat=True)
    assert (4 in attempts, 1 in attempts) == (True, True)


def test_a_provider_that_is_down_is_asked_a_few_times_a_round(
    bob: Any, badgr: FakeProvider, now: datetime
) -> None:
    many(connect_account(badgr, bob, subject="bob"), 40)
    fail_all_but(badgr, set())
    before = len(badgr.sent_to("revocation"))
    revoke_pending(now=now + timedelta(minutes=1))
    assert len(badgr.sent_to("revocation")) - before <= CALLS_PER_PROVIDER
