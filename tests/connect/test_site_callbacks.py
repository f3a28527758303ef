"""A site's own ``on_commit`` callback that fails: Django raises its error, and keeps the commit."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, OperationalError, transaction
from django.db.models.signals import post_delete, post_save
from django.test import Client

from connected_accounts.connect import completion
from connected_accounts.connect import connection as storing
from connected_accounts.database import transactions
from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.services import disconnect
from connected_accounts.signals import account_connected
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, finish, start

pytestmark = pytest.mark.django_db(transaction=True)


class BrokerAway(Exception):
    pass


@pytest.fixture(params=[IntegrityError, ObjectDoesNotExist, BrokerAway])
def failing(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Has a signal of an account followed by a callback that fails; its calls are counted."""
    ran: list[int] = []
    receivers: list[tuple[Any, Callable[..., None]]] = []

    def fail() -> None:
        ran.append(1)
        raise request.param("of the site's own")

    def after(signal: Any) -> tuple[list[int], type[Exception]]:
        def receive(**kwargs: Any) -> None:
            transaction.on_commit(fail)

        signal.connect(receive, sender=ConnectedAccount)
        receivers.append((signal, receive))
        return ran, request.param

    yield after
    for signal, receive in receivers:
        signal.disconnect(receive, sender=ConnectedAccount)


def test_an_account_stays_connected_once_where_what_the_site_does_then_fails(
    client_of_ada: Client, badgr: FakeProvider, failing: Any
) -> None:
    heard: list[Any] = []

    def hear(account: ConnectedAccount, created: bool, **kwargs: Any) -> None:
        heard.append((account.pk, created))

    account_connected.connect(hear)
    ran, error = failing(post_save)
    params = badgr.authorize(start(client_of_ada), subject="ada")
    with pytest.raises(error, match="of the site's own"):
        finish(client_of_ada, params)
    assert len(ran) == 1
    account = ConnectedAccount.objects.get()
    assert account.status == "active"
    assert account.open_token()["access_token"] == badgr.grants[0].access_token
    assert [event.kind for event in Event.objects.all()] == ["connected"]
    assert not Revocation.objects.exists()
    assert heard == [(account.pk, True)]


def test_an_account_is_disconnected_once_where_what_the_site_does_then_fails(
    client_of_ada: Client, badgr: FakeProvider, failing: Any
) -> None:
    account = connect(client_of_ada, badgr)
    ran, error = failing(post_delete)
    with pytest.raises(error, match="of the site's own"):
        disconnect(account)
    assert len(ran) == 1
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().outcome == "pending"
    assert Event.objects.filter(kind="disconnected").count() == 1


def test_a_grant_is_withdrawn_that_went_with_its_transaction(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise BrokerAway

    # The last that is written in the transaction, behind the account.
    monkeypatch.setattr(Event, "record", fail)
    monkeypatch.setattr(storing, "_insert_new", lambda *args: None)
    params = badgr.authorize(start(client_of_ada), subject="ada")
    with pytest.raises(BrokerAway):
        finish(client_of_ada, params)
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().outcome == "pending"


def test_a_grant_is_withdrawn_that_could_not_be_stored_as_the_database_was_away(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment: neither could be found out whether it is stored."""

    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("server closed the connection")

    is_stored, answers = storing.Authorized.is_stored, iter([away, away])
    monkeypatch.setattr(completion, "store_connection", away)
    monkeypatch.setattr(
        storing.Authorized, "is_stored", lambda *given: next(answers, is_stored)(*given)
    )
    monkeypatch.setattr(transactions, "RETRY_EVERY", 0.01)
    params = badgr.authorize(start(client_of_ada), subject="ada")
    with pytest.raises(OperationalError):
        finish(client_of_ada, params)
    assert Revocation.objects.get().outcome == "pending"
