"""A provider is away for an hour and comes back. ``bench/outage_hour.py`` does it with 10,000."""

from datetime import datetime
from typing import Any

import pytest

from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.provider_state import outages
from connected_accounts.testing import FakeProvider
from tests.hour import live_through, store_due_accounts

pytestmark = pytest.mark.django_db

ACCOUNTS = 200
RATE = 100


def test_an_hour_without_the_provider_changes_no_account_and_all_are_refreshed_after(
    badgr: FakeProvider, provider_settings: Any, app_settings: Any, now: datetime
) -> None:
    app_settings(REFRESH_CONCURRENCY=16)
    provider_settings("badgr", MAX_REQUESTS_PER_SECOND=RATE)
    store_due_accounts(badgr, ACCOUNTS, now)
    seen = live_through(badgr, now)
    assert seen.statuses_changed == 0
    assert seen.most_in_a_step == 1
    assert 4 <= len(seen.probes) <= 8
    assert seen.asked_in_outage <= outages.BURST + 16 + len(seen.probes)
    assert (seen.left, seen.reuses) == (0, 0)
    assert set(badgr.presentations.values()) <= {1, 2}  # twice: those that were told 503 before
    assert not ConnectedAccount.objects.exclude(status="active", failure_count=0).exists()
    assert not Event.objects.filter(kind="reconnect_required").exists()
    assert seen.most_in_a_second <= RATE * 1.1  # threads may wake up late
