"""A team's accounts on the example site: shared by its people, and by nobody else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import get_access_token, refresh
from connected_accounts.tasks import revoke_pending_tokens
from connected_accounts.testing import Answer
from example_project.teams.models import Membership, Team


def badges() -> list[Answer]:
    """An assertion has only addresses; what they are called stands there."""
    public = f"{get_provider('badgr').endpoints().api_base_url}/public"
    badge = {
        "entityId": "1",
        "badgeclassOpenBadgeId": f"{public}/badges/1",
        "issuerOpenBadgeId": f"{public}/issuers/1",
        "image": f"{public}/assertions/1/image",
    }
    documents: list[Any] = [{"result": [badge]}, {"name": "Wheelwright"}, {"name": "Guild"}]
    return [Answer(json=document) for document in documents]


@pytest.fixture
def team(ada: Any) -> Team:
    """Ada leads it."""
    made = Team.objects.create(name="Wheelwrights")
    Membership.objects.create(team=made, user=ada, is_lead=True)
    return made


@pytest.fixture
def colleague(team: Team, django_user_model: Any) -> Any:
    user = django_user_model.objects.create_user("bob", "bob@site.example")
    Membership.objects.create(team=team, user=user)
    return user


@pytest.fixture
def stranger(django_user_model: Any) -> Any:
    """Leads another team."""
    user = django_user_model.objects.create_user("eve", "eve@site.example")
    other = Team.objects.create(name="Coopers")
    Membership.objects.create(team=other, user=user, is_lead=True)
    return user


@pytest.fixture
def browser_of() -> Callable[[Any], Client]:
    def sign_in(user: Any) -> Client:
        browser = Client()
        browser.force_login(user)
        return browser

    return sign_in


@pytest.fixture
def shared(team: Team, ada: Any, connected_account: Any) -> ConnectedAccount:
    account: ConnectedAccount = connected_account("badgr", ada, owner=team.owner_key)
    return account


def connect_for(browser: Client, team: Team, fake_provider: Any, **who: Any) -> Any:
    """The whole way, as the button on the team's page begins it."""
    there = {"owner": team.owner_key, "next": reverse("team", args=[team.pk])}
    away = browser.post(reverse("connected_accounts:connect", args=["badgr"]), there)
    back = fake_provider("badgr").authorize(away["Location"], **who)
    return browser.get(reverse("connected_accounts:callback", args=["badgr"]), back)


def test_who_leads_a_team_connects_for_it_and_everybody_sees_it(
    browser: Client, team: Team, colleague: Any, browser_of: Any, fake_provider: Any
) -> None:
    page = reverse("team", args=[team.pk])
    assert f'value="{team.owner_key}"' in browser.get(page).content.decode()

    answer = connect_for(browser, team, fake_provider, label="guild@badgr.example")

    assert answer["Location"] == page
    theirs = browser_of(colleague).get(page).content.decode()
    assert "guild@badgr.example" in theirs
    for wanted in ("Disconnect", "Connect to Badgr"):  # not his to do
        assert wanted not in theirs
    assert "guild@badgr.example" not in browser.get("/").content.decode()


def test_colleagues_use_it_and_strangers_find_nothing(
    team: Team, shared: Any, colleague: Any, stranger: Any, browser_of: Any, fake_provider: Any
) -> None:
    url = reverse("team-badges", args=[team.pk])
    fake_provider("badgr").script("api", *badges())

    assert "Wheelwright</strong>" in browser_of(colleague).get(url).content.decode()
    eve = browser_of(stranger)
    pages = [url, reverse("team", args=[team.pk])]
    pages += [
        reverse(f"connected_accounts:{n}", args=[shared.pk]) for n in ("disconnect", "history")
    ]
    assert {eve.get(page).status_code for page in pages} == {404}
    listed = eve.get(reverse("connected_accounts_api:accounts")).json()
    assert listed == {"accounts": [], "next_page": None}
    assert eve.get(reverse("connected_accounts:list")).status_code == 200


def test_a_stranger_can_neither_connect_for_it_nor_end_it(
    team: Team, shared: Any, stranger: Any, browser_of: Any
) -> None:
    eve = browser_of(stranger)
    connect = reverse("connected_accounts:connect", args=["badgr"])
    for pk in (shared.pk, shared.pk + 1):
        assert eve.post(reverse("connected_accounts:disconnect", args=[pk])).status_code == 404
        assert eve.post(reverse("connected_accounts:reconnect", args=[pk])).status_code == 404
    assert eve.post(connect, {"owner": team.owner_key}).status_code == 404
    assert ConnectedAccount.objects.get() == shared


def test_it_stays_when_the_one_who_connected_it_leaves(
    browser: Client, team: Team, shared: Any, ada: Any, colleague: Any, browser_of: Any
) -> None:
    Membership.objects.get(user=ada).delete()

    assert browser.get(reverse("team", args=[team.pk])).status_code == 404
    assert browser.get(reverse("team-badges", args=[team.pk])).status_code == 404
    end = reverse("connected_accounts:disconnect", args=[shared.pk])
    assert browser.post(end).status_code == 404
    refresh(shared)
    assert (
        shared.label in browser_of(colleague).get(reverse("team", args=[team.pk])).content.decode()
    )


def test_it_stays_when_the_one_who_connected_it_is_deleted(
    team: Team, shared: Any, ada: Any, fake_provider: Any
) -> None:
    ada.delete()
    revoke_pending_tokens.apply()

    assert get_access_token(shared)
    assert [grant.is_alive for grant in fake_provider("badgr").grants] == [True]
    assert Event.objects.get(kind="connected").detail.startswith("gone:user:")


def test_who_leaves_while_under_way_connects_nothing(
    browser: Client, team: Team, ada: Any, fake_provider: Any
) -> None:
    there = {"owner": team.owner_key}
    away = browser.post(reverse("connected_accounts:connect", args=["badgr"]), there)
    back = fake_provider("badgr").authorize(away["Location"])
    Membership.objects.get(user=ada).delete()

    answer = browser.get(reverse("connected_accounts:callback", args=["badgr"]), back)

    assert answer.status_code == 403
    assert not ConnectedAccount.objects.exists()


def test_a_team_that_is_deleted_ends_its_connections(
    team: Team, shared: Any, fake_provider: Any
) -> None:
    team.delete()
    revoke_pending_tokens.apply()

    assert not ConnectedAccount.objects.exists()
    assert [grant.is_alive for grant in fake_provider("badgr").grants] == [False]


def test_who_has_no_account_yet_is_sent_to_connect_one_or_told_to_wait(
    browser: Client, team: Team, colleague: Any, browser_of: Any
) -> None:
    url = reverse("team-badges", args=[team.pk])
    away = browser.get(url)
    assert away.status_code == 303
    assert f"owner=team%3A{team.pk}" in away["Location"]
    assert browser_of(colleague).get(url).status_code == 403
