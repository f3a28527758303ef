"""Refresh one account on demand: by our own request, or by waiting for the process that already
does."""

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final

from asgiref.sync import sync_to_async
from django.db import router
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.database.locks import retried
from connected_accounts.database.transactions import outside_transaction
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.provider_state import outages, pauses, rate_limit
from connected_accounts.provider_state.rate_limit import wait_for_slot
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.attempts import Attempt, claim
from connected_accounts.refresh.grant_end import end_grant
from connected_accounts.refresh.interruptions import signals_held
from connected_accounts.refresh.outcomes import refresh_claimed
from connected_accounts.refresh.provider_failures import note_provider_failure
from connected_accounts.secret import clears_traceback_locals

POLL: Final = 0.1  # seconds between looks at a row that somebody else refreshes
PATIENCE_FOR_OTHERS: Final = 10.0  # seconds over HTTP_DEADLINE


@clears_traceback_locals
def refresh(account: ConnectedAccount) -> None:
    """Refresh now, whatever ``refresh_at``, backoff and pause say, and update ``account`` in place.

    While another process refreshes the same account, waits for it instead and takes its result.
    Raises exactly ReauthorizationRequired, ProviderUnavailable, ClientRejected, UnexpectedResponse
    or Undecryptable.
    """
    try:
        outside_transaction(lambda: renew(look(account)))
    finally:
        with suppress(ConnectedAccount.DoesNotExist):
            same = ConnectedAccount.objects.filter(**account.which())
            database = router.db_for_write(ConnectedAccount)
            account.refresh_from_db(using=database, from_queryset=same)


def look(account: ConnectedAccount) -> ConnectedAccount:
    """The row as it is now, without its token. Raises ReauthorizationRequired when it is gone, or
    another's, or its grant has ended."""
    rows = ConnectedAccount.objects.current().with_originality()
    stored: ConnectedAccount | None = rows.filter(pk=account.pk).first()
    if stored is None or not account.is_same_as(stored):
        raise ReauthorizationRequired("disconnected")
    if stored.needs_reconnect:
        raise ReauthorizationRequired(stored.reason)
    if not stored.is_original:
        end_grant(stored, Reason.RESTORED_COPY, at=timezone.now())
        raise ReauthorizationRequired(Reason.RESTORED_COPY)
    return stored


def renew(
    before: ConnectedAccount, *, heeds_pause: bool = False, after_refusal: bool = False
) -> None:
    """Bring about a newer grant than ``before``, by our own request or by waiting for another's.

    Exactly one of any number of callers with the same ``before`` asks the provider. With
    ``heeds_pause`` nothing is sent during a pause, and after it as a probe. ``after_refusal``: an
    API has refused the access token.
    """
    try:
        provider = get_provider(before.provider)
    except ConfigurationError as error:
        raise ClientRejected(error.code, error.message, sent=False) from None
    state = pauses.get_or_create_state(before.provider)
    if not pauses.is_this_deployments(state):
        raise ProviderUnavailable("other_site", sent=False)
    began = timezone.now()
    paused = pauses.pause_of(before.provider, began)
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE")) + PATIENCE_FOR_OTHERS
    while not _is_newer(look(before), before):
        if not paused:
            reason = pauses.pause_of(before.provider, began)
            if reason:  # paused while we waited: one request with wrong credentials is enough
                raise outages.refusal(reason)
        shared = pauses.get_or_create_state(before.provider)
        if rate_limit.is_throttled(shared, timezone.now()):
            raise ProviderUnavailable("throttled", sent=False)
        with signals_held():
            attempts = retried(lambda: claim([before.pk], provider, now=timezone.now()))
            if attempts:
                attempts[0].after_refusal = after_refusal
                _renew_claimed(attempts[0], before, heeds_pause=heeds_pause)
                return
        if time.monotonic() > ends:
            raise ProviderUnavailable("busy", sent=False)
        time.sleep(POLL)


def _renew_claimed(attempt: Attempt, before: ConnectedAccount, *, heeds_pause: bool) -> None:
    # Somebody may have finished between our look and our claim.
    try:
        done = _is_newer(attempt.account, before)
        delay = 0.0 if done else wait_for_slot(attempt.provider)
    except ProviderUnavailable:
        attempt.account.release(attempt_started_at=attempt.unresolved_since)
        raise
    if done:
        attempt.account.release(attempt_started_at=None)
        return
    attempt.not_before = time.monotonic() + delay
    alias, failed_before = before.provider, attempt.account.failure_count > 0
    turn: AbstractContextManager[outages.Turn] = nullcontext(outages.Turn())
    if heeds_pause:
        turn = outages.single_turn(alias, timezone.now(), failed_before=failed_before)
    error = refresh_claimed(attempt, turn)
    note_provider_failure(attempt)
    if error is not None:
        raise error
    pauses.note_success(alias, now=attempt.sent_at)


def _is_newer(account: ConnectedAccount, before: ConnectedAccount) -> bool:
    """Whether the grant was renewed since ``before``. Raises ProviderUnavailable where another's
    attempt failed since: one request to a provider in trouble is enough."""
    if account.refreshed_at != before.refreshed_at or account.seal_id != before.seal_id:
        return True
    if account.failure_count > before.failure_count:
        raise ProviderUnavailable(account.last_error, sent=False)
    return False


async def arefresh(account: ConnectedAccount) -> None:
    """``refresh`` for asynchronous code."""
    await sync_to_async(refresh)(account)
