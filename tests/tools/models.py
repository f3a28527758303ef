"""Our accounts in packages that keep a history of rows, as their pages say or as ours does."""

import re
from pathlib import Path

from django.conf import settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "histories.md"

if getattr(settings, "TOOL", "") == "histories":
    import reversion
    from simple_history import register

    from connected_accounts.models import ConnectedAccount

    named = re.search(r"left_out = \[(.*?)\]", PAGE.read_text(), re.DOTALL)
    left_out = re.findall(r'"(\w+)"', named[1]) if named and settings.RECIPE else []
    register(ConnectedAccount, app="tests.tools", excluded_fields=left_out)
    reversion.register(ConnectedAccount, exclude=left_out)
