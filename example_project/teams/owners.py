"""Who may what with the accounts of a team: the setting ``OWNERS`` names the function."""

from collections.abc import Iterator
from typing import Any

from connected_accounts.owners import Owner
from example_project.teams.models import Membership


def owners_of(user: Any) -> Iterator[Owner]:
    """The teams that a user is in. Everybody there uses the accounts; who leads it, the rest."""
    for membership in Membership.objects.filter(user=user).select_related("team"):
        yield Owner(
            key=membership.team.owner_key,
            name=membership.team.name,
            may_use=True,
            may_connect=membership.is_lead,
            may_disconnect=membership.is_lead,
        )
