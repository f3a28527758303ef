"""A grant that the broker carried while the database was away, and that comes late: it replaces
nothing newer, revives nothing that has ended, and is withdrawn where it is nobody's any more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.database import transactions
from connected_accounts.exceptions import ProviderUnavailable, ReauthorizationRequired
from connected_accounts.models import ConnectedAccount, Reason, Revocation
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.refresh import storage
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from tests.journeys import stored
from tests.past_rows import columns_of, put_back

pytestmark = pytest.mark.django_db(transaction=True)
Rows = ConnectedAccount.objects
Deliver = Callable[[], None]


@pytest.fixture
def account(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    return connect_account(badgr, ada, subject="ada")


@pytest.fixture
def deliver(account: ConnectedAccount, monkeypatch: pytest.MonkeyPatch) -> Deliver:
    """A refresh whose answer the database could not take; what is returned lets it come in."""
    carried: list[Any] = []

    def away(self: ConnectedAccount, **values: Any) -> bool:
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as without:
        without.setattr(ConnectedAccount, "mark_refreshed", away)
        without.setattr(storage, "PATIENCE", 0.01)
        without.setattr(storage, "RETRY_EVERY", 0.01)
        without.setattr(transactions, "RETRY_EVERY", 0.01)
        without.setattr(tasks.store_refresh, "apply_async", lambda args: carried.append(args))
        with pytest.raises(ProviderUnavailable):
            refresh(account)
    [message] = carried
    return lambda: tasks.store_refresh.apply(message).get()


def let_the_lease_run_out() -> None:
    Rows.transition(lease_until=timezone.now() - timedelta(minutes=1))


def test_it_takes_the_place_of_what_it_was_refreshed_from(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver
) -> None:
    deliver()
    deliver()  # twice does no harm
    assert stored(account)["refresh_token"] == badgr.grants[0].refresh_token
    refresh(Rows.get())
    refresh(Rows.get())
    assert badgr.grants[0].is_alive
    assert not Revocation.objects.exists()


def test_after_a_reconnect_the_new_grant_is_untouched_and_it_is_withdrawn_at_the_disconnect(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver
) -> None:
    connect_account(badgr, account.user, subject="ada", account=Rows.get())
    live = columns_of(account)
    deliver()
    assert columns_of(account) == live
    assert {row.held_for for row in Revocation.objects.filter(cause="unused")} == {account.pk}
    revoke_pending()
    assert [grant.is_alive for grant in badgr.grants] == [True, True]
    refresh(Rows.get())
    disconnect(Rows.get())
    assert not Revocation.objects.filter(outcome="held").exists()
    revoke_pending()
    assert [grant.is_alive for grant in badgr.grants] == [False, False]


def test_after_a_disconnect_it_is_withdrawn_and_nothing_revived(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver
) -> None:
    disconnect(Rows.get())
    deliver()
    assert not Rows.exists()
    assert Revocation.objects.filter(outcome="pending").count() == 2
    late = Revocation.objects.latest("pk")
    assert (late.owner_key, late.subject) == (account.owner_key, "ada")
    assert late.endpoint_fingerprint == account.endpoint_fingerprint
    revoke_pending()
    assert not badgr.grants[0].is_alive


@pytest.mark.parametrize("reason", [Reason.REVOKED, Reason.IDENTITY_CHANGED])
def test_it_does_not_revive_an_account_that_ended_for_good(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver, reason: Reason
) -> None:
    assert Rows.get().mark_reconnect_required(reason)
    ended = columns_of(account)
    deliver()
    assert columns_of(account) == ended
    assert Revocation.objects.count() == 1


def test_it_undoes_an_end_that_came_for_want_of_it(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver
) -> None:
    let_the_lease_run_out()
    badgr.script("token", Answer(400, json={"error": "invalid_grant"}))
    with pytest.raises(ReauthorizationRequired):
        refresh(account)
    assert Rows.get().reason == "rotation_lost"
    deliver()
    assert Rows.get().status == "active"
    refresh(Rows.get())


def test_it_does_not_replace_what_a_later_refresh_stored(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver
) -> None:
    let_the_lease_run_out()
    badgr.behaviour.reuse_window = 3600.0
    newer = {"access_token": "newer", "refresh_token": "newer-still", "expires_in": 3600}
    badgr.script("token", Answer(200, json={**newer, "token_type": "Bearer"}))
    refresh(account)
    live = columns_of(account)
    deliver()
    assert columns_of(account) == live
    assert not Revocation.objects.exists(), "the same grant: to withdraw it would end the newer"


def test_it_waits_while_a_later_attempt_is_under_way(
    account: ConnectedAccount, deliver: Deliver, caplog: pytest.LogCaptureFixture
) -> None:
    let_the_lease_run_out()
    assert Rows.all().claim([account.pk], holder=account.seal_id, seconds=60, now=timezone.now())
    held = columns_of(account)
    deliver()
    assert columns_of(account) == held
    assert "carried grant waits" in caplog.text
    let_the_lease_run_out()
    deliver()
    assert Rows.get().refreshed_at is not None


@pytest.mark.parametrize("ended", [False, True])
def test_after_a_restored_backup_it_is_the_newest_there_is(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver, ended: bool
) -> None:
    """Rows and ledger are those of before the refresh."""
    before = {"generation": 0, "revision": 0, "lease_holder": None, "lease_until": None}
    put_back(columns_of(account) | before | {"attempt_started_at": None})
    LedgerEntry.objects.update(revision=0)
    if ended:
        call_command("confirm_site", "--restored", "--all", verbosity=0)
        assert Rows.get().reason == "rotation_lost"
    deliver()
    assert Rows.get().status == "active"
    refresh(Rows.get())
    assert badgr.grants[0].is_alive


def test_a_row_that_was_put_back_meanwhile_gets_it_all_the_same(
    account: ConnectedAccount, badgr: FakeProvider, deliver: Deliver
) -> None:
    """SQL put the row back to what it was before the refresh, and its use has ended it."""
    past = columns_of(account) | {"generation": 0, "revision": 0, "lease_holder": None}
    put_back(past | {"lease_until": None, "attempt_started_at": None})
    with pytest.raises(ReauthorizationRequired) as caught:
        get_access_token(Rows.get())
    assert caught.value.code == "restored_copy"
    deliver()
    row = Rows.get()
    assert (row.status, row.reason) == ("active", "")
    refresh(row)
    assert badgr.grants[0].is_alive


def test_after_a_change_of_keys_it_is_sealed_with_the_new_one(
    account: ConnectedAccount, settings: Any, deliver: Deliver
) -> None:
    new = Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEY = [new, *settings.FIELD_ENCRYPTION_KEY]
    call_command("rotate_token_keys", verbosity=0)
    deliver()
    settings.FIELD_ENCRYPTION_KEY = [new]
    assert stored(account)["access_token"]


def test_without_its_key_it_waits_and_is_not_lost(
    account: ConnectedAccount,
    settings: Any,
    deliver: Deliver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = settings.FIELD_ENCRYPTION_KEY
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    deliver()
    assert "code=key_missing" in caplog.text
    settings.FIELD_ENCRYPTION_KEY = keys
    deliver()
    assert Rows.get().refreshed_at is not None


def test_in_a_backup_from_before_the_connection_it_is_withdrawn(
    account: ConnectedAccount, deliver: Deliver
) -> None:
    with connection.cursor() as cursor:
        for model in (LedgerEntry, ConnectedAccount):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")
    deliver()
    assert not Rows.exists()
    assert Revocation.objects.filter(outcome="pending").count() == 1
