"""Giving an account to another owner: users that are merged, work that goes from a person to a
team; and the end of an owner."""

import copy
from contextlib import suppress
from typing import Any

from django.db import IntegrityError, router, transaction
from django.views.decorators.debug import sensitive_variables

from connected_accounts import security
from connected_accounts.exceptions import ConnectedAccountsError, Undecryptable
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    ProviderClient,
    Revocation,
)
from connected_accounts.operations.export import DONE_BY_SOMEBODY
from connected_accounts.owners import acted_for, is_owner_key, owner_key, retired_key
from connected_accounts.revoke.disconnect import disconnect
from connected_accounts.sealing import rebind
from connected_accounts.security import SecurityEvent


@sensitive_variables()
def move_to_owner(account: ConnectedAccount, owner: Any, *, by: Any = None) -> None:
    """Give an account, with its grant, to another owner, and update ``account`` in place.

    ``owner`` is a user, the key of another owner such as ``team:7``, or None for the site itself.
    ``by`` is the user who does it, to be noted in the events of both; whether they may is for the
    caller to know. Nothing is asked of the provider, and a refresh under way goes on.

    Raises ConnectedAccountsError: ``malformed`` (no such key can be), ``gone`` (the account was
    disconnected, or is another owner's by now) or ``already_connected`` (the new owner has the same
    account of the provider); Undecryptable where its token cannot be sealed for the new owner.
    Nothing is changed then.
    """
    key, user_pk = _owner(owner)
    before = account.owner_key
    if key == before:
        return
    rows = ConnectedAccount.objects.filter(**account.which())
    try:
        moved = rows.move_to(key, user_pk, by=acted_for(by, before))
    except IntegrityError as error:
        raise ConnectedAccountsError("already_connected", str(error)) from None
    if not moved:
        raise ConnectedAccountsError(
            "gone", "This account was disconnected, or belongs to somebody else by now."
        )
    security.log(
        SecurityEvent.MOVED, provider=account.provider, owner=key, account=account.pk, reason=before
    )
    account.reload()


def _owner(owner: Any) -> tuple[str, Any]:
    if not isinstance(owner, str):
        return owner_key(owner), None if owner is None else owner.pk
    _refuse_malformed(owner)
    return owner, None


def _refuse_malformed(key: str) -> None:
    if not is_owner_key(key):
        raise ConnectedAccountsError(
            "malformed", 'The key of an owner is a word, a colon and an id, such as "team:7".'
        )


def retire_owner(key: str) -> None:
    """End an owner that is no user, such as ``team:7``: its accounts are disconnected, and what is
    kept of them is nobody's, so that a team which gets the same key has none of it.

    A user's deletion does the same. Raises ConnectedAccountsError (``malformed``).
    """
    _refuse_malformed(key)
    for account in ConnectedAccount.objects.for_owner(key):
        disconnect(account)
    AuthorizationRequest.objects.filter(owner_key=key).delete()
    _retire_rows(key, router.db_for_write(ConnectedAccount))


def retire_deleted_user(instance: Any, using: str, **kwargs: Any) -> None:
    """Receiver of ``post_delete`` of users: their accounts are in the outbox by now."""
    _retire_rows(owner_key(instance), using)


@sensitive_variables()
def _retire_rows(key: str, using: str) -> None:
    """Put a key that nobody ever has in the place of ``key``. A token that cannot be opened now is
    lost with that: its seal is for the old key."""
    retired = retired_key(key)
    with transaction.atomic(using=using):
        events = Event.objects.using(using)
        events.filter(owner_key=key).update(owner_key=retired)
        events.filter(kind__in=DONE_BY_SOMEBODY, detail=key).update(detail=retired)
        # Locked by that, so that no worker who withdraws one is overwritten.
        revocations = Revocation.objects.using(using)
        revocations.filter(owner_key=key).update(owner_key=retired)
        for owed in revocations.filter(owner_key=retired, token__isnull=False):
            before = copy.copy(owed)
            before.owner_key = key
            with suppress(Undecryptable):
                token = rebind(owed.token, before, owed)
                revocations.filter(pk=owed.pk, token__isnull=False).update(token=token)
        for client in ProviderClient.objects.using(using).filter(owner_key=key):
            with suppress(Undecryptable):
                secret = client.open_secret()
                client.owner_key = retired
                client.client_secret = client.sealed(secret)  # type: ignore[assignment]
            client.owner_key = retired
            client.save(using=using, update_fields=["owner_key", "client_secret"])
