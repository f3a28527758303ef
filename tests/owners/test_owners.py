"""Accounts of a team: colleagues share them, who leaves has none of it, nobody else ever has."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import checks
from django.test import Client

from connected_accounts import signals
from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import InvalidState
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderClient,
    Revocation,
)
from connected_accounts.owners import SITE_OWNER, Owner, owner_for, owner_key, owners_of
from connected_accounts.providers.base import Identity
from connected_accounts.services import disconnect, export, get_access_token, refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import FakeProvider
from connected_accounts.tokens import identity
from tests.journeys import connect, finish, query_of, start
from tests.owners import teams

pytestmark = pytest.mark.django_db

ACTIONS = ("reconnect", "disconnect")


@pytest.fixture(autouse=True)
def with_teams(app_settings: Any) -> Iterator[None]:
    app_settings(OWNERS=teams.HOOK)
    teams.members.clear()
    yield
    teams.members.clear()


@pytest.fixture
def crew(ada: Any, bob: Any) -> None:
    """Ada and Bob are in one team; Ada runs it."""
    teams.join("crew", ada, teams.ALL)
    teams.join("crew", bob, teams.USES)


@pytest.fixture
def shared(crew: None, client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    """The crew's account, connected by Ada."""
    return connect(client_of_ada, badgr, subject="crew-at-badgr", owner="team:crew")


@pytest.fixture
def eve(django_user_model: Any) -> Any:
    """In no team but her own."""
    user = django_user_model.objects.create_user("eve", "eve@site.example")
    teams.join("rivals", user, teams.ALL)
    return user


@pytest.fixture
def client_of_eve(eve: Any) -> Client:
    client = Client()
    client.force_login(eve)
    return client


# --- Whose it is --------------------------------------------------------------------------------


def test_what_is_connected_for_a_team_is_nobodys_own(
    shared: ConnectedAccount, ada: Any, bob: Any
) -> None:
    assert (shared.user, shared.owner_key) == (None, "team:crew")
    for user in (ada, bob):
        assert not ConnectedAccount.objects.for_user(user).exists()
        assert ConnectedAccount.objects.visible_to(user).get() == shared
        assert ConnectedAccount.objects.usable_by(user).get() == shared
    assert not ConnectedAccount.objects.for_user(None).exists()
    assert Event.objects.get(kind="connected").detail == f"user:{ada.pk}"


def test_one_provider_account_of_two_teams_is_two_rows(
    shared: ConnectedAccount, client_of_eve: Client, badgr: FakeProvider
) -> None:
    theirs = connect(client_of_eve, badgr, subject="crew-at-badgr", owner="team:rivals")
    assert theirs.pk != shared.pk
    shared.refresh_from_db()
    assert shared.owner_key == "team:crew"
    assert get_access_token(shared) != get_access_token(theirs)


def test_the_same_account_again_for_the_team_is_the_same_row(
    shared: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    again = connect(client_of_ada, badgr, subject="crew-at-badgr", owner="team:crew")
    assert again.pk == shared.pk


def test_an_exclusive_provider_account_is_the_teams_alone(
    shared: ConnectedAccount, client_of_bob: Client, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", EXCLUSIVE=True)
    params = badgr.authorize(start(client_of_bob), subject="crew-at-badgr")
    assert finish(client_of_bob, params).status_code == 409
    assert ConnectedAccount.objects.get() == shared


def test_it_outlives_the_user_who_connected_it(
    shared: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider
) -> None:
    ada.delete()
    assert not Revocation.objects.exists()
    refresh(shared)
    assert ConnectedAccount.objects.usable_by(bob).get() == shared
    assert Event.objects.filter(kind="connected", owner_key="team:crew").exists()


def test_it_goes_on_working_when_the_user_who_connected_it_is_deactivated(
    shared: ConnectedAccount, ada: Any, bob: Any
) -> None:
    ada.is_active = False
    ada.save()
    refresh(shared)
    assert get_access_token(shared)
    assert not ConnectedAccount.objects.visible_to(ada).exists()
    assert ConnectedAccount.objects.usable_by(bob).exists()


def test_each_team_brings_credentials_of_its_own(
    ada: Any, crew: None, settings: Any, fake_provider: Any
) -> None:
    bits = {"BACKEND": "connected_accounts.providers.bits.Bits", "CLIENT_ID": "site-client"}
    providers = settings.CONNECTED_ACCOUNTS["PROVIDERS"] | {"bits": bits}
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": providers}
    fake = fake_provider("bits")
    fake.add_client("crew-client", "crew-secret", subject="crew")
    values = {"client_id": "crew-client", "client_secret": "crew-secret"}
    account, _ = connect_directly(user=ada, provider="bits", values=values, owner="team:crew")
    assert (account.user, account.owner_key) == (None, "team:crew")
    assert ProviderClient.objects.get().owner_key == "team:crew"
    with pytest.raises(InvalidState, match="other_user"):
        connect_directly(user=ada, provider="bits", values=values, account=account)


# --- Who may what -------------------------------------------------------------------------------


def test_who_may_only_use_it_neither_connects_nor_disconnects(
    shared: ConnectedAccount, client_of_bob: Client, badgr: FakeProvider
) -> None:
    for action in ACTIONS:
        for way in (client_of_bob.get, client_of_bob.post):
            response = way(f"/connections/{shared.pk}/{action}/")
            assert response.status_code == 403
            assert response["Cache-Control"] == "no-store, private"
    for way in (client_of_bob.get, client_of_bob.post):
        assert way("/connections/badgr/connect/?owner=team:crew").status_code == 403
    assert client_of_bob.get(f"/connections/{shared.pk}/history/").status_code == 200
    assert client_of_bob.post(f"/connections/{shared.pk}/test/").status_code == 200
    assert not AuthorizationRequest.objects.filter(consumed_at=None).exists()
    assert ConnectedAccount.objects.get() == shared


def test_who_may_only_see_it_cannot_have_it_called(
    shared: ConnectedAccount, bob: Any, client_of_bob: Client, badgr: FakeProvider
) -> None:
    teams.join("crew", bob, {})
    asked = len(badgr.requests)
    assert client_of_bob.post(f"/connections/{shared.pk}/test/").status_code == 403
    assert not ConnectedAccount.objects.usable_by(bob).exists()
    assert ConnectedAccount.objects.visible_to(bob).exists()
    assert len(badgr.requests) == asked


def test_nobody_else_finds_anything(
    shared: ConnectedAccount, client_of_eve: Client, eve: Any
) -> None:
    for path in ("reconnect", "disconnect", "history", "test"):
        for pk in (shared.pk, shared.pk + 999):
            assert client_of_eve.post(f"/connections/{pk}/{path}/").status_code in (404, 405)
            assert client_of_eve.get(f"/connections/{pk}/{path}/").status_code in (404, 405)
    assert not ConnectedAccount.objects.visible_to(eve).exists()
    assert ConnectedAccount.objects.get() == shared


@pytest.mark.parametrize(
    "owner", ["team:crew", "team:none", "site", "user:1", "user:2", "TEAM:CREW", "team:crew ", "x"]
)
def test_a_guessed_owner_is_as_unknown_as_one_that_is_not(
    shared: ConnectedAccount, ada: Any, client_of_eve: Client, eve: Any, owner: str
) -> None:
    for way in (client_of_eve.get, client_of_eve.post):
        response = way(f"/connections/badgr/connect/?owner={owner}")
        if owner == f"user:{eve.pk}":  # herself
            assert response.status_code in (200, 303)
        else:
            assert response.status_code == 404
    assert (
        not AuthorizationRequest.objects.exclude(user=ada)
        .exclude(owner_key=f"user:{eve.pk}")
        .exists()
    )


def test_a_service_call_is_refused_too(shared: ConnectedAccount, eve: Any, bob: Any) -> None:
    from connected_accounts.services import start_authorization

    for user, owner in (
        (eve, "team:crew"),
        (bob, "team:crew"),
        (eve, SITE_OWNER),
        (None, "team:x"),
    ):
        with pytest.raises(InvalidState, match="not_permitted"):
            start_authorization(
                user=user, provider="badgr", redirect_uri="x", browser_secret="x", owner=owner
            )


def test_another_teams_account_cannot_be_reconnected_for_ones_own_team(
    shared: ConnectedAccount, eve: Any
) -> None:
    from connected_accounts.services import start_authorization

    for owner in ("team:rivals", None):
        with pytest.raises(InvalidState, match="other_user"):
            start_authorization(
                user=eve,
                provider="badgr",
                redirect_uri="x",
                browser_secret="x",
                account=shared,
                owner=owner,
            )


def test_a_former_member_loses_everything_at_once(
    shared: ConnectedAccount, ada: Any, client_of_ada: Client
) -> None:
    assert client_of_ada.get(f"/connections/{shared.pk}/disconnect/").status_code == 200
    teams.leave("crew", ada)
    for path in ("reconnect", "disconnect", "history"):
        assert client_of_ada.get(f"/connections/{shared.pk}/{path}/").status_code == 404
    assert client_of_ada.post(f"/connections/{shared.pk}/disconnect/").status_code == 404
    assert not ConnectedAccount.objects.visible_to(ada).exists()
    assert ConnectedAccount.objects.get() == shared


def test_a_deactivated_user_is_asked_to_sign_in(
    shared: ConnectedAccount, ada: Any, client_of_ada: Client
) -> None:
    ada.is_active = False
    ada.save()
    response = client_of_ada.post(f"/connections/{shared.pk}/disconnect/")
    assert (response.status_code, "/login/" in response["Location"]) == (303, True)
    assert owners_of(ada).keys() == {f"user:{ada.pk}"}
    assert ConnectedAccount.objects.get() == shared


# --- The way there and back ---------------------------------------------------------------------


def test_the_page_says_for_whom_it_connects(crew: None, client_of_ada: Client) -> None:
    page = client_of_ada.get("/connections/badgr/connect/?owner=team:crew").content.decode()
    assert "The crew team" in page
    assert 'name="owner" value="team:crew"' in page


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_team_without_a_name_is_not_taken_for_the_person(
    app_settings: Any, client_of_ada: Client, name: Any
) -> None:
    app_settings(OWNERS="tests.owners.teams.malformed")
    teams.given[0] = [Owner("team:crew", name, **teams.ALL)]
    page = client_of_ada.get("/connections/badgr/connect/?owner=team:crew").content.decode()
    assert "<strong>team:crew</strong>" in page
    assert 'name="owner" value="team:crew"' in page
    told = client_of_ada.get("/api/connections/providers/").json()
    assert told["owners"] == [{"key": "team:crew", "name": "team:crew"}]


def test_who_leaves_while_under_way_is_refused_and_nothing_is_exchanged(
    crew: None, ada: Any, client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada, owner="team:crew"), subject="crew-at-badgr")
    teams.leave("crew", ada)
    response = finish(client_of_ada, params)
    assert response.status_code == 403
    assert not ConnectedAccount.objects.exists()
    assert not badgr.requests
    event = Event.objects.get(kind="refused")
    assert (event.owner_key, event.detail) == ("team:crew", "not_permitted")


def test_who_leaves_while_the_provider_answers_is_refused_and_the_grant_withdrawn(
    crew: None,
    ada: Any,
    client_of_ada: Client,
    badgr: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from connected_accounts.connect import completion

    identify = completion.identify

    def leave_meanwhile(*args: Any) -> Any:
        teams.leave("crew", ada)
        return identify(*args)

    monkeypatch.setattr(completion, "identify", leave_meanwhile)
    params = badgr.authorize(start(client_of_ada, owner="team:crew"), subject="crew-at-badgr")
    assert finish(client_of_ada, params).status_code == 403
    assert not ConnectedAccount.objects.exists()
    revoke_pending_tokens.apply()
    assert [grant.is_alive for grant in badgr.grants] == [False]


@pytest.mark.parametrize("change", ["left", "deactivated"])
def test_who_may_no_longer_when_the_service_has_taken_a_token_connects_nothing(
    crew: None, ada: Any, settings: Any, fake_provider: Any, change: str
) -> None:
    bits = {"BACKEND": "connected_accounts.providers.bits.Bits", "CLIENT_ID": "site-client"}
    providers = settings.CONNECTED_ACCOUNTS["PROVIDERS"] | {"bits": bits}
    settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {"PROVIDERS": providers}
    fake = fake_provider("bits")
    fake.add_client("crew-client", "crew-secret", subject="crew")
    values = {"client_id": "crew-client", "client_secret": "crew-secret"}

    def change_meanwhile(*args: Any) -> Identity:
        if change == "left":
            teams.leave("crew", ada)
        else:
            type(ada).objects.update(is_active=False)
        return Identity("crew")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "identify", change_meanwhile)
        with pytest.raises(InvalidState, match="not_permitted"):
            connect_directly(user=ada, provider="bits", values=values, owner="team:crew")
    assert not ConnectedAccount.objects.exists()
    assert not ProviderClient.objects.exists()


def test_a_colleague_cannot_finish_what_another_began(
    crew: None, client_of_ada: Client, client_of_bob: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada, owner="team:crew"))
    assert finish(client_of_bob, params).status_code == 403
    assert finish(client_of_ada, params).status_code == 303


def test_the_starter_deleted_meanwhile_connects_nothing(
    crew: None, ada: Any, client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada, owner="team:crew"))
    ada.delete()
    assert finish(client_of_ada, params).status_code in (303, 400)  # to sign in, or unknown
    assert not ConnectedAccount.objects.exists()


def test_a_reconnect_as_another_account_changes_nothing_and_offers_both_ways(
    shared: ConnectedAccount, client_of_ada: Client, badgr: FakeProvider
) -> None:
    away = client_of_ada.post(f"/connections/{shared.pk}/reconnect/")
    params = badgr.authorize(away["Location"], subject="somebody-else")
    response = finish(client_of_ada, params)
    assert response.status_code == 409
    page = response.content.decode()
    assert f"/connections/{shared.pk}/reconnect/" in page
    assert "/connections/badgr/connect/?owner=team%3Acrew" in page  # not as Ada's own
    assert ConnectedAccount.objects.get().subject == "crew-at-badgr"


def test_colleagues_are_not_told_as_whom_else_somebody_signed_in(
    shared: ConnectedAccount,
    ada: Any,
    client_of_ada: Client,
    client_of_bob: Client,
    badgr: FakeProvider,
) -> None:
    away = client_of_ada.post(f"/connections/{shared.pk}/reconnect/")
    finish(client_of_ada, badgr.authorize(away["Location"], subject="adas-private-one"))
    address = "/api/connections/revocations/"
    assert client_of_bob.get(address).json() == {"revocations": []}
    assert client_of_ada.get(address).json() == {"revocations": []}, "nothing was disconnected"
    unused = Revocation.objects.get()
    assert (unused.cause, unused.outcome) == ("unused", "pending")
    assert (unused.owner_key, unused.subject) == (owner_key(ada), "adas-private-one")
    revoke_pending_tokens.apply()
    assert [grant.is_alive for grant in badgr.grants] == [True, False]


def test_trying_again_is_for_the_team_again(
    crew: None, client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada, owner="team:crew", next="/team/"), deny=True)
    page = finish(client_of_ada, params).content.decode()
    assert "/connections/badgr/connect/?next=%2Fteam%2F&amp;owner=team%3Acrew" in page


def test_a_reconnect_by_a_colleague_is_noted(
    shared: ConnectedAccount, bob: Any, client_of_bob: Client, badgr: FakeProvider
) -> None:
    teams.join("crew", bob, teams.ALL)
    away = client_of_bob.post(f"/connections/{shared.pk}/reconnect/")
    assert finish(client_of_bob, badgr.authorize(away["Location"], subject="crew-at-badgr"))
    event = Event.objects.get(kind="reconnected")
    assert (event.owner_key, event.detail) == ("team:crew", f"user:{bob.pk}")
    assert ConnectedAccount.objects.get().user is None


def test_disconnecting_withdraws_the_grant_and_says_who_did_it(
    shared: ConnectedAccount, ada: Any, client_of_ada: Client, badgr: FakeProvider
) -> None:
    response = client_of_ada.post(f"/connections/{shared.pk}/disconnect/", {"next": "/teams/crew/"})
    assert response["Location"] == "/teams/crew/"
    revoke_pending_tokens.apply()
    assert [grant.is_alive for grant in badgr.grants] == [False]
    event = Event.objects.get(kind="disconnected")
    assert (event.owner_key, event.detail) == ("team:crew", f"user:{ada.pk}")
    assert Revocation.objects.get().owner_key == "team:crew"


def test_receivers_are_told_whose_account_went(
    shared: ConnectedAccount, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[Any] = []

    def note(user: Any, owner: str, **kwargs: Any) -> None:
        heard.append((user, owner))

    signals.account_disconnected.connect(note)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            disconnect(shared)
    finally:
        signals.account_disconnected.disconnect(note)
    assert heard == [(None, "team:crew")]


def test_what_a_person_did_for_a_team_is_told_to_the_person(
    shared: ConnectedAccount, ada: Any, bob: Any
) -> None:
    disconnect(shared, by=ada)
    told = export(ada)
    assert {event["kind"] for event in told["events"]} == {"connected", "disconnected"}
    assert len(told["started_authorizations"]) == 1
    assert told["connected_accounts"] == []
    assert export(bob)["events"] == []


def test_ones_own_account_is_noted_without_a_name(
    account: ConnectedAccount, ada: Any, client_of_ada: Client
) -> None:
    client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    assert set(Event.objects.values_list("detail", flat=True)) == {""}


# --- Views and templates ------------------------------------------------------------------------


def test_the_list_of_a_person_is_the_persons_own(
    shared: ConnectedAccount, client_of_ada: Client
) -> None:
    assert "crew-at-badgr" not in client_of_ada.get("/connections/").content.decode()


def test_the_admin_shows_the_owner(shared: ConnectedAccount, admin_client: Client) -> None:
    url = "/admin/connected_accounts/connectedaccount/"
    assert "team:crew" in admin_client.get(url).content.decode()
    assert "team:crew" in admin_client.get(f"{url}{shared.pk}/change/").content.decode()
    for owner, there in (("others", True), ("site", False), ("users", False)):
        listed = admin_client.get(url, {"owner": owner}).content.decode()
        assert ("crew-at-badgr" in listed) == there
    assert admin_client.get(f"{url}{shared.pk}/connect-again/").status_code == 404


# --- The hook -----------------------------------------------------------------------------------


def test_without_a_hook_nothing_is_shared(
    shared: ConnectedAccount, ada: Any, client_of_ada: Client, app_settings: Any
) -> None:
    app_settings(OWNERS=None)
    assert not ConnectedAccount.objects.visible_to(ada).exists()
    assert client_of_ada.get(f"/connections/{shared.pk}/disconnect/").status_code == 404


def test_a_hook_that_raises_shares_nothing_and_leaves_ones_own(
    shared: ConnectedAccount,
    account: ConnectedAccount,
    ada: Any,
    client_of_ada: Client,
    app_settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app_settings(OWNERS="tests.owners.teams.raises")
    with caplog.at_level(logging.ERROR, "connected_accounts"):
        assert ConnectedAccount.objects.visible_to(ada).get() == account
    assert "owners hook failed" in caplog.text
    assert "secret-in-a-message" not in caplog.text
    assert client_of_ada.get(f"/connections/{shared.pk}/disconnect/").status_code == 404
    assert client_of_ada.get("/connections/").status_code == 200
    refresh(shared)  # asks nobody who may


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        ["team:crew"],
        [Owner("site", "x", **teams.ALL)],
        [Owner("user:1", "x", **teams.ALL)],
        [Owner("crew", "x", **teams.ALL)],
        [Owner("Team:Crew", "x", **teams.ALL)],
        [Owner("team:crew\n", "x", **teams.ALL)],
        [Owner("team:", "x", **teams.ALL)],
        [Owner("team:" + "x" * 128, "x", **teams.ALL)],
        [Owner("team:crew", "x", may_use="no")],  # type: ignore[arg-type]
        [Owner("team:crew", "x"), Owner("team:crew", "x", **teams.ALL)],
        [Owner("team:crew", "x", **teams.ALL), Owner("user:1", "x", **teams.ALL)],
    ],
)
def test_whatever_is_malformed_shares_nothing(ada: Any, app_settings: Any, value: Any) -> None:
    app_settings(OWNERS="tests.owners.teams.malformed")
    teams.given[0] = value
    assert owners_of(ada).keys() == {f"user:{ada.pk}"}
    assert owner_for(ada, "site") is None
    assert owner_for(ada, "team:crew") is None


def test_the_hook_is_asked_anew_and_never_who_a_user_is(
    ada: Any, crew: None, app_settings: Any
) -> None:
    assert owner_for(ada, "team:crew") is not None
    teams.leave("crew", ada)
    assert owner_for(ada, "team:crew") is None
    app_settings(OWNERS="tests.owners.teams.raises")
    own = owner_for(ada, f"user:{ada.pk}")
    assert own is not None
    assert own.may_disconnect


def test_nobody_has_no_owners() -> None:
    from django.contrib.auth.models import AnonymousUser

    assert owners_of(None) == owners_of(AnonymousUser()) == {}
    assert owner_for(None, "site") is None
    assert not ConnectedAccount.objects.visible_to(AnonymousUser()).exists()


@pytest.mark.parametrize("path", ["nowhere.at_all", "tests.owners.teams.members", "x", "", 7])
def test_a_hook_that_cannot_be_called_is_an_error_of_settings(
    ada: Any, app_settings: Any, path: Any
) -> None:
    app_settings(OWNERS=path)
    found = [message.id for message in checks.run_checks(tags=["connected_accounts"])]
    assert "connected_accounts.E019" in found
    assert owners_of(ada).keys() == {f"user:{ada.pk}"}


def test_the_state_says_nothing_of_the_owner(crew: None, client_of_ada: Client) -> None:
    assert "crew" not in start(client_of_ada, owner="team:crew")
    assert "owner" not in query_of(start(client_of_ada, owner="team:crew"))
