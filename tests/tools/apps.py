"""Registers our models with the packages that keep a history of rows, as their pages say."""

from django.apps import AppConfig
from django.conf import settings


class Tools(AppConfig):
    name = "tests.tools"
    label = "tools"

    def ready(self) -> None:
        if settings.TOOL == "histories":
            import reversion

            from connected_accounts.models import ConnectedAccount

            reversion.register(ConnectedAccount)
