"""The pages of teams: what a team has connected, and a call with its account."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache

from connected_accounts.decorators import connection_required
from connected_accounts.owners import owner_for
from example_project.teams.models import Team
from example_project.views import ask


@never_cache
@login_required
def teams(request: HttpRequest) -> HttpResponse:
    """The teams that one is in."""
    user: Any = request.user
    context = {"teams": Team.objects.filter(people=user).order_by("name")}
    return render(request, "example_project/teams.html", context)


@never_cache
@login_required
def team(request: HttpRequest, team_id: int) -> HttpResponse:
    """A team's accounts, for the people who are in it."""
    owner = owner_for(request.user, owner_of_page(request, team_id))
    if owner is None:
        raise Http404
    context = {"team": get_object_or_404(Team, pk=team_id), "owner": owner}
    return render(request, "example_project/team.html", context)


def owner_of_page(request: HttpRequest, team_id: int) -> str:
    """Whose account the page is about."""
    return f"team:{team_id}"


@never_cache
@connection_required("badgr", owner=owner_of_page)
def badges(request: HttpRequest, team_id: int) -> HttpResponse:
    """The badges in the team's backpack, for everybody in it."""
    account: Any = request.connected_account  # type: ignore[attr-defined]
    context = {
        "team": get_object_or_404(Team, pk=team_id),
        "account": account,
        "answer": ask(account, "GET", "v2/backpack/assertions"),
    }
    return render(request, "example_project/team_badges.html", context)
