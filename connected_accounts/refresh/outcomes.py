"""Storing the outcome of a refresh, if the row is still ours."""

import logging
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.db import Error, OperationalError

from connected_accounts import conf, signals
from connected_accounts.clients.credentials import note_refused, retire
from connected_accounts.database.locks import is_lock_timeout
from connected_accounts.database.transactions import (
    after_commit,
    close_unusable_connection,
    retry_while_unavailable,
)
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import ConnectedAccount, Event, Kind, Reason
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.oauth2.wire import NO_THREAD
from connected_accounts.provider_state import outages, pauses, rate_limit
from connected_accounts.providers.base import Identity
from connected_accounts.refresh.attempts import (
    INACTIVE_AGAIN_IN,
    LEASE_TOO_OLD,
    OWNER_INACTIVE,
    Attempt,
    RefreshResult,
    ask_into,
    prepare,
)
from connected_accounts.refresh.grant_end import end_grant, lost_an_answer_elsewhere
from connected_accounts.refresh.interruptions import to_the_end
from connected_accounts.refresh.refusals import is_refusal, retry_time, settle_after_the_end, stays
from connected_accounts.refresh.storage import patience_ends, store_grant
from connected_accounts.revoke.disconnect import revoke_orphan
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.tokens.document import token_document
from connected_accounts.tokens.identity import identity_of, with_claims
from connected_accounts.tokens.lifetimes import MAX_BACKOFF, grant_values, with_known_life
from connected_accounts.tokens.scopes import granted_scopes, missing_scopes
from connected_accounts.tokens.throttle import named_wait

logger = logging.getLogger("connected_accounts")

REJECTIONS: Final = 3  # of the client for one account, with others' successes between, end it


def settle(attempt: Attempt, outcome: RefreshResult) -> ConnectedAccountsError | None:
    """Store the outcome of an attempt, if the row is still ours. Returns the error, if it is
    one."""
    attempt.outcome = outcome
    error = _settle_outcome(attempt, outcome)
    if attempt.refused:
        _note_refused_clients(attempt)  # only now: a rotated token is stored before anything else
    return error


def _note_refused_clients(attempt: Attempt) -> None:
    """Write down which clients the provider refused, and tell the admins where a fall-back served.
    It never fails what it tells of."""
    try:
        note_refused([client.pk for client in attempt.refused], attempt.sent_at)
        if not isinstance(attempt.outcome, ClientRejected):
            pauses.report(
                attempt.provider.alias,
                "client_rejected",
                host=attempt.account.host,
                now=attempt.sent_at,
            )
    except Error as error:
        code = type(error).__name__
        logger.error("refused client not noted: account=%s: %s", attempt.account.pk, code)
        close_unusable_connection()


def _settle_outcome(attempt: Attempt, outcome: RefreshResult) -> ConnectedAccountsError | None:
    if attempt.had_ended and not isinstance(outcome, TokenResponse):
        return settle_after_the_end(attempt, outcome)
    if isinstance(outcome, ClientRejected):
        return _settle_rejection(attempt, outcome)
    if isinstance(outcome, TokenResponse):
        return _settle_success(attempt, outcome)
    if isinstance(outcome, ReauthorizationRequired):
        return _settle_reauthorization(attempt, outcome)
    if outcome.code == OWNER_INACTIVE:
        attempt.account.release(
            attempt_started_at=attempt.unresolved_since,
            refresh_at=attempt.sent_at + INACTIVE_AGAIN_IN,
            last_error=OWNER_INACTIVE,
        )
        return outcome
    if outcome.code == LEASE_TOO_OLD:
        # It waited too long for its turn. Nothing happened, so nothing is counted against it.
        attempt.account.release(attempt_started_at=attempt.unresolved_since)
        return outcome
    wait = named_wait(outcome)
    if wait is not None:
        return _settle_throttle(attempt, outcome, wait)
    if is_refusal(outcome) and stays(attempt):
        return _settle_reauthorization(attempt, ReauthorizationRequired(Reason.REFUSED))
    return _settle_failure(attempt, outcome)


def _settle_throttle(
    attempt: Attempt, error: ConnectedAccountsError, wait: float
) -> ConnectedAccountsError:
    """The provider takes no more requests for longer than was left of the attempt. That is no
    failure of the account: it stays due or, where the end is far, is due again then, and so is the
    provider."""
    account = attempt.account
    if wait <= rate_limit.PATIENCE:
        account.release(attempt_started_at=attempt.unresolved_since)
        return error
    ends = attempt.sent_at + timedelta(seconds=min(wait, MAX_BACKOFF))
    spread = timedelta(seconds=random.uniform(0, 2 * conf.JITTER) * min(wait, MAX_BACKOFF))  # noqa: S311
    if not account.release(attempt_started_at=attempt.unresolved_since, refresh_at=ends + spread):
        return ProviderUnavailable("overtaken")
    rate_limit.note_throttle(attempt.provider.alias, ends=ends, host=account.host)
    logger.info("throttled: provider=%s seconds=%d", attempt.provider.alias, wait)
    return error


def _settle_rejection(attempt: Attempt, error: ClientRejected) -> ConnectedAccountsError:
    """Act on refused credentials: end the connection if they are its own, pause the provider if
    they are the site's."""
    client, alias = attempt.provider.client, attempt.provider.alias
    if client.owned or client.registered:
        # A person's own, or those of a registration that is over: this connection has ended.
        if client.registered:
            retire(client.pk, attempt.sent_at)
        return _settle_reauthorization(
            attempt, ReauthorizationRequired(Reason.CREDENTIALS_REJECTED)
        )
    if attempt.provider.grant_type == "client_credentials":
        # The site's one account; those of people, with their own credentials, are not stopped.
        pauses.report(alias, error.code, host=attempt.account.host, now=attempt.sent_at)
        return _settle_failure(attempt, error)
    account = attempt.account
    known = account.last_error in (error.code, *attempt.provider.client_errors)
    others_succeed = pauses.note_rejection(
        alias,
        account.pk,
        error.code,
        times=account.failure_count,
        now=attempt.sent_at,
        host=account.host,
    )
    # Twice over: a success between two refusals may have been on its way before the first.
    if others_succeed and known and account.failure_count >= REJECTIONS - 1:
        return _settle_reauthorization(
            attempt, ReauthorizationRequired(Reason.CREDENTIALS_REJECTED)
        )
    return _settle_failure(attempt, error)


def _settle_success(attempt: Attempt, token: TokenResponse) -> ConnectedAccountsError | None:
    account, provider = attempt.account, attempt.provider
    grant = _grant(attempt, token)
    if grant.other_identity is not None:
        withdraw = partial(
            revoke_orphan,
            provider,
            attempt.endpoints,
            account,
            grant.document,
            subject=grant.other_identity.subject,
            other_subjects=grant.other_identity.other_subjects,
            at=attempt.sent_at,
        )
        retry_while_unavailable(withdraw, patience_ends(attempt.lease_ends))
        return _settle_reauthorization(attempt, ReauthorizationRequired(Reason.IDENTITY_CHANGED))
    known = set(account.scopes_granted)
    try:
        stored = store_grant(
            account,
            grant.values,
            provider,
            attempt.endpoints,
            grant.document,
            lease_ends=attempt.lease_ends,
        )
    except ProviderUnavailable as error:
        return error
    if not stored:
        return ProviderUnavailable("overtaken")
    _announce_refresh(attempt, grant, known)
    return None


@dataclass(frozen=True)
class _Grant:
    """The columns that an answer means for the row, and the document that is sealed in them.
    ``other_identity``: the one it is for, if that is not the account's."""

    values: dict[str, Any] = field(repr=False)
    document: SecretFields
    other_identity: Identity | None = None


def _grant(attempt: Attempt, token: TokenResponse) -> _Grant:
    account, provider = attempt.account, attempt.provider
    token = with_known_life(provider, _with_claims(attempt, token), attempt.document)
    document = token_document(token, previous=attempt.document, after_refusal=attempt.after_refusal)
    values = grant_values(
        provider,
        token,
        document,
        holder=account,
        sent_at=attempt.life_counted_from,
        known_end=account.refresh_token_expires_at,
    )
    values["refreshed_at"] = attempt.sent_at
    renewable = bool(document.get("refresh_token"))
    values["scopes_granted"] = granted_scopes(
        provider, account.scopes_granted, token.scope, renewable=renewable
    )
    return _Grant(values, document, _other_identity(attempt, token))


def _announce_refresh(attempt: Attempt, grant: _Grant, known: set[str]) -> None:
    """Say that an account was refreshed, and whether its scopes are others than those ``known``."""
    account, scopes = attempt.account, grant.values["scopes_granted"]
    if attempt.had_ended:
        Event.record(Kind.RECONNECTED, account, at=attempt.sent_at, detail="taken_again")
    provider = attempt.provider
    changed = known != set(scopes) and (
        missing_scopes(provider, scopes, known) or missing_scopes(provider, known, scopes)
    )
    if changed:
        Event.record(Kind.SCOPES_CHANGED, account, at=attempt.sent_at, detail=" ".join(scopes))
    if signals.account_refreshed.has_listeners(ConnectedAccount):
        after_commit(
            lambda: signals.account_refreshed.send_robust(ConnectedAccount, account=account)
        )


Answers = list[tuple[Attempt, RefreshResult]]


def settle_together(answers: Answers) -> Answers:
    """Store the grants among answers in one transaction; return those that are not settled by that.

    Only what went well for all of them is done here. Where a row is locked or no longer ours, or
    anything else is in the way, nothing is stored and each is to be settled by itself.
    """
    grants = []
    for attempt, outcome in answers:
        if isinstance(outcome, TokenResponse) and not attempt.refused:
            with suppress(Exception):  # settled by itself, it will say what is wrong
                grant = _grant(attempt, outcome)
                if grant.other_identity is None:
                    grants.append((attempt, grant, set(attempt.account.scopes_granted)))
    if len(grants) < 2:
        return answers
    # In one order everywhere, so that two transactions do not wait for each other.
    grants.sort(key=lambda found: found[0].account.pk)
    try:
        stored = ConnectedAccount.objects.all().mark_all_refreshed(
            [(attempt.account, grant.values) for attempt, grant, _ in grants]
        )
    except Exception as error:  # whatever it is, the provider has answered
        logger.warning("answers are stored one by one: %s", type(error).__name__)
        close_unusable_connection()
        return answers
    if not stored:
        return answers
    for attempt, grant, known in grants:
        _announce_refresh(attempt, grant, known)
    settled = {attempt for attempt, _, _ in grants}
    return [answer for answer in answers if answer[0] not in settled]


def _with_claims(attempt: Attempt, token: TokenResponse) -> TokenResponse:
    """The answer with its id_token's claims; without the id_token where that is not this client's.

    The tokens are kept all the same: they are the only ones there are.
    """
    try:
        return with_claims(attempt.provider, attempt.endpoints, token, nonce="", now=None)
    except ProviderError as error:
        logger.warning("id_token dropped: account=%s code=%s", attempt.account.pk, error.code)
        return replace(token, id_token=None)


def _other_identity(attempt: Attempt, token: TokenResponse) -> Identity | None:
    """The identity that the answer names, if it is not the account's. Only read where it costs no
    call: from an id_token, or from the token answer itself."""
    provider, account = attempt.provider, attempt.account
    if token.claims and attempt.document.get("id_token"):
        before = replace(token, id_token=Secret(attempt.document["id_token"]))
        known = _with_claims(attempt, before).claims.get("sub")
        if known is not None and known != token.claims["sub"]:
            return Identity(str(token.claims["sub"]))
    if provider.identity_source != "token_response":
        return None
    try:
        other_identity = identity_of(provider, None, token)
    except ProviderError:
        return None
    return (
        None
        if account.subject in {other_identity.subject, *other_identity.other_subjects}
        else other_identity
    )


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
    elif attempt.replay or lost_an_answer_elsewhere(account):
        reason = Reason.ROTATION_LOST
    elif expires_at is not None and expires_at <= attempt.sent_at:
        reason = Reason.REFRESH_TOKEN_EXPIRED
    else:
        reason = Reason.REVOKED
    if not end_grant(account, reason, at=attempt.sent_at):
        return ProviderUnavailable("overtaken")
    return ReauthorizationRequired(account.reason)


def _settle_failure(attempt: Attempt, error: ConnectedAccountsError) -> ConnectedAccountsError:
    account = attempt.account
    # Behind an unknown answer the token may be spent; the next attempt is then a replay.
    unknown = attempt.replay or (isinstance(error, ProviderError) and error.sent)
    closed = isinstance(error, Undecryptable)
    refused = is_refusal(error) or isinstance(error, ClientRejected)
    code = "undecryptable" if closed else error.code
    already_noted = account.last_error == code if closed else account.failure_count > 0
    retry_at = retry_time(attempt, error, unknown=unknown)
    if not account.mark_failed(
        code,
        retry_at=retry_at,
        attempt_started_at=account.attempt_started_at if unknown else None,
        refused_since=attempt.sent_at if refused and not account.refused_since else None,
    ):
        return ProviderUnavailable("overtaken")
    attempt.is_first_failure = account.failure_count == 1
    if not already_noted:
        kind = Kind.UNDECRYPTABLE if closed else Kind.REFRESH_FAILED
        Event.record(kind, account, at=attempt.sent_at, detail=error.code)
    logger.info("refresh failed: account=%s code=%s", account.pk, code)
    after_commit(
        lambda: signals.refresh_failed.send_robust(ConnectedAccount, account=account, error=error)
    )
    return error


def refresh_claimed(
    attempt: Attempt, turn: AbstractContextManager[outages.Turn]
) -> ConnectedAccountsError | None:
    """Take one claimed account through to its outcome, and return the error, if it is one. The
    ``turn`` is taken once nothing else speaks against sending; what it raises is raised. Where the
    account's row is locked, that is waited for while the lease lasts."""
    blocked = prepare(attempt)
    if blocked is not None:
        return _settle_when_unlocked(attempt, blocked)
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(turn)
        except (ProviderUnavailable, Error):
            give_back(attempt)
            raise
        # In a thread of its own: whatever is raised into this one, the answer still arrives.
        pool = stack.enter_context(ThreadPoolExecutor(1, "connected-accounts-ask"))
        mine.sent = True
        future: Future[RefreshResult] = Future()

        def send_and_settle() -> ConnectedAccountsError | None:
            code = LEASE_TOO_OLD
            if not future.running() and not future.done():
                try:
                    pool.submit(ask_into, future, attempt)
                except RuntimeError as error:
                    logger.error("refresh: no thread: %s", type(error).__name__)
                    code = NO_THREAD if future.cancel() else code
            unsent = ProviderUnavailable(code, sent=False)
            outcome = unsent if future.cancelled() else future.result()
            return _settle_when_unlocked(attempt, outcome)

        error = to_the_end(send_and_settle, future.cancel)
        mine.sent = attempt.asked
    return error


def give_back(attempt: Attempt) -> None:
    """Release what was claimed, as nothing was sent; also where the connection was lost."""
    close_unusable_connection()
    attempt.account.release(attempt_started_at=attempt.unresolved_since)


def _settle_when_unlocked(
    attempt: Attempt, outcome: RefreshResult
) -> ConnectedAccountsError | None:
    while True:
        try:
            return settle(attempt, outcome)
        except OperationalError as error:
            if not is_lock_timeout(error) or time.monotonic() > attempt.lease_ends:
                raise
