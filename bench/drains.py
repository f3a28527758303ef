"""Parts of a drain, for measurements that do not need all of it."""

from typing import Any


def claim_due(alias: str, count: int) -> list[Any]:
    """Claim as a drain does: the oldest due, passing over what others have locked."""
    from django.db import transaction
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.refresh.attempts import claim

    now = timezone.now()
    due = ConnectedAccount.objects.at(alias).due_for_refresh(now)
    with transaction.atomic():
        locked = due.select_for_update(skip_locked=True)
        pks = list(locked.values_list("pk", flat=True)[:count])
        return claim(pks, get_provider(alias), now=now)
