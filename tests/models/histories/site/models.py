"""The site's trackers: as their documentation says, or (HISTORIES_EXCLUDE) as ours does."""

import pathlib
import re
from typing import Any

import reversion
from django.conf import settings
from django.db import connection
from simple_history import register

from connected_accounts.models import ConnectedAccount

PAGE = pathlib.Path(__file__).parents[4] / "docs/how-to/histories.md"


def left_out() -> list[str]:
    """The list of columns that our page says to leave out."""
    names = re.search(r"left_out = \[(.*?)\]", PAGE.read_text("utf-8"), re.DOTALL)
    assert names is not None
    return re.findall(r'"(\w+)"', names[1])


exclude = left_out() if settings.EXCLUDED else []
register(ConnectedAccount, app="tests.models.histories.site", excluded_fields=exclude)
reversion.register(ConnectedAccount, exclude=exclude)
if connection.vendor == "postgresql":
    import pghistory

    fields = [f.name for f in ConnectedAccount._meta.concrete_fields if f.name not in exclude]
    tracked: Any = pghistory.create_event_model(
        ConnectedAccount, pghistory.UpdateEvent(), fields=fields, context_field=None
    )

    class ConnectedAccountEvent(tracked):
        class Meta:
            app_label = "histories_site"
