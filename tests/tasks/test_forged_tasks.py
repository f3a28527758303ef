"""Whoever can write to the broker can send our tasks: what their messages may hold does no harm."""

import pytest
from django.test import Client

from connected_accounts import tasks
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

pytestmark = pytest.mark.django_db


def test_a_forged_task_message_does_nothing_that_the_row_forbids(
    account: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    disconnect(connect(client_of_ada, badgr, subject="another"))
    account = ConnectedAccount.objects.with_token().get()
    sealed = Revocation.objects.get().token.reveal()
    requests = len(badgr.requests)
    for text in ("", "v1.x.y", sealed, account.token.reveal()):
        tasks.store_refresh.apply((account.pk, account.generation, text)).get()
    ConnectedAccount.objects.transition(status="reconnect_required", reason="revoked")
    before = ConnectedAccount.objects.values().get()
    for pk in (account.pk, account.pk + 999, -1):
        tasks.refresh_account.apply((pk,)).get()
    for alias in ("badgr", "nobody", "../x", ""):
        tasks.drain_refreshes.apply((alias,)).get()
    assert ConnectedAccount.objects.values().get() == before
    assert len(badgr.requests) == requests
    assert account.open_token() == ConnectedAccount.objects.with_token().get().open_token()


def test_tasks_take_json_alone_and_keep_no_result() -> None:
    ours = [task for task in vars(tasks).values() if hasattr(task, "apply_async")]
    assert len(ours) == 7
    assert {(task.serializer, task.ignore_result) for task in ours} == {("json", True)}
