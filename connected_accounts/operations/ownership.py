"""Giving an account to another owner: users that are merged, work that goes from a person to a
team."""

from typing import Any

from django.db import IntegrityError
from django.views.decorators.debug import sensitive_variables

from connected_accounts import security
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount
from connected_accounts.owners import acted_for, is_owner_key, owner_key
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
    account.refresh_from_db(from_queryset=ConnectedAccount.objects.current())


def _owner(owner: Any) -> tuple[str, Any]:
    if not isinstance(owner, str):
        return owner_key(owner), None if owner is None else owner.pk
    if not is_owner_key(owner):
        raise ConnectedAccountsError(
            "malformed", 'The key of an owner is a word, a colon and an id, such as "team:7".'
        )
    return owner, None
