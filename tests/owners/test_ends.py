"""Whoever is given an owner's key again has nothing of the one before: no line, row or token."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connected_accounts.clients.credentials import clients_of, store_own_client
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderClient,
    Revocation,
)
from connected_accounts.operations import ownership
from connected_accounts.owners import is_owner_key, owner_key
from connected_accounts.providers.base import Client as Pair
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.disconnect import revoke_orphan
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.services import disconnect, export, retire_owner
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import FakeProvider, connect_account
from tests.journeys import connect
from tests.owners import teams

pytestmark = pytest.mark.django_db

LABEL = "ada@badgr.example"


def another(pk: Any) -> Any:
    """A new person with the primary key of one who is gone."""
    return get_user_model().objects.create_user("zoe", pk=pk)


def texts_of(client: Client, key: str, staff: Client) -> str:
    """All that is shown to, or about, the owner of this key."""
    own = ("/connections/", reverse("connected_accounts_api:accounts"))
    pages = [client.get(page) for page in (*own, reverse("connected_accounts_api:revocations"))]
    pages.append(staff.get(reverse("admin:connected_accounts_connectedaccount_person", args=[key])))
    assert {page.status_code for page in pages} == {200}
    return "".join(page.content.decode() for page in pages)


def test_who_gets_a_primary_key_again_sees_nothing_of_whose_it_was(
    badgr: FakeProvider, ada: Any, client: Client, admin_client: Client
) -> None:
    account = connect_account(badgr, ada)
    ConnectedAccount.objects.filter(pk=account.pk).update(label=LABEL)
    pk = ada.pk
    ada.delete()
    zoe = another(pk)
    client.force_login(zoe)
    assert LABEL not in texts_of(client, owner_key(zoe), admin_client)
    assert {name: rows for name, rows in export(zoe).items() if rows} == {}
    assert not Event.objects.filter(owner_key=owner_key(zoe)).exists()


def test_what_a_deleted_user_leaves_is_still_withdrawn(badgr: FakeProvider, ada: Any) -> None:
    connect_account(badgr, ada)
    ada.delete()
    revoke_pending_tokens.apply()
    assert Revocation.objects.get().outcome == "revoked"
    keys = {*Event.objects.values_list("owner_key", flat=True), Revocation.objects.get().owner_key}
    assert len(keys) == 1
    assert not is_owner_key(keys.pop())


@pytest.fixture
def proxy() -> Iterator[Any]:
    """A proxy of the site's user model, known since start-up."""
    user_model: Any = get_user_model()
    meta = type("Meta", (), {"proxy": True, "app_label": user_model._meta.app_label})
    yield type("Person", (user_model,), {"__module__": __name__, "Meta": meta})
    del apps.all_models[user_model._meta.app_label]["person"]
    apps.clear_cache()


def test_a_token_that_a_worker_withdraws_meanwhile_does_not_come_back(
    badgr: FakeProvider, ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnect(connect_account(badgr, ada))
    rebind = ownership.rebind

    def and_then_it_is_withdrawn(*args: Any) -> Any:
        Revocation.objects.update(token=None, outcome="revoked")
        return rebind(*args)

    monkeypatch.setattr(ownership, "rebind", and_then_it_is_withdrawn)
    ada.delete()
    [owed] = Revocation.objects.all()
    assert (owed.outcome, owed.token) == ("revoked", None)
    assert owed.owner_key.startswith("gone:")


def test_a_proxy_of_the_user_model_is_deleted_as_the_user(
    badgr: FakeProvider, ada: Any, proxy: Any
) -> None:
    apps.get_app_config("connected_accounts").ready()
    connect_account(badgr, ada)
    pk = ada.pk
    proxy.objects.get(pk=pk).delete()
    assert not Revocation.objects.filter(owner_key=f"user:{pk}").exists()


def test_who_gets_a_primary_key_again_has_no_client_of_whose_it_was(ada: Any) -> None:
    pair = Pair("ada-client", Secret("ada-secret"), owned=True)
    store_own_client(pair, provider="badgr", owner=owner_key(ada), at=timezone.now())
    key = owner_key(ada)
    assert clients_of(get_provider("badgr"), "ada-client", key)
    ada.delete()
    assert clients_of(get_provider("badgr"), "ada-client", key) == []
    assert ProviderClient.objects.get().open_secret().reveal() == "ada-secret"


def test_what_a_deleted_user_did_for_a_team_is_not_the_next_ones(
    ada: Any, bob: Any, badgr: FakeProvider
) -> None:
    Event.record("connected", at=timezone.now(), detail=owner_key(ada), owner="team:crew")  # type: ignore[arg-type]
    pk = ada.pk
    ada.delete()
    assert export(another(pk))["events"] == []


def test_a_grant_that_comes_when_its_user_is_gone_is_not_the_next_ones(
    badgr: FakeProvider, ada: Any
) -> None:
    account = connect_account(badgr, ada)
    account = ConnectedAccount.objects.get(pk=account.pk)
    type(ada).objects.get(pk=ada.pk).delete()
    Revocation.objects.all().delete()
    provider = get_provider("badgr")
    document = SecretFields({"access_token": "late", "refresh_token": "late-too"})
    made_at = account.endpoint_fingerprint
    revoke_orphan(provider, made_at, account, document, subject="x", at=timezone.now())
    assert not Revocation.objects.filter(owner_key=account.owner_key).exists()


def test_a_team_that_gets_a_key_again_has_nothing_of_the_one_before(
    app_settings: Any, ada: Any, bob: Any, client_of_ada: Client, badgr: FakeProvider
) -> None:
    app_settings(OWNERS=teams.HOOK)
    teams.join("crew", ada, teams.ALL)
    connect(client_of_ada, badgr, subject="crew-at-badgr", owner="team:crew")
    client_of_ada.post("/connections/badgr/connect/", {"owner": "team:crew"})
    retire_owner("team:crew")
    for model in (ConnectedAccount, Revocation, Event, AuthorizationRequest):
        assert not model._base_manager.filter(owner_key="team:crew").exists()
    revoke_pending_tokens.apply()
    assert Revocation.objects.get().outcome == "revoked"
    teams.members.clear()


@pytest.mark.parametrize("key", ["site", "user:1", "gone:team:7:0", "Team 7"])
def test_only_a_teams_key_is_retired_by_hand(key: str) -> None:
    with pytest.raises(ConnectedAccountsError) as caught:
        retire_owner(key)
    assert caught.value.code == "malformed"
