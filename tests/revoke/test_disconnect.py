"""Disconnecting or deleting an account, and what is then owed to the provider."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from django.apps import apps
from django.contrib.messages import get_messages
from django.db.models.signals import pre_delete
from django.test import Client, TestCase

from connected_accounts import signals, tasks
from connected_accounts.models import ConnectedAccount, Event, Revocation
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import adisconnect, disconnect
from connected_accounts.testing import FakeProvider
from tests.journeys import run

pytestmark = pytest.mark.django_db


def test_disconnect_writes_and_calls_nobody(account: ConnectedAccount, badgr: FakeProvider) -> None:
    calls = len(badgr.requests)
    revocation = disconnect(account)
    assert revocation is not None
    assert not ConnectedAccount.objects.exists()
    assert (revocation.outcome, revocation.provider, revocation.subject) == (
        "pending",
        "badgr",
        "ada",
    )
    assert len(badgr.requests) == calls
    assert badgr.grants[0].is_alive


def test_disconnecting_twice_owes_the_provider_one_revocation(account: ConnectedAccount) -> None:
    again = ConnectedAccount.objects.get()
    assert disconnect(account) is not None
    assert disconnect(again) is None
    assert Revocation.objects.count() == 1


def test_disconnecting_one_object_twice_is_once(account: ConnectedAccount) -> None:
    assert disconnect(account) is not None
    assert disconnect(account) is None


def test_the_page_asks_and_the_post_disconnects(
    account: ConnectedAccount,
    client_of_ada: Client,
    badgr: FakeProvider,
    django_capture_on_commit_callbacks: Any,
) -> None:
    address = f"/connections/{account.pk}/disconnect/"
    assert "Disconnect Badgr?" in client_of_ada.get(address).content.decode()
    assert ConnectedAccount.objects.exists()
    sent: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.revoke_pending_tokens, "apply_async", lambda *a, **k: sent.append(a))
        with django_capture_on_commit_callbacks(execute=True):
            response = client_of_ada.post(address)
            assert not sent  # only once it is committed
    assert len(sent) == 1
    assert (response.status_code, response["Location"]) == (303, "/connections/")
    assert str(list(get_messages(response.wsgi_request))[-1]) == "Badgr is disconnected."
    assert client_of_ada.post(address).status_code == 404


def test_a_broker_that_is_away_does_not_fail_the_disconnect(
    account: ConnectedAccount,
    client_of_ada: Client,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(tasks.revoke_pending_tokens, "apply_async", away)
    with django_capture_on_commit_callbacks(execute=True):
        response = client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    assert response.status_code == 303
    assert Revocation.objects.get().outcome == "pending"


def test_deleting_the_user_withdraws_the_grants(
    account: ConnectedAccount, ada: Any, badgr: FakeProvider
) -> None:
    ada.delete()
    revoke_pending()
    assert Revocation.objects.get().outcome == "revoked"
    assert not badgr.grants[0].is_alive


def test_deleting_by_queryset_withdraws_the_grants(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    ConnectedAccount.objects.all().delete()
    revoke_pending()
    assert not badgr.grants[0].is_alive


@pytest.fixture
def proxy() -> Iterator[Any]:
    """A proxy of the accounts' model, known since start-up."""
    meta = type("Meta", (), {"proxy": True, "app_label": "connected_accounts"})
    made = type("OurAccount", (ConnectedAccount,), {"__module__": __name__, "Meta": meta})
    apps.get_app_config("connected_accounts").ready()
    yield made
    pre_delete.disconnect(sender=made, dispatch_uid="connected_accounts")
    del apps.all_models["connected_accounts"]["ouraccount"]
    apps.clear_cache()


@pytest.mark.parametrize(
    "delete",
    [
        lambda model: model.objects.get().delete(),
        lambda model: model.objects.all().delete(),
        lambda model: disconnect(model.objects.get()),
    ],
)
def test_an_account_that_is_deleted_by_a_proxy_is_revoked(
    account: ConnectedAccount, badgr: FakeProvider, proxy: Any, delete: Callable[[Any], Any]
) -> None:
    delete(proxy)
    assert not ConnectedAccount.objects.exists()
    assert Event.objects.filter(kind="disconnected", owner_key=account.owner_key).count() == 1
    assert not LedgerEntry.objects.filter(account_pk=account.pk).exists()
    revoke_pending()
    assert Revocation.objects.get().outcome == "revoked"
    assert not badgr.grants[0].is_alive


def test_a_damaged_token_does_not_stop_the_deletion(account: ConnectedAccount, ada: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE connected_accounts_connectedaccount SET token = 'damaged'")
    ada.delete()
    row = Revocation.objects.get()
    assert (row.outcome, row.last_error) == ("given_up", "undecryptable")


def test_an_account_without_a_token_owes_nothing(account: ConnectedAccount) -> None:
    ConnectedAccount.objects.transition(token=None)
    assert disconnect(ConnectedAccount.objects.get()) is None


def test_the_signal_tells_after_commit(
    account: ConnectedAccount, ada: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[Any] = []

    def note(sender: Any, provider: str, subject: str, user: Any, **kwargs: Any) -> None:
        heard.append((provider, subject, user))

    signals.account_disconnected.connect(note)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            disconnect(account)
            assert not heard
        assert heard == [("badgr", "ada", ada)]
    finally:
        signals.account_disconnected.disconnect(note)


@pytest.mark.django_db(transaction=True)
def test_the_asynchronous_form_does_the_same(account: ConnectedAccount) -> None:
    assert run(adisconnect(account)) is not None
    assert not ConnectedAccount.objects.exists()


@pytest.mark.parametrize("scheme", ["amqp://guest:guest@", "redis://"])
def test_nobody_waits_for_a_broker_that_refuses_connections(db: None, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    app = Celery("refused", broker=f"{scheme}127.0.0.1:{port}/", set_as_current=False)

    @app.task(name="nothing", lazy=False)
    def task() -> None:
        pass

    began = time.monotonic()
    with TestCase.captureOnCommitCallbacks(execute=True):
        tasks.enqueue(task)
    assert time.monotonic() - began < 2
