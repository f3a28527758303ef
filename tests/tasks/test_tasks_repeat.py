"""Tasks may run twice, late, or beside themselves, and none waits in the broker."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.refresh.drain import drain
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider
from tests.docs.doc_pages import sources
from tests.journeys import at_once, connect


@pytest.fixture
def accounts(client_of_ada: Client, badgr: FakeProvider) -> list[ConnectedAccount]:
    made = [connect(client_of_ada, badgr, subject=f"person-{n}") for n in range(8)]
    past = timezone.now() - timedelta(minutes=1)
    ConnectedAccount.objects.update(refresh_at=past)
    return made


@pytest.mark.django_db(transaction=True)
def test_every_task_may_run_twice_and_beside_itself(
    accounts: list[ConnectedAccount], badgr: FakeProvider
) -> None:
    disconnect(accounts.pop())

    def everything() -> None:
        for task, arguments in (
            (tasks.refresh_due_accounts, ()),
            (tasks.drain_refreshes, ("badgr",)),
            (tasks.revoke_pending_tokens, ()),
            (tasks.purge, ()),
            (tasks.store_refresh, (accounts[0].pk, 1, "v1.forged")),
        ):
            task.apply(arguments).get()

    at_once(everything, threads=3)
    everything()
    assert badgr.reuses == 0
    assert set(badgr.presentations.values()) == {1}
    assert len(badgr.presentations) == len(accounts)
    assert len(badgr.sent_to("revocation")) == 1
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.django_db
def test_a_drain_that_is_told_to_stop_finishes_what_is_in_flight(
    accounts: list[ConnectedAccount], app_settings: Any
) -> None:
    app_settings(REFRESH_CONCURRENCY=1)
    looks = iter([False, True])
    done = drain("badgr", stop=lambda: next(looks, True))
    assert 0 < done.refreshed < 8
    assert not ConnectedAccount.objects.exclude(lease_until=None).exists()


def test_no_task_waits_in_the_broker_for_longer_than_a_minute() -> None:
    code = "\n".join(text for _, text in sources())
    waits = re.findall(r"countdown=(\w+)", code)
    assert waits
    assert all(int(wait) <= 60 for wait in waits)
    assert "eta=" not in code
