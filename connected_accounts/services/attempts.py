"""One attempt to refresh an account: claim by lease, ask the provider, store behind the fence.

The one path to the token endpoint's refresh grant. ``claim`` and ``settle`` talk to the database,
``ask`` to the network, and never both: no transaction and no lock is open during a call.
"""

import logging
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from connected_accounts import conf, signals
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event, Kind, Reason
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.secret import Secret
from connected_accounts.services import pauses
from connected_accounts.services.exchange import (
    exchange_refresh_token,
    identity_of,
    token_document,
    with_claims,
)
from connected_accounts.services.grants import backoff, grant_values
from connected_accounts.services.revocation import revoke_orphan
from connected_accounts.services.storing import after_commit, store_grant

logger = logging.getLogger("connected_accounts")

LEASE_MARGIN: Final = 30.0  # seconds to store in, after the deadline of the call

LEASE_TOO_OLD: Final = "lease_too_old"
OWNER_INACTIVE: Final = "owner_inactive"
INACTIVE_AGAIN_IN: Final = timedelta(days=1)  # the owner may be let in again

Outcome = TokenResponse | ConnectedAccountsError


@dataclass
class Attempt:
    """A claimed account and what is needed to refresh it. ``replay``: an earlier attempt's answer
    is unknown, so the refresh token may have been spent already."""

    account: ConnectedAccount
    provider: Provider
    replay: bool
    send_before: float  # time.monotonic(): later, the lease could end before the answer is stored
    lease_ends: float  # time.monotonic()
    sent_at: datetime
    not_before: float = 0.0  # time.monotonic(): its place under the provider's rate limit
    endpoints: Endpoints = field(default_factory=Endpoints)
    document: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def unresolved_since(self) -> datetime | None:
        return self.account.attempt_started_at if self.replay else None


def claim(pks: Iterable[int], provider: Provider, *, now: datetime) -> list[Attempt]:
    """Take the lease of those accounts that are active and free, with their tokens, unopened."""
    holder = uuid.uuid4()
    lease = float(conf.get("HTTP_DEADLINE")) + LEASE_MARGIN
    began = time.monotonic()
    if not ConnectedAccount.objects.all().claim(pks, holder=holder, seconds=lease, now=now):
        return []
    mine = ConnectedAccount.objects.current().filter(lease_holder=holder)
    return [
        Attempt(
            account=row,
            provider=provider,
            replay=row.attempt_started_at != now,
            send_before=began + LEASE_MARGIN / 2,
            lease_ends=began + lease,
            sent_at=now,
        )
        for row in mine.with_token().with_owner_state().order_by("refresh_at")
    ]


def prepare(attempt: Attempt) -> ConnectedAccountsError | None:
    """Open the token and check that it may be sent where settings now point. An error is an outcome
    to settle without asking the provider."""
    account = attempt.account
    if not account.owner_is_active:
        return ProviderUnavailable(OWNER_INACTIVE, sent=False)
    try:
        attempt.endpoints = attempt.provider.endpoints(account.inputs)
    except ProviderError as error:
        error.sent = False  # its metadata cannot be had at the moment
        return error
    except ConnectedAccountsError as error:
        return UnexpectedResponse(error.code, sent=False)
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
    time.sleep(max(attempt.not_before - time.monotonic(), 0))
    if time.monotonic() > attempt.send_before:
        return ProviderUnavailable(LEASE_TOO_OLD, sent=False)
    attempt.sent_at = timezone.now()
    scopes = attempt.account.scopes_granted
    try:
        return exchange_refresh_token(attempt.provider, attempt.endpoints, attempt.document, scopes)
    except ConnectedAccountsError as error:
        return error.with_traceback(None)  # whose frames hold the tokens
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
        pauses.pause(attempt.provider.alias, outcome.code)
        attempt.account.release(attempt_started_at=attempt.unresolved_since)
        return outcome
    if outcome.code == LEASE_TOO_OLD:
        # It waited too long for its turn. Nothing happened, so nothing is counted against it.
        attempt.account.release(attempt_started_at=attempt.unresolved_since)
        return outcome
    if outcome.code == OWNER_INACTIVE:
        attempt.account.release(
            attempt_started_at=attempt.unresolved_since,
            refresh_at=attempt.sent_at + INACTIVE_AGAIN_IN,
            last_error=OWNER_INACTIVE,
        )
        return outcome
    return _settle_failure(attempt, outcome)


def _settle_success(attempt: Attempt, token: TokenResponse) -> ConnectedAccountsError | None:
    account, provider = attempt.account, attempt.provider
    token = _believable(attempt, token)
    document = token_document(token, previous=attempt.document)
    named = _is_somebody_else(attempt, token)
    if named is not None:
        revoke_orphan(
            provider,
            attempt.endpoints,
            account,
            document,
            subject=named.subject,
            at=attempt.sent_at,
        )
        return _settle_reauthorization(attempt, ReauthorizationRequired(Reason.IDENTITY_CHANGED))
    values = grant_values(
        provider,
        token,
        document,
        seal_id=account.seal_id,
        sent_at=attempt.sent_at,
        known_end=account.refresh_token_expires_at,
    )
    values["refreshed_at"] = attempt.sent_at
    scopes = account.scopes_granted if token.scope is None else list(token.scope)
    changed = set(scopes) != set(account.scopes_granted)
    try:
        stored = store_grant(
            account, values | {"scopes_granted": scopes}, provider, attempt.endpoints, document
        )
    except ProviderUnavailable as error:
        return error
    if not stored:
        return ProviderUnavailable("overtaken")
    if changed:
        Event.record(Kind.SCOPES_CHANGED, account, at=attempt.sent_at, detail=" ".join(scopes))
    after_commit(lambda: signals.account_refreshed.send_robust(ConnectedAccount, account=account))
    return None


def _believable(attempt: Attempt, token: TokenResponse) -> TokenResponse:
    """The answer with its id_token's claims; without the id_token where that is not this client's.

    The tokens are kept all the same: they are the only ones there are.
    """
    try:
        return with_claims(attempt.provider, attempt.endpoints, token, nonce="", now=None)
    except ProviderError as error:
        logger.warning("id_token dropped: account=%s code=%s", attempt.account.pk, error.code)
        return replace(token, id_token=None)


def _is_somebody_else(attempt: Attempt, token: TokenResponse) -> Identity | None:
    """Whom the answer names, where that is not the account's owner and the provider says so for
    free: in an id_token, or in the token answer itself."""
    provider, account = attempt.provider, attempt.account
    if token.claims and attempt.document.get("id_token"):
        before = replace(token, id_token=Secret(attempt.document["id_token"]))
        known = _believable(attempt, before).claims.get("sub")
        if known is not None and known != token.claims["sub"]:
            return Identity(str(token.claims["sub"]))
    if provider.identity_source != "token_response":
        return None
    try:
        named = identity_of(provider, None, token)
    except ProviderError:
        return None
    return None if account.subject in {named.subject, *named.also} else named


def _settle_reauthorization(
    attempt: Attempt, error: ReauthorizationRequired
) -> ConnectedAccountsError:
    account = attempt.account
    expires_at = account.refresh_token_expires_at
    if error.code == "no_refresh_token":
        if account.expires_at is None or account.expires_at > attempt.sent_at:
            account.mark_not_renewable()
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
    closed = isinstance(error, Undecryptable)
    code = "undecryptable" if closed else error.code
    told = account.last_error == code if closed else account.failure_count > 0
    if not account.mark_failed(
        code,
        retry_at=attempt.sent_at + backoff(account.failure_count + 1, retry_after),
        attempt_started_at=account.attempt_started_at if unknown else None,
    ):
        return ProviderUnavailable("overtaken")
    if not told:
        kind = Kind.UNDECRYPTABLE if closed else Kind.REFRESH_FAILED
        Event.record(kind, account, at=attempt.sent_at, detail=error.code)
    logger.info("refresh failed: account=%s code=%s", account.pk, code)
    signals.refresh_failed.send_robust(ConnectedAccount, account=account, error=error)
    return error


def run(attempt: Attempt) -> ConnectedAccountsError | None:
    """Take one claimed account through to its outcome, and return the error, if it is one."""
    blocked = prepare(attempt)
    return settle(attempt, blocked if blocked is not None else ask(attempt))
