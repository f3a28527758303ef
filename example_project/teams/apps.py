"""Registration of the teams with Django."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class TeamsConfig(AppConfig):
    name = "example_project.teams"
    label = "teams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        pre_delete.connect(end_connections, sender="teams.Team")


def end_connections(sender: Any, instance: Any, **kwargs: Any) -> None:
    """A team that goes takes its accounts with it: a team that gets its id again must not have
    them."""
    from connected_accounts.services import retire_owner

    retire_owner(instance.owner_key)
