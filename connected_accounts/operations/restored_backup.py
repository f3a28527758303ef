"""After a backup was restored: what was refreshed since is lost, and its tokens are spent."""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from django.db.models import Q

from connected_accounts import conf, security, signals
from connected_accounts.exceptions import Undecryptable
from connected_accounts.models import ConnectedAccount, Event, Kind, Reason
from connected_accounts.models.querysets import ConnectedAccountQuerySet
from connected_accounts.security import SecurityEvent

logger = logging.getLogger("connected_accounts")

BATCH: Final = 500


def end_lost_rotations(
    until: datetime, *, now: datetime, providers: Iterable[str] = (), every: bool = False
) -> tuple[int, int]:
    """End each grant whose refresh token may have been spent since the backup was made, as
    ``rotation_lost``; return how many ended, and how many are left.

    The lost database was last in use at ``until``: what came due before that has been refreshed, or
    was about to be. ``every``: whatever has a refresh token. Of what is left it is noted that the
    refresh token may be spent all the same, by hand or after a 401, so that a refusal is explained.
    """
    accounts = ConnectedAccount.objects.current().active()
    if chosen := list(providers):
        accounts = accounts.filter(provider__in=chosen)
    spent = Q(refresh_at__lte=until) | Q(lease_holder__isnull=False)
    # Who asks for a token gets a refreshed one, a margin before its end.
    for alias in conf.provider_aliases():
        spent |= Q(provider=alias, expires_at__lte=until + conf.refresh_margin(alias))
    ended = 0
    for account in _in_batches(accounts if every else accounts.filter(spent)):
        if not _may_be_spent(account) or not account.mark_reconnect_required(Reason.ROTATION_LOST):
            continue
        ended += 1
        Event.record(Kind.RECONNECT_REQUIRED, account, at=now, detail=Reason.ROTATION_LOST)
        security.log(
            SecurityEvent.RECONNECT_REQUIRED,
            provider=account.provider,
            owner=account.owner_key,
            account=account.pk,
            reason=Reason.ROTATION_LOST.value,
        )
        signals.reconnect_required.send_robust(
            ConnectedAccount, account=account, reason=Reason.ROTATION_LOST.value
        )
    if ended:
        logger.warning("restored backup: ended=%d reason=%s", ended, Reason.ROTATION_LOST.value)
    return ended, accounts.mark_unresolved(since=until)


def _in_batches(accounts: ConnectedAccountQuerySet) -> Iterator[ConnectedAccount]:
    last = 0
    while batch := list(accounts.with_token().filter(pk__gt=last).order_by("pk")[:BATCH]):
        yield from batch
        last = batch[-1].pk


def _may_be_spent(account: ConnectedAccount) -> bool:
    try:
        return bool(account.open_token().get("refresh_token"))
    except Undecryptable:
        return True
