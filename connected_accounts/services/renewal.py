"""Refresh, one account at a time or many: claim by lease, ask the provider, store behind the fence.

The one path to the token endpoint's refresh grant. ``claim`` and ``settle`` talk to the database,
``ask`` to the network, and never both: no transaction and no lock is open during a call.
"""

import logging
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.utils import timezone

from connected_accounts import conf, signals
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event, Kind, Reason
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import pauses
from connected_accounts.services.exchange import exchange_refresh_token, token_document
from connected_accounts.services.grants import backoff, grant_values
from connected_accounts.services.storing import outside_transaction, store_grant

logger = logging.getLogger("connected_accounts")

LEASE_MARGIN: Final = 30.0  # seconds to store in, after the deadline of the call
POLL: Final = 0.1  # seconds between looks at a row that somebody else refreshes
PATIENCE_FOR_OTHERS: Final = 10.0  # seconds over HTTP_DEADLINE

Outcome = TokenResponse | ConnectedAccountsError


@dataclass
class Attempt:
    """A claimed account and what is needed to refresh it. ``replay``: an earlier attempt's answer
    is unknown, so the refresh token may have been spent already."""

    account: ConnectedAccount
    provider: Provider
    endpoints: Endpoints
    replay: bool
    send_before: float  # time.monotonic(): later, the lease could end before the answer is stored
    sent_at: datetime
    document: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def unresolved_since(self) -> datetime | None:
        return self.account.attempt_started_at if self.replay else None


def claim(pks: Iterable[int], provider: Provider, *, now: datetime) -> list[Attempt]:
    """Take the lease of those accounts that are active and free, with their tokens, unopened."""
    holder = uuid.uuid4()
    lease = float(conf.get("HTTP_DEADLINE")) + LEASE_MARGIN
    send_before = time.monotonic() + LEASE_MARGIN / 2
    if not ConnectedAccount.objects.all().claim(pks, holder=holder, seconds=lease, now=now):
        return []
    rows = ConnectedAccount.objects.filter(lease_holder=holder).with_token().order_by("refresh_at")
    return [
        Attempt(
            account=row,
            provider=provider,
            endpoints=provider.endpoints(row.inputs),
            replay=row.attempt_started_at != now,
            send_before=send_before,
            sent_at=now,
        )
        for row in rows
    ]


def prepare(attempt: Attempt) -> ConnectedAccountsError | None:
    """Open the token and check that it may be sent where settings now point. An error is an outcome
    to settle without asking the provider."""
    account = attempt.account
    if account.endpoint_fingerprint != attempt.endpoints.token_hosts():
        return ReauthorizationRequired(Reason.ENDPOINTS_CHANGED)
    if account.client_id != attempt.provider.config.client_id:
        return ReauthorizationRequired(Reason.CREDENTIALS_REJECTED)
    try:
        attempt.document = account.open_token()
    except Undecryptable as error:
        return error
    if not attempt.document.get("refresh_token"):
        return ReauthorizationRequired("no_refresh_token")
    return None


def ask(attempt: Attempt) -> Outcome:
    """Call the provider. Network only, safe in any thread; an error is returned, not raised."""
    if time.monotonic() > attempt.send_before:
        return ProviderUnavailable("lease_too_old", sent=False)
    attempt.sent_at = timezone.now()
    scopes = attempt.account.scopes_granted
    try:
        return exchange_refresh_token(attempt.provider, attempt.endpoints, attempt.document, scopes)
    except ConnectedAccountsError as error:
        return error
    except Exception as error:  # a backend's hook; its message may hold anything
        logger.error("refresh hook failed: %s", type(error).__name__)
        return UnexpectedResponse("hook_failed")


def settle(attempt: Attempt, outcome: Outcome) -> ConnectedAccountsError | None:
    """Store what came of an attempt, if the row is still ours. Returns the error, if it is one."""
    if isinstance(outcome, TokenResponse):
        return _settle_success(attempt, outcome)
    if isinstance(outcome, ReauthorizationRequired):
        return _settle_reauthorization(attempt, outcome)
    if isinstance(outcome, ClientRejected):
        # Nothing is wrong with the account: it stays due, and the provider is paused.
        attempt.account.release(attempt_started_at=attempt.unresolved_since)
        pauses.pause(attempt.provider.alias, outcome.code)
        return outcome
    return _settle_failure(attempt, outcome)


def _settle_success(attempt: Attempt, token: TokenResponse) -> ConnectedAccountsError | None:
    account, provider = attempt.account, attempt.provider
    if _is_someone_else(attempt, token):
        return _settle_reauthorization(attempt, ReauthorizationRequired(Reason.IDENTITY_CHANGED))
    document = token_document(token, previous=attempt.document)
    values = grant_values(
        provider, token, document, seal_id=account.seal_id, sent_at=attempt.sent_at
    )
    values["refreshed_at"] = attempt.sent_at
    if token.scope is not None:
        values["scopes_granted"] = list(token.scope)
    stored = store_grant(account, values, provider, attempt.endpoints, document)
    if not stored:
        return ProviderUnavailable("overtaken")
    signals.account_refreshed.send_robust(ConnectedAccount, account=account)
    return None


def _is_someone_else(attempt: Attempt, token: TokenResponse) -> bool:
    """Whether the answer itself names another account, where the provider says so for free."""
    if attempt.provider.identity_source != "token_response":
        return False
    try:
        identity = attempt.provider.fetch_identity(None, token)  # type: ignore[arg-type]
    except ProviderError:
        return False  # this answer names nobody
    return identity.subject != attempt.account.subject


def _settle_reauthorization(
    attempt: Attempt, error: ReauthorizationRequired
) -> ConnectedAccountsError:
    account = attempt.account
    expires_at = account.refresh_token_expires_at
    if error.code == "no_refresh_token":
        if account.expires_at is None or account.expires_at > attempt.sent_at:
            account.release(attempt_started_at=None)
            return error
        reason = Reason.REFRESH_TOKEN_EXPIRED
    elif error.code in Reason and error.code != Reason.REVOKED:
        reason = Reason(error.code)
    elif attempt.replay:
        reason = Reason.ROTATION_LOST
    elif expires_at is not None and expires_at <= attempt.sent_at:
        reason = Reason.REFRESH_TOKEN_EXPIRED
    else:
        reason = Reason.REVOKED
    if not account.mark_reconnect_required(reason):
        return ProviderUnavailable("overtaken")
    Event.record(Kind.RECONNECT_REQUIRED, account, at=attempt.sent_at, detail=reason)
    logger.warning("reconnect required: account=%s reason=%s", account.pk, reason.value)
    signals.reconnect_required.send_robust(ConnectedAccount, account=account, reason=reason.value)
    return ReauthorizationRequired(reason)


def _settle_failure(attempt: Attempt, error: ConnectedAccountsError) -> ConnectedAccountsError:
    account = attempt.account
    # Behind an unknown answer the token may be spent; the next attempt is then a replay.
    unknown = attempt.replay or (isinstance(error, ProviderError) and error.sent)
    retry_after = error.retry_after if isinstance(error, ProviderError) else None
    code = "undecryptable" if isinstance(error, Undecryptable) else error.code
    first = account.failure_count == 0
    if not account.mark_failed(
        code,
        retry_at=attempt.sent_at + backoff(account.failure_count + 1, retry_after),
        attempt_started_at=account.attempt_started_at if unknown else None,
    ):
        return ProviderUnavailable("overtaken")
    if first:
        Event.record(Kind.REFRESH_FAILED, account, at=attempt.sent_at, detail=code)
    logger.info("refresh failed: account=%s code=%s", account.pk, code)
    signals.refresh_failed.send_robust(ConnectedAccount, account=account, error=error)
    return error


def refresh(account: ConnectedAccount) -> None:
    """Refresh now, whatever ``refresh_at``, backoff and pause say, and update ``account`` in place.

    While another process refreshes the same account, waits for it instead and takes its result.
    Raises exactly ReauthorizationRequired, ProviderUnavailable, ClientRejected, UnexpectedResponse
    or Undecryptable.
    """
    before = look(account.pk)
    try:
        outside_transaction(lambda: renew(before))
    finally:
        with suppress(ConnectedAccount.DoesNotExist):
            account.refresh_from_db()


def look(pk: int) -> ConnectedAccount:
    """The row as it is now, without its token. Raises ReauthorizationRequired when it is gone or
    its grant has ended."""
    row: ConnectedAccount | None = ConnectedAccount.objects.filter(pk=pk).first()
    if row is None:
        raise ReauthorizationRequired("disconnected")
    if row.needs_reconnect:
        raise ReauthorizationRequired(row.reason)
    return row


def renew(before: ConnectedAccount) -> None:
    """Bring about a newer grant than ``before``, by our own request or by waiting for another's.

    Exactly one of any number of callers with the same ``before`` asks the provider.
    """
    try:
        provider = get_provider(before.provider)
    except ConfigurationError as error:
        raise ClientRejected(error.code, error.message, sent=False) from None
    if not pauses.belongs_here(pauses.provider_state(before.provider)):
        raise ProviderUnavailable("other_site", sent=False)
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE")) + PATIENCE_FOR_OTHERS
    while not _is_newer(look(before.pk), before):
        attempts = claim([before.pk], provider, now=timezone.now())
        if attempts:
            return _renew_claimed(attempts[0], before)
        if time.monotonic() > ends:
            raise ProviderUnavailable("busy", sent=False)
        time.sleep(POLL)
    return None


def _renew_claimed(attempt: Attempt, before: ConnectedAccount) -> None:
    # Somebody may have finished between our look and our claim.
    try:
        done = _is_newer(attempt.account, before)
    except ProviderUnavailable:
        attempt.account.release(attempt_started_at=attempt.unresolved_since)
        raise
    if done:
        attempt.account.release(attempt_started_at=None)
        return
    error = run(attempt)
    if error is not None:
        raise error


def _is_newer(row: ConnectedAccount, before: ConnectedAccount) -> bool:
    """Whether the grant was renewed since ``before``. Raises ProviderUnavailable where another's
    attempt failed since: one request to a provider in trouble is enough."""
    if row.refreshed_at != before.refreshed_at or row.seal_id != before.seal_id:
        return True
    if row.failure_count > before.failure_count:
        raise ProviderUnavailable(row.last_error, sent=False)
    return False


def run(attempt: Attempt) -> ConnectedAccountsError | None:
    """Take one claimed account through to its outcome, and return the error, if it is one."""
    blocked = prepare(attempt)
    return settle(attempt, blocked if blocked is not None else ask(attempt))


async def arefresh(account: ConnectedAccount) -> None:
    """``refresh`` for asynchronous code."""
    await sync_to_async(refresh)(account)
