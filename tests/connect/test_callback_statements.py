"""What a callback asks of the database, and what holds although it asks little."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.db.models.signals import post_save
from django.test import Client
from django.test.utils import CaptureQueriesContext

from connected_accounts.exceptions import InvalidState
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.services import complete_authorization, start_authorization
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, start

# The session and the user, which are Django's, and the state, which is spent. On PostgreSQL one
# statement stores the account, its entry in the ledger and its event; elsewhere a transaction of
# one each does. MariaDB cannot return what it has updated, so there the state is read besides.
STATEMENTS = {"postgresql": 4, "sqlite": 8, "mysql": 9}


@pytest.mark.django_db(transaction=True)
def test_a_first_connection_takes_few_statements(
    client_of_ada: Client, badgr: FakeProvider, ada: Any
) -> None:
    connect(client_of_ada, badgr, subject="one")  # what a process reads once
    params = badgr.authorize(start(client_of_ada), subject="two")
    with CaptureQueriesContext(connection) as asked:
        response = client_of_ada.get("/connections/badgr/callback/", params)
    assert response.status_code == 303
    sqls = [query["sql"] for query in asked]
    assert len(sqls) == STATEMENTS[connection.vendor], "\n".join(sqls)
    account = ConnectedAccount.objects.get(subject="two")
    assert LedgerEntry.objects.holder_of(account.seal_id) == account.pk
    assert [event.kind for event in Event.objects.filter(subject="two")] == ["connected"]


@pytest.mark.django_db(transaction=True)
def test_the_new_account_is_the_one_that_is_stored(
    client_of_ada: Client, badgr: FakeProvider, ada: Any
) -> None:
    """The object that receivers of ``account_connected`` are given has all that its row has."""
    seen: list[ConnectedAccount] = []

    def receive(account: ConnectedAccount, **kwargs: Any) -> None:
        seen.append(account)

    from connected_accounts.signals import account_connected

    account_connected.connect(receive)
    try:
        connect(client_of_ada, badgr, subject="one")
    finally:
        account_connected.disconnect(receive)
    (account,) = seen
    row = ConnectedAccount.objects.with_token().get()
    names = [field.attname for field in ConnectedAccount._meta.concrete_fields]
    assert {n: getattr(account, n) for n in names} == {n: getattr(row, n) for n in names}
    account.label = "Another"
    account.save()  # it is no new one, and nothing that transitions write has changed
    assert ConnectedAccount.objects.get().label == "Another"


@pytest.mark.django_db(transaction=True)
def test_a_sites_receiver_of_post_save_sees_a_new_account(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    saved: list[tuple[str, bool]] = []

    def receive(instance: ConnectedAccount, created: bool, **kwargs: Any) -> None:
        saved.append((instance.subject, created))

    post_save.connect(receive, sender=ConnectedAccount)
    try:
        connect(client_of_ada, badgr, subject="one")
    finally:
        post_save.disconnect(receive, sender=ConnectedAccount)
    assert saved == [("one", True)]


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_refused_does_not_keep_the_account_from_being_stored(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = Event._meta.get_field("label")
    monkeypatch.setattr(column, "column", "no_such_column")
    account = connect(client_of_ada, badgr, subject="one")
    assert LedgerEntry.objects.holder_of(account.seal_id) == account.pk


@pytest.mark.django_db
def test_nobody_finishes_what_was_begun_for_the_site(badgr: FakeProvider) -> None:
    url = start_authorization(
        user=None,
        provider="badgr",
        browser_secret="secret",
        redirect_uri="http://testserver/connections/badgr/callback/",
    )
    params = badgr.authorize(url, subject="site")
    with pytest.raises(InvalidState):
        complete_authorization(
            user=AnonymousUser(),
            provider="badgr",
            browser_secret="secret",
            params=params,
        )
    assert AuthorizationRequest.objects.get().consumed_at is None
    assert not ConnectedAccount.objects.exists()
