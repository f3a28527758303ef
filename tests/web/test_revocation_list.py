"""Which disconnections a person's page tells of, and that it is the same however many they are."""

import itertools
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.models import Outcome, Revocation
from connected_accounts.models.history import Cause
from connected_accounts.owners import owner_key
from connected_accounts.web.revocations import MANY, open_revocations, revocations_of

pytestmark = pytest.mark.django_db

NOW = timezone.now()
ENDED = (None, NOW - timedelta(days=8), NOW - timedelta(days=6))
STATES = list(itertools.product(Cause, Outcome, (0, 1), ENDED))


def store(user: Any, cause: str, outcome: str, attempts: int, ended: Any) -> None:
    number = Revocation.objects.count()
    Revocation.objects.create(
        provider="badgr",
        owner_key=owner_key(user),
        subject=f"s{number}",
        cause=cause,
        outcome=outcome,
        attempts=attempts,
        finished_at=ended,
        seal_id=uuid.uuid4(),
        # Not in the order of their keys.
        created_at=NOW - timedelta(hours=number * 7 % 23),
    )


@pytest.mark.parametrize("first", range(0, len(STATES), MANY))
def test_a_few_rows_are_told_of_as_many_are(user: Any, first: int) -> None:
    for state in STATES[first : first + MANY]:
        store(user, *state)
    assert open_revocations(user, NOW) == revocations_of([owner_key(user)], NOW)


def test_of_many_rows_those_that_stand_are_found(user: Any, django_assert_num_queries: Any) -> None:
    store(user, Cause.DISCONNECTED, Outcome.GIVEN_UP, 1, None)
    for _ in range(MANY):
        store(user, Cause.DISCONNECTED, Outcome.REVOKED, 1, ENDED[1])
    [line] = open_revocations(user, NOW)
    assert line.outcome == Outcome.GIVEN_UP
    Revocation.objects.exclude(outcome=Outcome.GIVEN_UP).last().delete()
    with django_assert_num_queries(1):
        [line] = open_revocations(user, NOW)
    assert line.outcome == Outcome.GIVEN_UP
