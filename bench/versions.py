"""What a process says and writes of the version it runs, while another runs beside it."""

import uuid
from typing import Any

from bench.deeds import ALIAS


def code() -> dict[str, Any]:
    """Which code this is: its newest migration, and the columns of one of its models."""
    from pathlib import Path

    import connected_accounts
    from connected_accounts.models import ProviderState

    folder = Path(connected_accounts.__file__).parent
    return {
        "folder": str(folder.parent),
        "migration": max(path.stem for path in (folder / "migrations").glob("0*.py")),
        "columns": len(ProviderState._meta.concrete_fields),
    }


def write_every_kind() -> int:
    """Insert a row of each kind that a site writes, in this code's way."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from connected_accounts.models import AuthorizationRequest, Event, ProviderState
    from connected_accounts.services import start_authorization

    name = uuid.uuid4().hex
    start_authorization(
        user=User.objects.create_user(name),
        provider=ALIAS,
        redirect_uri="http://127.0.0.1:8000/connections/badgr/callback/",
        browser_secret="s" * 43,
    )
    ProviderState.objects.create(provider=name)
    Event.record("connected", at=timezone.now(), provider=ALIAS, owner=name)
    return AuthorizationRequest.objects.count()
