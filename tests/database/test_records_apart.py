"""A secondary record that cannot be written never changes the deed that it tells of.

The database itself refuses: by a trigger, or because its sequences are behind, as they are after a
logical replica was promoted.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.test import Client
from django.utils import timezone

from connected_accounts.connect import completion
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderClient,
    ProviderState,
    Revocation,
)
from connected_accounts.provider_state import pauses
from connected_accounts.refresh.drain import drain
from connected_accounts.revoke.disconnect import disconnect_all
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, refresh
from connected_accounts.testing import Answer, FakeProvider
from tests.journeys import connect, expire, finish, start, stored

pytestmark = pytest.mark.django_db(transaction=True)
Refuse = Callable[[type[models.Model]], None]


@pytest.fixture
def refuse() -> Iterator[Refuse]:
    """Let a table take no row, by a trigger: ``refuse(Event)``."""
    made: list[str] = []

    def install(model: type[models.Model]) -> None:
        table, name = model._meta.db_table, f"refuse_{model._meta.model_name}"
        statements = {
            "sqlite": [
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ],
            "mysql": [
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW "
                "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'"
            ],
            "postgresql": [
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE unique_violation; END $$",
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION {name}()",
            ],
        }
        with connection.cursor() as cursor:
            for statement in statements[connection.vendor]:
                cursor.execute(statement)
        dropped = {"postgresql": f"DROP FUNCTION {name}() CASCADE"}
        made.append(dropped.get(connection.vendor, f"DROP TRIGGER {name}"))

    yield install
    with connection.cursor() as cursor:
        for statement in made:
            cursor.execute(statement)


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says, critically, was not stored."""
    records = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    return [record.getMessage().partition(": ")[2].split()[0] for record in records]


# --- An event that cannot be written -----------------------------------------------------------


def test_a_connection_is_stored_without_its_event(
    client_of_ada: Client, badgr: FakeProvider, refuse: Refuse, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(Event)
    account = connect(client_of_ada, badgr)
    assert stored(account)["refresh_token"] == badgr.grants[0].refresh_token
    assert not Revocation.objects.exists()
    assert lost(caplog) == ["event"]
    assert "badgr" in caplog.text
    assert badgr.grants[0].refresh_token not in caplog.text


def test_a_refresh_comes_to_the_same_outcome_without_its_event(
    account: ConnectedAccount, badgr: FakeProvider, refuse: Refuse, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(Event)
    badgr.script("token", Answer(503))
    with pytest.raises(ConnectedAccountsError) as caught:
        refresh(account)
    assert caught.value.code == "status_503"
    badgr.grants[0].revoke()
    with pytest.raises(ConnectedAccountsError) as caught:
        refresh(account)
    assert caught.value.code == "revoked"
    account.refresh_from_db()
    assert (account.status, account.reason) == ("reconnect_required", "revoked")
    assert lost(caplog) == ["event", "event"]


def test_a_disconnect_goes_through_without_its_event(
    account: ConnectedAccount, badgr: FakeProvider, refuse: Refuse
) -> None:
    refuse(Event)
    disconnect(account)
    assert not ConnectedAccount.objects.exists()
    assert revoke_pending() == 1
    assert Revocation.objects.get().outcome == "revoked"
    assert not badgr.grants[0].is_alive


def test_a_transaction_of_the_sites_own_is_left_whole(
    account: ConnectedAccount, ada: Any, refuse: Refuse
) -> None:
    refuse(Event)
    with transaction.atomic():
        ada.first_name = "Ada"
        ada.save()
        disconnect(account)
        ada.last_name = "Lovelace"
        ada.save()
    ada.refresh_from_db()
    assert (ada.first_name, ada.last_name) == ("Ada", "Lovelace")
    assert Revocation.objects.count() == 1


# --- A revocation that cannot be written -------------------------------------------------------


def test_a_disconnect_whose_revocation_cannot_be_queued_says_so(
    account: ConnectedAccount, refuse: Refuse, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(Revocation)
    owed = disconnect(account)
    assert owed is not None
    assert (owed.pk, owed.outcome, owed.last_error) == (None, "given_up", "not_stored")
    assert owed.next_attempt_at is None
    assert not ConnectedAccount.objects.exists()
    assert lost(caplog) == ["revocation"]
    told = Event.objects.order_by("pk").values_list("kind", "detail")
    assert list(told)[1:] == [("given_up", "not_stored"), ("disconnected", "")]


def test_a_person_is_told_to_withdraw_a_grant_that_could_not_be_queued(
    client_of_ada: Client, account: ConnectedAccount, refuse: Refuse
) -> None:
    refuse(Revocation)
    response = client_of_ada.post(f"/connections/{account.pk}/disconnect/", follow=True)
    assert response.status_code == 200
    assert "could not be withdrawn" in response.content.decode()


def test_many_are_disconnected_where_no_revocation_can_be_queued(
    account: ConnectedAccount, refuse: Refuse, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(Revocation)
    assert list(disconnect_all(ConnectedAccount.objects.all())) == [1]
    assert lost(caplog) == ["revocation"]
    assert list(Event.objects.order_by("pk").values_list("kind", flat=True))[1:] == [
        "disconnected",
        "given_up",
    ]


def test_a_new_grant_is_stored_where_the_replaced_one_cannot_be_queued(
    account: ConnectedAccount,
    client_of_ada: Client,
    badgr: FakeProvider,
    refuse: Refuse,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refuse(Revocation)
    connect(client_of_ada, badgr)
    account.refresh_from_db()
    assert stored(account)["refresh_token"] == badgr.grants[-1].refresh_token
    assert lost(caplog) == ["revocation"]


def test_a_refused_authorization_keeps_its_own_reason(
    client_of_ada: Client,
    client_of_bob: Client,
    badgr: FakeProvider,
    provider_settings: Callable[..., None],
    refuse: Refuse,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider_settings("badgr", EXCLUSIVE=True)
    connect(client_of_ada, badgr)
    refuse(Revocation)
    refuse(Event)
    finish(client_of_bob, badgr.authorize(start(client_of_bob), subject="ada"))
    assert "reason=account_in_use" in caplog.text
    assert "revocation" in lost(caplog)


# --- The outbox --------------------------------------------------------------------------------


def test_one_row_of_the_outbox_that_fails_ends_only_itself(
    ada: Any,
    make_account: Callable[..., ConnectedAccount],
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(3):
        disconnect(make_account(ada, access_token=f"a{number}", refresh_token=f"r{number}"))
    first = Revocation.objects.earliest("pk")
    Revocation.objects.filter(pk=first.pk).update(inputs=["no", "mapping"])
    revoke_pending()
    outcomes = Revocation.objects.order_by("pk").values_list("outcome", flat=True)
    assert outcomes[0] == "pending"
    assert "pending" not in outcomes[1:]


def test_an_outbox_row_that_cannot_be_settled_does_not_keep_the_others(
    ada: Any, make_account: Callable[..., ConnectedAccount], badgr: FakeProvider
) -> None:
    for number in range(3):
        disconnect(make_account(ada, access_token=f"a{number}", refresh_token=f"r{number}"))
    first = 1000  # no other number of the statement's
    Revocation.objects.filter(pk=Revocation.objects.earliest("pk").pk).update(id=first)

    def cut(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and "finished_at" in sql and first in params:
            raise IntegrityError("refused")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(cut):
        revoke_pending()
    left = Revocation.objects.filter(outcome="pending").values_list("pk", flat=True)
    assert list(left) == [first]


# --- Sequences that are behind -----------------------------------------------------------------

SEQUENCED = (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderClient,
    ProviderState,
    Revocation,
)


def set_back(model: type[models.Model]) -> None:
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence(%s, 'id'), min(id), false) FROM {table}",
            [table],
        )


@pytest.fixture
def behind(account: ConnectedAccount, badgr: FakeProvider, ada: Any) -> ConnectedAccount:
    """Each table has rows, and each sequence begins anew."""
    if connection.vendor != "postgresql":
        pytest.skip("service: DATABASE_URL names no PostgreSQL")
    now = timezone.now()
    for number in range(30):
        pauses.get_or_create_state(f"other{number}")
        Event.objects.create(at=now, kind="connected", provider="x", owner_key="x")
        ProviderClient.objects.create(provider="x", client_id=str(number), created_at=now)
    for subject in ("second", "third"):
        disconnect(connect_as(ada, badgr, subject))
    for model in SEQUENCED:
        assert model._default_manager.exists()
        set_back(model)
    return account


def connect_as(user: Any, badgr: FakeProvider, subject: str) -> ConnectedAccount:
    client = Client()
    client.force_login(user)
    return connect(client, badgr, subject=subject)


@pytest.mark.postgres
def test_a_connect_goes_through_behind_a_promoted_replica(
    behind: ConnectedAccount, badgr: FakeProvider, bob: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = Event.objects.count()
    account = connect_as(bob, badgr, "bobs")
    assert stored(account)["refresh_token"] == badgr.grants[-1].refresh_token
    assert badgr.grants[-1].is_alive
    assert Event.objects.count() == before + 1
    assert account.pk > behind.pk
    assert lost(caplog) == []
    assert "sequence" in caplog.text


@pytest.mark.postgres
def test_refresh_disconnect_and_outbox_go_through_behind_a_promoted_replica(
    behind: ConnectedAccount, badgr: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    badgr.script("token", Answer(503))
    with pytest.raises(ConnectedAccountsError) as caught:
        refresh(behind)
    assert caught.value.code == "status_503"
    refresh(behind)
    owed = disconnect(behind)
    assert owed is not None
    assert owed.pk
    revoke_pending()
    owed.refresh_from_db()
    assert owed.outcome == "revoked"
    assert lost(caplog) == []


@pytest.mark.postgres
def test_many_rows_at_once_go_through_behind_a_promoted_replica(behind: ConnectedAccount) -> None:
    assert list(disconnect_all(ConnectedAccount.objects.all())) == [1]
    assert Revocation.objects.filter(outcome="pending").count() >= 1


@pytest.mark.postgres
def test_a_new_provider_is_drained_behind_a_promoted_replica(
    behind: ConnectedAccount, badgr: FakeProvider
) -> None:
    ProviderState.objects.filter(provider="badgr").delete()
    set_back(ProviderState)
    expire(behind)
    ConnectedAccount.objects.update(refresh_at=timezone.now() - timedelta(seconds=1))
    assert drain("badgr").refreshed == 1


@pytest.mark.postgres
def test_a_user_who_is_gone_is_told_apart_from_a_sequence_that_is_behind(
    behind: ConnectedAccount,
    badgr: FakeProvider,
    bob: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client()
    client.force_login(bob)
    params = badgr.authorize(start(client), subject="bobs")
    exchange = completion.exchange_code

    def exchange_and_delete(*args: Any, **kwargs: Any) -> Any:
        token = exchange(*args, **kwargs)
        type(bob).objects.filter(pk=bob.pk).delete()
        return token

    monkeypatch.setattr(completion, "exchange_code", exchange_and_delete)
    assert finish(client, params).status_code == 400
    assert "reason=unknown" in caplog.text
    revoke_pending()
    assert not badgr.grants[-1].is_alive


def test_the_sequences_are_in_step_in_an_ordinary_database(
    account: ConnectedAccount, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ConnectedAccount.objects.create(
            user=account.user,
            provider=account.provider,
            subject=account.subject,
            connected_at=account.connected_at,
        )
    assert "sequence" not in caplog.text
