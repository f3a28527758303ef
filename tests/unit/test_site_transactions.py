"""Refreshing inside a site's own transaction, on PostgreSQL: no hang, no stale token, no loss."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, ProviderState
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import connect

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no PostgreSQL")
    made = connect(client_of_ada, badgr)
    ConnectedAccount.objects.update(expires_at=timezone.now())
    ProviderState.objects.all().delete()
    return made


def rolled_back(view: Callable[[], Any], isolation: str = "READ COMMITTED") -> Any:
    """Run a view in a transaction that fails at its end; return what it returned."""
    result = None
    with suppress(ZeroDivisionError), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        result = view()
        raise ZeroDivisionError
    return result


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_the_new_token_is_returned_and_outlives_the_rollback(
    account: ConnectedAccount, badgr: FakeProvider, isolation: str
) -> None:
    def view() -> str:
        ConnectedAccount.objects.count()  # takes the snapshot
        return get_access_token(account)

    token = rolled_back(view, isolation)
    assert token == badgr.grants[0].access_token
    assert ConnectedAccount.objects.get().open_token()["access_token"] == token


@pytest.mark.parametrize("use", [get_access_token, refresh])
def test_a_row_that_the_site_has_locked_is_not_waited_for_for_ever(
    account: ConnectedAccount, badgr: FakeProvider, use: Callable[[Any], Any]
) -> None:
    def view() -> None:
        ConnectedAccount.objects.filter(pk=account.pk).update(label="mine")
        with pytest.raises(ProviderUnavailable) as caught:
            use(account)
        assert caught.value.code == "busy"

    began = time.monotonic()
    rolled_back(view)
    assert time.monotonic() - began < 20
    assert len(badgr.sent_to("token")) == 1
    assert get_access_token(account) == badgr.grants[0].access_token
