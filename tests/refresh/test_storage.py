"""A rotated token on its way to disk, when the database goes away or a transaction is open."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import (
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.clients.credentials import store_own_client
from connected_accounts.database import transactions
from connected_accounts.exceptions import (
    ConfigurationError,
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.models import ConnectedAccount as Account
from connected_accounts.owners import SITE_OWNER
from connected_accounts.providers import base
from connected_accounts.refresh import outcomes, storage
from connected_accounts.refresh.carried_grant import carried_document
from connected_accounts.refresh.drain import drain
from connected_accounts.sealing import seal_carried
from connected_accounts.secret import Secret
from connected_accounts.services import complete_authorization, refresh
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect, start


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    return connect(client_of_ada, badgr)


def fail_to_store(
    monkeypatch: pytest.MonkeyPatch, times: int, error: type[Error] = OperationalError
) -> None:
    """Let the database be away for the first ``times`` writes of a refreshed grant."""
    write, failures = Account.mark_refreshed, iter(range(times))

    def away(self: Account, **values: Any) -> bool:
        if next(failures, None) is not None:
            raise error("server closed the connection")
        return write(self, **values)

    monkeypatch.setattr(Account, "mark_refreshed", away)
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.01)
    monkeypatch.setattr(transactions, "RETRY_EVERY", 0.01)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError, InternalError])
def test_the_store_is_repeated_while_the_database_is_away(
    account: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Error],
) -> None:
    fail_to_store(monkeypatch, 3, error)
    refresh(account)
    assert account.refreshed_at is not None
    assert len(badgr.sent_to("token")) == 2


@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_away_sends_the_sealed_grant_through_the_broker(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[Any] = []
    monkeypatch.setattr(storage, "PATIENCE", 0.05)
    monkeypatch.setattr(tasks.store_refresh, "apply_async", lambda args: carried.append(args))
    fail_to_store(monkeypatch, 10_000)
    with pytest.raises(ProviderUnavailable) as caught:
        refresh(account)
    assert caught.value.code == "database_away"
    monkeypatch.undo()
    [(pk, generation, sealed)] = carried
    newest = badgr.grants[0]
    assert newest.refresh_token not in sealed
    assert sealed.startswith("v1.")
    for _ in range(2):  # a second delivery does no harm
        tasks.store_refresh.apply((pk, generation, sealed)).get()
    stored = ConnectedAccount.objects.get()
    assert stored.open_token()["refresh_token"] == newest.refresh_token
    assert stored.refreshed_at is not None
    refresh(stored)


@pytest.fixture
def with_a_newer_client(account: ConnectedAccount, badgr: FakeProvider) -> ConnectedAccount:
    """An account that is due, whose newer client the provider refuses."""
    newer = base.Client("badgr-client", Secret("too-new"))
    store_own_client(newer, provider="badgr", owner=SITE_OWNER, at=timezone.now())
    badgr.script("token", Answer(401, json={"error": "invalid_client"}))
    ConnectedAccount.objects.transition(refresh_at=timezone.now() - timedelta(minutes=1))
    return account


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("note", [(outcomes, "note_refused"), (outcomes.pauses, "report")])
@pytest.mark.parametrize("way", ["on demand", "drain"])
def test_an_answer_is_stored_though_its_notes_cannot_be(
    with_a_newer_client: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    note: tuple[Any, str],
    way: str,
) -> None:
    stored: list[str] = []

    def away(*args: Any, **kwargs: Any) -> None:
        stored.append(ConnectedAccount.objects.get().open_token()["refresh_token"])
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(*note, away)
    if way == "drain":
        assert vars(drain("badgr")) == {"refreshed": 1, "failed": 0}
    else:
        refresh(with_a_newer_client)
    assert stored == [badgr.grants[0].refresh_token]
    assert "refused client not noted" in caplog.text
    assert "server closed" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_grant_is_kept_while_neither_database_nor_broker_is_there(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def away(*args: Any) -> None:
        tried.append(1)
        raise OSError("connection refused")

    monkeypatch.setattr(storage, "PATIENCE", 0)
    monkeypatch.setattr(tasks, "carry_grant", away)
    fail_to_store(monkeypatch, 5)
    refresh(account)
    assert len(tried) == 5
    assert account.open_token()["refresh_token"] == badgr.grants[0].refresh_token


@pytest.mark.django_db(transaction=True)
def test_a_grant_that_nothing_takes_is_given_up_in_the_end_and_says_so(
    account: ConnectedAccount,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 0)
    monkeypatch.setattr(storage, "LAST_PATIENCE", -3600)
    monkeypatch.setattr(tasks, "carry_grant", Mock(side_effect=OSError))
    fail_to_store(monkeypatch, 10_000)
    with pytest.raises(ProviderUnavailable) as caught:
        refresh(account)
    assert caught.value.code == "database_away"
    assert "refreshed grant lost" in caplog.text
    assert badgr.grants[0].refresh_token not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_carried_grant_undoes_the_end_that_a_replay_came_to_meanwhile(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[Any] = []
    monkeypatch.setattr(storage, "PATIENCE", 0.05)
    monkeypatch.setattr(tasks.store_refresh, "apply_async", lambda args: carried.append(args))
    fail_to_store(monkeypatch, 10_000)
    with pytest.raises(ProviderUnavailable):
        refresh(account)
    monkeypatch.undo()
    newest = badgr.grants[0].refresh_token
    ConnectedAccount.objects.transition(lease_until=timezone.now())
    badgr.script("token", Answer(400, json={"error": "invalid_grant"}))
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert account.reason == "rotation_lost"
    tasks.store_refresh.apply(carried[0]).get()
    account.refresh_from_db()
    assert (account.status, account.reason) == ("active", "")
    assert ConnectedAccount.objects.get().open_token()["refresh_token"] == newest


@pytest.mark.django_db
def test_a_carried_grant_is_not_stored_over_a_newer_one(account: ConnectedAccount) -> None:
    row = ConnectedAccount.objects.get()
    carried = carried_document(row, row.open_token(), timezone.now() - timedelta(seconds=1))
    sealed = seal_carried(carried, row.seal_id).reveal()
    refresh(account)
    before = ConnectedAccount.objects.values().get()
    tasks.store_refresh.apply((account.pk, 0, sealed)).get()
    tasks.store_refresh.apply((account.pk, account.generation, sealed)).get()
    tasks.store_refresh.apply((account.pk + 1, 0, "made up")).get()
    assert ConnectedAccount.objects.values().get() == before


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_answer_was_lost_is_found_stored(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = Account.mark_refreshed, iter(range(1))

    def commit_and_lose_the_answer(self: Account, **values: Any) -> bool:
        holder = self.lease_holder
        won = write(self, **values)
        if next(calls, None) is not None:
            self.lease_holder = holder
            raise OperationalError("connection lost after COMMIT")
        return won

    monkeypatch.setattr(Account, "mark_refreshed", commit_and_lose_the_answer)
    monkeypatch.setattr(storage, "RETRY_EVERY", 0.01)
    monkeypatch.setattr(transactions, "RETRY_EVERY", 0.01)
    refresh(account)
    assert ConnectedAccount.objects.get().open_token()["refresh_token"] == (
        badgr.grants[0].refresh_token
    )
    assert len(badgr.sent_to("token")) == 2


@pytest.mark.django_db(transaction=True)
def test_a_refresh_inside_a_sites_transaction_survives_its_rollback(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    if connection.vendor == "sqlite":
        # One writer: there the refresh belongs to the transaction, and works all the same.
        with transaction.atomic():
            refresh(account)
        assert account.refreshed_at is not None
        return

    def view() -> None:
        refresh(account)
        raise RuntimeError("the view fails")

    with pytest.raises(RuntimeError, match="the view fails"), transaction.atomic():
        view()
    account.refresh_from_db()
    assert account.refreshed_at is not None
    assert account.open_token()["refresh_token"] == badgr.grants[0].refresh_token


@pytest.mark.django_db(transaction=True)
def test_an_authorization_is_not_completed_inside_a_transaction(
    client_of_ada: Client, ada: Any, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="ada")
    secret = client_of_ada.cookies["connected_accounts_token"].value
    with pytest.raises(ConfigurationError, match="transaction"), transaction.atomic():
        complete_authorization(user=ada, provider="badgr", browser_secret=secret, params=params)
    assert not badgr.sent_to("token")
    complete_authorization(user=ada, provider="badgr", browser_secret=secret, params=params)


@pytest.mark.django_db
def test_no_transaction_is_open_while_the_provider_is_asked(
    account: ConnectedAccount, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connected_accounts.refresh import attempts

    ours = connections["default"]  # of this thread; it is asked in another one
    outermost = len(ours.atomic_blocks)
    seen: list[int] = []
    ask = attempts.ask

    def look(attempt: Any) -> Any:
        seen.append(len(ours.atomic_blocks))
        return ask(attempt)

    monkeypatch.setattr(attempts, "ask", look)
    refresh(account)
    assert seen == [outermost]
    assert ConnectedAccount.objects.get().refreshed_at <= timezone.now()


@pytest.mark.django_db(transaction=True)
def test_the_withdrawal_of_another_identitys_grant_is_repeated_while_the_database_is_away(
    client_of_ada: Client, bitbadges: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = connect(client_of_ada, bitbadges, "bitbadges")
    bitbadges.grants[0].subject = "bb1somebodyelse"
    queue, failures = outcomes.revoke_orphan, iter(range(2))

    def away(*args: Any, **kwargs: Any) -> None:
        if next(failures, None) is not None:
            raise OperationalError("server closed the connection")
        queue(*args, **kwargs)

    monkeypatch.setattr(outcomes, "revoke_orphan", away)
    monkeypatch.setattr(transactions, "RETRY_EVERY", 0.01)
    with pytest.raises(ReauthorizationRequired, match="identity_changed"):
        refresh(account)
    assert Revocation.objects.get().subject == "bb1somebodyelse"
