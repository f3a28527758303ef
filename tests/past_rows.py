"""Rows as they once were, written back past every method of the model."""

from typing import Any

from django.db.models import QuerySet

from connected_accounts.models import ConnectedAccount


def put_back(columns: dict[str, Any]) -> None:
    """Write a whole row as it once was, as SQL does."""
    rows = ConnectedAccount.objects.filter(pk=columns["id"])
    assert QuerySet.update(rows, **{k: v for k, v in columns.items() if k != "id"}) == 1


def columns_of(account: ConnectedAccount) -> dict[str, Any]:
    """All that a row holds now, by column."""
    return ConnectedAccount.objects.values().get(pk=account.pk)
