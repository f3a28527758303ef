"""After a backup was restored: accounts that were refreshed since then have spent tokens."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.db.models import Q

from connected_accounts.database.batches import in_batches
from connected_accounts.exceptions import Undecryptable
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.refresh.grant_end import end_grant
from connected_accounts.use.tokens import MARGIN

logger = logging.getLogger("connected_accounts")

BATCH: Final = 500


def end_lost_rotations(
    until: datetime, *, now: datetime, providers: Iterable[str] = (), every: bool = False
) -> tuple[int, int]:
    """End each grant whose refresh token may have been spent since the backup was made, as
    ``rotation_lost``; return how many ended, and how many are left.

    The lost database was last in use at ``until``: an account that came due before that has been
    refreshed, or was about to be. ``every``: all accounts with a refresh token. The accounts that
    are left are marked, since their refresh token may be spent all the same, by hand or after a
    401: so a refusal is explained.
    """
    accounts = ConnectedAccount.objects.current().active()
    if chosen := list(providers):
        accounts = accounts.filter(provider__in=chosen)
    # Who asks for a token gets a refreshed one, MARGIN before its end.
    spent = Q(refresh_at__lte=until) | Q(expires_at__lte=until + MARGIN)
    spent |= Q(lease_holder__isnull=False)
    ended = 0
    affected = accounts if every else accounts.filter(spent)
    for batch in in_batches(affected.with_token(), BATCH):
        for account in batch:
            if _may_be_spent(account) and end_grant(account, Reason.ROTATION_LOST, at=now):
                ended += 1
    if ended:
        logger.warning("restored backup: ended=%d reason=%s", ended, Reason.ROTATION_LOST.value)
    return ended, accounts.mark_unresolved(since=until)


def _may_be_spent(account: ConnectedAccount) -> bool:
    try:
        return bool(account.open_token().get("refresh_token"))
    except Undecryptable:
        return True
