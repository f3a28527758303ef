"""Refresh one account on demand: by our own request, or by waiting for the process that already
does."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Final, TypeVar

from asgiref.sync import sync_to_async
from django.db import Error
from django.utils import timezone

from connected_accounts import conf
from connected_accounts.database.locks import retried, statements_retried
from connected_accounts.database.transactions import (
    close_unusable_connection,
    is_done_apart,
    outside_transaction,
)
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderUnavailable,
    ReauthorizationRequired,
)
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.models.deployment import adopt_database
from connected_accounts.provider_state import outages, pauses, rate_limit
from connected_accounts.provider_state.rate_limit import wait_for_slot
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.attempts import Attempt, Claim, claim
from connected_accounts.refresh.grant_end import end_grant
from connected_accounts.refresh.interruptions import signals_held, undone_if_interrupted
from connected_accounts.refresh.outcomes import give_back, refresh_claimed
from connected_accounts.refresh.provider_failures import note_provider_failure
from connected_accounts.secret import clears_traceback_locals

logger = logging.getLogger("connected_accounts")

POLL: Final = 0.1  # seconds between looks at a row that somebody else refreshes
PATIENCE_FOR_OTHERS: Final = 10.0  # seconds over HTTP_DEADLINE
T = TypeVar("T")


@statements_retried()
@clears_traceback_locals
def refresh(account: ConnectedAccount) -> None:
    """Refresh now, whatever ``refresh_at``, backoff and pause say, and update ``account`` in place.

    While another process refreshes the same account, waits for it instead and takes its result.
    Raises exactly ReauthorizationRequired, ProviderUnavailable, ClientRejected, UnexpectedResponse
    or Undecryptable; and inside a transaction ConfigurationError, where a connection of our own
    cannot see what the site's does.
    """
    try:
        with_row_apart(look(account), renew)
    finally:
        with suppress(ConnectedAccount.DoesNotExist):
            account.reload(**account.which())


def with_row_apart(seen: ConnectedAccount, work: Callable[[ConnectedAccount], T]) -> T:
    """Do ``work`` outside of the site's transaction, with the row that was seen on the site's
    connection, as it is where the work is done.

    Raises ConfigurationError (``unseen_row``) where it is not there although the site sees it.
    """
    if not is_done_apart():
        return work(seen)
    try:
        return outside_transaction(lambda: work(_seen_here_too(seen)))
    except ConfigurationError as error:
        if error.code == "unseen_row":
            look(seen)  # disconnected meanwhile, it says so
        raise


def _seen_here_too(seen: ConnectedAccount) -> ConnectedAccount:
    """The row on another connection than ``seen`` was read on. It is in the same table, where its
    number is its own; a reconnect meanwhile gives it another ``seal_id`` and counts it up."""
    rows = ConnectedAccount.objects.current().with_originality()
    row: ConnectedAccount | None = rows.filter(pk=seen.pk).first()
    same = row is not None and row.seal_id == seen.seal_id
    if row is None or not (same or row.generation > seen.generation):
        raise ConfigurationError(
            "unseen_row",
            "A token is refreshed on a connection of its own, because a transaction is open here; "
            "that connection does not see the account. Where row-level security hides it, let "
            "CONNECTED_ACCOUNTS['PREPARE_CONNECTION'] prepare it as the site's is; an account "
            "that was made or changed in this very transaction can be used after its commit.",
        )
    return row


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
    if adopt_database().differ:
        raise ProviderUnavailable("other_site", sent=False)
    began = timezone.now()
    paused = pauses.pause_of(before.provider, began, host=before.host)
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE")) + PATIENCE_FOR_OTHERS
    while not _is_newer(look(before), before):
        shared = pauses.get_or_create_state(before.provider, before.host)
        if not paused and shared.pause_reason and pauses.is_paused(shared, began):
            # Paused while we waited: one request with wrong credentials is enough.
            raise outages.refusal(shared.pause_reason)
        if rate_limit.is_throttled(shared, timezone.now()):
            raise ProviderUnavailable("throttled", sent=False)
        mine = Claim([before.pk], timezone.now())
        renew_if_free = partial(_renew_if_free, mine, provider, before, heeds_pause, after_refusal)
        with signals_held():
            if undone_if_interrupted(renew_if_free, mine.give_back):
                return
        if time.monotonic() > ends:
            raise ProviderUnavailable("busy", sent=False)
        time.sleep(POLL)


def _renew_if_free(
    mine: Claim,
    provider: Provider,
    before: ConnectedAccount,
    heeds_pause: bool,
    after_refusal: bool,
) -> bool:
    """Claim the account and renew it. False: it is in another's hands."""
    attempts = retried(lambda: claim(mine.pks, provider, now=mine.now, holder=mine.holder))
    for attempt in attempts:
        attempt.after_refusal = after_refusal
        _renew_claimed(attempt, before, heeds_pause=heeds_pause)
    return bool(attempts)


def _renew_claimed(attempt: Attempt, before: ConnectedAccount, *, heeds_pause: bool) -> None:
    # Somebody may have finished between our look and our claim.
    try:
        done = _is_newer(attempt.account, before)
        delay = 0.0 if done else wait_for_slot(attempt.provider, host=before.host)
    except (ProviderUnavailable, Error):
        give_back(attempt)
        raise
    if done:
        attempt.account.release(attempt_started_at=None)
        return
    attempt.not_before = time.monotonic() + delay
    alias, failed_before = before.provider, attempt.account.failure_count > 0
    turn: AbstractContextManager[outages.Turn] = nullcontext(outages.Turn())
    if heeds_pause:
        turn = outages.single_turn(
            alias, timezone.now(), failed_before=failed_before, host=before.host
        )
    error = refresh_claimed(attempt, turn)
    _note_outcome(attempt, error)
    if error is not None:
        raise error


def _note_outcome(attempt: Attempt, error: ConnectedAccountsError | None) -> None:
    """Tell the other workers what a settled attempt says of its provider. It never fails what it
    tells of."""
    alias = attempt.provider.alias
    try:
        note_provider_failure(attempt)
        if error is None:
            pauses.note_success(alias, now=attempt.sent_at, host=attempt.account.host)
    except Error as failure:
        logger.error("outcome not noted: provider=%s: %s", alias, type(failure).__name__)
        close_unusable_connection()


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
