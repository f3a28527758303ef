"""A site with teams, as far as the app sees it: one function that says who may what."""

from typing import Any

from connected_accounts.owners import Owner

HOOK = "tests.owners.teams.owners_of"
ALL = {"may_use": True, "may_connect": True, "may_disconnect": True}
USES = {"may_use": True}

# Team → user's primary key → what that person may do.
members: dict[str, dict[Any, dict[str, bool]]] = {}


def owners_of(user: Any) -> list[Owner]:
    """``CONNECTED_ACCOUNTS["OWNERS"]`` in the tests of shared accounts."""
    return [
        Owner(f"team:{team}", f"The {team} team", **people[user.pk])
        for team, people in members.items()
        if user.pk in people
    ]


def join(team: str, user: Any, rights: dict[str, bool]) -> None:
    members.setdefault(team, {})[user.pk] = rights


def leave(team: str, user: Any) -> None:
    del members[team][user.pk]


def raises(user: Any) -> list[Owner]:
    raise RuntimeError("secret-in-a-message")


def malformed(user: Any) -> Any:
    """Whatever a test puts here."""
    return given[0]


given: list[Any] = [None]
