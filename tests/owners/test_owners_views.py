"""Views, buttons and lists that are about a team's account."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.views import View
from rest_framework.exceptions import PermissionDenied as NotForThisUser
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from connected_accounts.contrib.drf import HasConnection
from connected_accounts.decorators import ConnectionRequiredMixin, connection_required
from connected_accounts.exceptions import InsufficientScope
from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider, connect_account
from tests.owners import teams

pytestmark = pytest.mark.django_db

Ask = Callable[..., HttpResponse]


@pytest.fixture(autouse=True)
def with_teams(app_settings: Any) -> Iterator[None]:
    app_settings(OWNERS=teams.HOOK)
    teams.members.clear()
    yield
    teams.members.clear()


@pytest.fixture
def shared(ada: Any, bob: Any, badgr: FakeProvider) -> ConnectedAccount:
    """The crew's; Ada may do all, Bob may use it."""
    teams.join("crew", ada, teams.ALL)
    teams.join("crew", bob, teams.USES)
    return connect_account(badgr, ada, owner="team:crew")


def key_of(request: HttpRequest, team: str) -> str:
    return f"team:{team}" if team else ""


@connection_required("badgr", owner=key_of)
def function_view(request: Any, team: str) -> HttpResponse:
    return HttpResponse(request.connected_account.pk)


@connection_required("badgr", owner=key_of)
async def async_view(request: Any, team: str) -> HttpResponse:
    return HttpResponse(request.connected_account.pk)


class ClassView(ConnectionRequiredMixin, View):
    connection_provider = "badgr"

    def get_connection_owner(self) -> str:
        return f"team:{self.kwargs['team']}" if self.kwargs["team"] else ""

    def get(self, request: Any, team: str) -> HttpResponse:
        return HttpResponse(request.connected_account.pk)


class AsyncClassView(ClassView):
    async def get(self, request: Any, team: str) -> HttpResponse:  # type: ignore[override]
        return HttpResponse(request.connected_account.pk)


def in_loop(view: Any) -> Any:
    def call(request: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            return await view(request, **kwargs)

        from asgiref.sync import async_to_sync

        return async_to_sync(run)()

    return call


VIEWS = {
    "function": function_view,
    "async function": in_loop(async_view),
    "class": ClassView.as_view(),
    "async class": in_loop(AsyncClassView.as_view()),
}


@pytest.fixture(params=VIEWS)
def ask(request: pytest.FixtureRequest) -> Ask:
    def call(user: Any, team: str) -> HttpResponse:
        made = RequestFactory().get(f"/teams/{team}/")
        made.user = user
        return VIEWS[request.param](made, team=team)  # type: ignore[no-any-return]

    return call


def test_a_view_of_a_team_gets_the_teams_account(
    shared: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider, ask: Ask
) -> None:
    connect_account(badgr, bob, subject="bobs-own")
    for user in (ada, bob):
        assert ask(user, "crew").content == str(shared.pk).encode()


def test_who_is_not_in_the_team_finds_no_such_page(
    shared: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider, ask: Ask
) -> None:
    teams.join("rivals", ada, teams.ALL)
    teams.leave("crew", bob)
    connect_account(badgr, bob, subject="bobs-own")
    for team in ("crew", "rivals", "none", ""):
        with pytest.raises(Http404):
            ask(bob, team)
    assert ask(AnonymousUser(), "crew").status_code == 303


def test_an_owner_that_a_view_forgot_to_name_is_not_the_user(ada: Any, badgr: FakeProvider) -> None:
    connect_account(badgr, ada)

    @connection_required("badgr", owner=lambda request: None)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = ada
    with pytest.raises(Http404):
        view(request)


def test_who_is_not_signed_in_is_not_asked_for_a_team(db: None) -> None:
    @connection_required("badgr", owner=lambda request: f"team:{request.user.team_id}")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    class Badges(ConnectionRequiredMixin, View):
        connection_provider = "badgr"

        def get_connection_owner(self) -> str:
            return f"team:{self.request.user.team_id}"  # type: ignore[union-attr]

    for called in (view, Badges.as_view()):
        request = RequestFactory().get("/badges/")
        request.user = AnonymousUser()
        response = called(request)
        assert (response.status_code, "/login/" in response["Location"]) == (303, True)


def test_the_account_of_another_team_or_of_oneself_is_not_taken(
    shared: ConnectedAccount, ada: Any, badgr: FakeProvider, ask: Ask
) -> None:
    teams.join("other", ada, teams.ALL)
    connect_account(badgr, ada, subject="adas-own")
    response = ask(ada, "other")
    assert response.status_code == 303
    assert response["Location"] == (
        "/connections/badgr/connect/?next=%2Fteams%2Fother%2F&owner=team%3Aother"
    )


def test_who_may_not_connect_is_told_that_somebody_must(
    shared: ConnectedAccount, bob: Any, ask: Ask
) -> None:
    shared.delete()
    with pytest.raises(PermissionDenied, match="must connect this account first"):
        ask(bob, "crew")


def test_who_may_only_see_it_may_not_use_it(shared: ConnectedAccount, bob: Any, ask: Ask) -> None:
    teams.join("crew", bob, {})
    with pytest.raises(PermissionDenied):
        ask(bob, "crew")


def test_a_site_without_our_pages_refuses_who_has_no_connection(
    ada: Any, ask: Ask, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.bare_urls"
    teams.join("crew", ada, teams.ALL)
    with pytest.raises(PermissionDenied, match="A connected account"):
        ask(ada, "crew")


def test_a_missing_permission_is_asked_for_on_behalf_of_the_team(
    ada: Any, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    teams.join("crew", ada, teams.ALL)
    connect_account(badgr, ada, owner="team:crew", scopes=["rw:backpack"], granted=["r:profile"])

    @connection_required("badgr", scopes=["rw:backpack"], owner=key_of)
    def view(request: Any, team: str) -> HttpResponse:
        return HttpResponse()

    request = RequestFactory().get("/teams/crew/")
    request.user = ada
    response = view(request, team="crew")
    assert response.status_code == 403
    assert "owner=team%3Acrew&amp;next=" in response.content.decode()


def test_a_view_of_the_rest_framework_asks_for_the_teams_account(
    shared: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider
) -> None:
    class Badges(APIView):
        permission_classes = [HasConnection]
        connection_provider = "badgr"

        def get_connection_owner(self) -> str:
            return f"team:{self.kwargs['team']}"

        def get(self, request: Any, team: str) -> HttpResponse:
            return HttpResponse(request.connected_account.pk)

    def call(user: Any, team: str) -> Any:
        request = APIRequestFactory().get("/")
        force_authenticate(request, user)
        response = Badges.as_view()(request, team=team)
        return response.render() if hasattr(response, "render") else response

    assert call(bob, "crew").content == str(shared.pk).encode()
    assert call(bob, "rivals").status_code == 404
    shared.delete()
    assert call(bob, "crew").status_code == 403
    said = call(ada, "crew")
    assert said.status_code == 403
    assert "owner=team%3Acrew" in said.data["connect_url"]
    assert NotForThisUser.status_code == 403


# --- Templates ----------------------------------------------------------------------------------


def rendered(text: str, user: Any) -> str:
    request = RequestFactory().get("/teams/crew/")
    request.user = user
    template = Template("{% load connected_accounts %}" + text)
    return template.render(Context({"request": request}))


def test_the_button_connects_for_the_team_and_is_not_there_for_who_may_not(
    shared: ConnectedAccount, ada: Any, bob: Any, django_user_model: Any
) -> None:
    button = '{% connect_button "badgr" owner="team:crew" %}'
    assert 'name="owner" value="team:crew"' in rendered(button, ada)
    for user in (bob, django_user_model.objects.create_user("eve"), AnonymousUser()):
        assert "<form" not in rendered(button, user)


def test_a_button_whose_team_the_template_does_not_find_is_not_the_persons_own(
    ada: Any, badgr: FakeProvider
) -> None:
    assert "<form" in rendered('{% connect_button "badgr" %}', ada)
    for owner in ("team.owner_key", '""'):
        assert "<form" not in rendered(f'{{% connect_button "badgr" owner={owner} %}}', ada)


def test_the_connections_of_a_team_are_listed_for_who_sees_them(
    shared: ConnectedAccount, ada: Any, bob: Any, badgr: FakeProvider, django_user_model: Any
) -> None:
    connect_account(badgr, ada, subject="adas-own")
    listed = (
        '{% team_connections "team:crew" as found %}{% for a in found %}{{ a.pk }} {% endfor %}'
    )
    for user in (ada, bob):
        assert rendered(listed, user) == f"{shared.pk} "
    for user in (django_user_model.objects.create_user("eve"), AnonymousUser()):
        assert rendered(listed, user) == ""
    own = listed.replace("team:crew", "site")
    assert rendered(own, ada) == ""


# --- A call that wants more ---------------------------------------------------------------------


@connection_required("badgr", owner=key_of)
def wanting_view(request: Any, team: str) -> HttpResponse:
    account = request.connected_account
    asked_before = tuple(account.scopes_requested)
    raise InsufficientScope("scope", scopes=asked_before, account_id=account.pk)


def of(user: Any, rf: RequestFactory) -> Any:
    """A person's request for the team's page."""
    request = rf.get("/teams/crew/")
    request.user = user
    return request


def test_who_is_asked_for_more_than_a_team_gave_gives_it_for_the_team(
    shared: ConnectedAccount, ada: Any, rf: RequestFactory
) -> None:
    told = wanting_view(of(ada, rf), team="crew")
    assert told.status_code == 403
    assert "owner=team%3Acrew&amp;" in told.content.decode()


def test_who_may_not_connect_for_a_team_is_not_asked_for_more(
    shared: ConnectedAccount, bob: Any, rf: RequestFactory
) -> None:
    with pytest.raises(PermissionDenied, match="Somebody who may do so"):
        wanting_view(of(bob, rf), team="crew")


def test_without_our_pages_nobody_is_led_to_one_for_more(
    shared: ConnectedAccount, ada: Any, rf: RequestFactory, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.bare_urls"
    with pytest.raises(PermissionDenied, match="with these permissions is needed"):
        wanting_view(of(ada, rf), team="crew")


def test_the_button_for_more_is_for_who_may_connect(
    shared: ConnectedAccount, ada: Any, bob: Any, provider_settings: Any
) -> None:
    provider_settings("badgr", OPTIONAL_SCOPES=["rw:backpack"])
    template = Template("{% load connected_accounts %}{% permission_button account scopes '/n/' %}")
    for user, shown in ((ada, True), (bob, False), (AnonymousUser(), False)):
        context = Context({"account": shared, "scopes": ["rw:backpack"], "user": user})
        assert ("/reconnect/" in template.render(context)) is shown
