"""The same thing done many times at the same moment, in threads with a connection each."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event, Revocation
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import THREADS, at_once, connect, finish, start

pytestmark = pytest.mark.django_db(transaction=True)


def test_identical_callbacks_make_one_exchange(
    client_of_ada: Client, ada: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")

    def come_back() -> int:
        client = Client()
        client.cookies.load({k: v.value for k, v in client_of_ada.cookies.items()})
        return finish(client, params).status_code

    assert sorted(at_once(come_back)) == [303] + [400] * (THREADS - 1)
    assert len(badgr.sent_to("token")) == 1
    assert ConnectedAccount.objects.count() == 1
    assert AuthorizationRequest.objects.get().consumed_at is not None


def test_one_account_connected_by_all_is_one_row_with_one_grant(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    """Each in a flow of its own: the first is new, the others take its place one by one."""
    ways = iter([badgr.authorize(start(client_of_ada), subject="ada") for _ in range(THREADS)])

    def come_back() -> int:
        client = Client()
        client.cookies.load({k: v.value for k, v in client_of_ada.cookies.items()})
        return finish(client, next(ways)).status_code

    assert at_once(come_back) == [303] * THREADS
    account = ConnectedAccount.objects.get()
    held = LedgerEntry.objects.filter(account_pk__isnull=False)
    assert [(entry.seal_id, entry.account_pk) for entry in held] == [(account.seal_id, account.pk)]
    kinds = [event.kind for event in Event.objects.all()]
    assert sorted(kinds) == ["connected"] + ["reconnected"] * (THREADS - 1)
    assert Revocation.objects.filter(held_for=account.pk).count() == THREADS - 1


def test_one_expired_token_asked_for_by_all_is_refreshed_once(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)
    ConnectedAccount.objects.update(expires_at=timezone.now())
    tokens = set(at_once(lambda: get_access_token(account)))
    assert tokens == {badgr.grants[0].access_token}
    assert len(badgr.sent_to("token")) == 2
    assert badgr.reuses == 0


def test_refresh_by_all_never_spends_a_token_twice(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = connect(client_of_ada, badgr)

    def refresh_own_copy() -> None:
        refresh(ConnectedAccount.objects.get(pk=account.pk))

    at_once(refresh_own_copy)
    assert set(badgr.presentations.values()) == {1}
    assert badgr.reuses == 0


def test_disconnecting_by_all_owes_one_revocation_and_makes_one_call(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    pk = connect(client_of_ada, badgr).pk
    copies = iter([ConnectedAccount.objects.get(pk=pk) for _ in range(THREADS)])
    made = at_once(lambda: disconnect(next(copies)))
    assert sum(revocation is not None for revocation in made) == 1
    assert Revocation.objects.count() == 1
    at_once(revoke_pending, 4)
    assert len(badgr.sent_to("revocation")) == 1


def test_an_exclusive_account_goes_to_one_of_two_users(
    client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", EXCLUSIVE=True)
    for number in range(5):
        ways = iter(
            [
                (client, badgr.authorize(start(client), subject=f"shared-{number}"))
                for client in (client_of_ada, client_of_bob)
            ]
        )

        def come_back(ways: Any = ways) -> int:
            return finish(*next(ways)).status_code

        assert sorted(at_once(come_back, 2)) == [303, 409]
    assert ConnectedAccount.objects.count() == 5
