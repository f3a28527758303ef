"""Where a look for due accounts begins: behind what earlier drains have taken, which lies dead in
the index, and before everything that is left."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, ProviderState
from connected_accounts.refresh.drain import drain
from connected_accounts.refresh.due import BEGINNING_HOLDS, beginning_of, is_due
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

pytestmark = pytest.mark.django_db
LIFE = timedelta(days=1)


@pytest.fixture
def accounts(client_of_ada: Client, badgr: FakeProvider) -> list[ConnectedAccount]:
    return [connect(client_of_ada, badgr, subject=f"person-{n}") for n in range(3)]


def beginning(now: datetime) -> datetime | None:
    return beginning_of(ProviderState.objects.get(provider="badgr"), now)


def looks(now: datetime) -> list[str]:
    """The queries of a look at the accounts."""
    with CaptureQueriesContext(connection) as captured:
        is_due("badgr", now)
    table = connection.ops.quote_name(ConnectedAccount._meta.db_table)
    return [one["sql"] for one in captured.captured_queries if f"FROM {table}" in one["sql"]]


def test_a_look_begins_where_the_last_drain_left_nothing(accounts: Any) -> None:
    start = timezone.now() + LIFE
    assert drain("badgr", now=start).refreshed == 3
    assert beginning(start) == start
    ConnectedAccount.objects.update(refresh_at=start + timedelta(minutes=1))
    [look] = looks(start + timedelta(minutes=2))
    assert f"{connection.ops.quote_name('refresh_at')} >= " in look


def test_what_is_put_before_the_beginning_is_found_where_nothing_else_is(
    accounts: list[ConnectedAccount],
) -> None:
    start = timezone.now() + LIFE
    assert drain("badgr", now=start).refreshed == 3
    ConnectedAccount.objects.filter(pk=accounts[0].pk).update(refresh_at=start - LIFE)
    assert is_due("badgr", start)
    assert drain("badgr", now=start + timedelta(minutes=1)).refreshed == 1


def test_a_beginning_holds_for_minutes_only(accounts: list[ConnectedAccount]) -> None:
    """However much comes due all the time, what was put before it has its turn."""
    start = timezone.now() + LIFE
    drain("badgr", now=start)
    later = start + BEGINNING_HOLDS
    assert beginning(later - timedelta(seconds=1)) == start
    assert beginning(later) is None
    assert beginning(start - timedelta(seconds=1)) is None, "a clock that was put back"
    ConnectedAccount.objects.update(refresh_at=later)
    drain("badgr", now=later)
    assert beginning(later) == later


def test_drains_that_follow_each_other_do_not_make_it_hold_longer(accounts: Any) -> None:
    start = timezone.now() + LIFE
    for minutes in (0, 5):
        ConnectedAccount.objects.update(refresh_at=start)
        assert drain("badgr", now=start + timedelta(minutes=minutes)).refreshed == 3
    assert beginning(start + BEGINNING_HOLDS) is None


def test_nothing_that_is_held_lies_before_the_beginning(accounts: list[ConnectedAccount]) -> None:
    start = timezone.now() + LIFE
    due_at = start - timedelta(hours=1)
    held = ConnectedAccount.objects.filter(pk=accounts[0].pk)
    held.update(refresh_at=due_at)
    assert held.claim([accounts[0].pk], holder=uuid.uuid4(), seconds=60, now=start)
    assert drain("badgr", now=start).refreshed == 2
    assert beginning(start) == due_at
