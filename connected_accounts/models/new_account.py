"""A new account with its entry in the ledger and its event, stored together where nothing else is
to be looked at."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, router
from django.db.models.signals import post_save, pre_save

from connected_accounts.database.inserts import insert_in_step
from connected_accounts.database.new_rows import can_insert_together, insert_together
from connected_accounts.models.accounts import ConnectedAccount
from connected_accounts.models.history import Event
from connected_accounts.models.ledger import LedgerEntry


def insert_new(account: ConnectedAccount, event: Mapping[str, Any], *, fewer_than: int) -> bool:
    """Store a new account and its ``event``, the columns of one, where its owner has fewer accounts
    of the provider than so many; return whether that was done.

    False: nothing was stored. ``mark_connected`` in a transaction, where each step can be told from
    the others, finds out why.
    """
    if not can_insert_together((ConnectedAccount, LedgerEntry, Event)):
        return False
    if any(signal.has_listeners(ConnectedAccount) for signal in (pre_save, post_save)):
        return False  # the site's own, which an INSERT that is written out would pass by
    fields = [f for f in ConnectedAccount._meta.concrete_fields if not f.primary_key]
    values = {field.name: field.pre_save(account, add=True) for field in fields}
    entry = {"seal_id": account.seal_id, "revision": account.revision}
    counted = {"owner_key": account.owner_key, "provider": account.provider}
    pk = None
    with suppress(DatabaseError):
        pk = insert_in_step(
            ConnectedAccount,
            lambda: insert_together(
                ConnectedAccount,
                values,
                [(LedgerEntry, entry, ("account_pk",)), (Event, event, ())],
                unique=("owner_key", "provider", "subject_digest"),
                fewer_than=(fewer_than, counted),
            ),
        )
    if pk is None:
        return False
    account.note_stored(pk, using=router.db_for_write(ConnectedAccount))
    return True
