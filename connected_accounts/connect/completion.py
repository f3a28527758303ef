"""Connect, second half: from the callback to a stored grant (RFC 6749 4.1.2, RFC 9207)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import security
from connected_accounts.clients.credentials import clients_of, note_refused, retire
from connected_accounts.connect.authorization import VERIFIER_PURPOSE, offered_scopes
from connected_accounts.connect.callback_params import check_issuer, read_params, refusal_of
from connected_accounts.connect.connection import store_connection
from connected_accounts.connect.failures import failures_traced
from connected_accounts.connect.refusals import record_refusal, refusals_told
from connected_accounts.database.functions import digest
from connected_accounts.database.statements import read_all
from connected_accounts.database.transactions import in_sites_transaction
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    InvalidState,
    ReauthorizationRequired,
    Undecryptable,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event, Kind
from connected_accounts.oauth2 import state
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.owners import (
    CONNECT_THE_SITE,
    SITE_OWNER,
    may_connect,
    may_still_connect,
    owner_key,
    read_again,
)
from connected_accounts.provider_state.pauses import report
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.outbox import revoke_orphan
from connected_accounts.sealing import unseal
from connected_accounts.secret import clears_traceback_locals
from connected_accounts.security import SecurityEvent
from connected_accounts.tokens.endpoint import exchange_code, token_document
from connected_accounts.tokens.identity import identify, with_claims


@dataclass(frozen=True)
class Completed:
    """A finished authorization: the account, whether it is new, and where the person was going."""

    account: ConnectedAccount
    created: bool
    next: str


@failures_traced
@refusals_told
@clears_traceback_locals
@sensitive_variables()
def complete_authorization(
    *,
    user: Any,
    provider: str,
    browser_secret: str,
    params: Mapping[str, str],
    now: datetime | None = None,
) -> Completed:
    """Finish an authorization from the callback's query parameters.

    Raises InvalidState (nothing was spent unless its code is ``code_rejected``),
    AuthorizationDenied, or ProviderError. Must not run inside a transaction: a spent code would be
    rolled back with it.
    """
    if in_sites_transaction():
        raise RuntimeError("complete_authorization must not run inside a transaction.")
    now = now or timezone.now()
    service = get_provider(provider)
    answer = read_params(params)
    nonce = state.read(answer.get("state", ""))
    if not service.connect_fields:  # else the issuer depends on what the request holds
        check_issuer(service, answer.get("iss"))
    if not answer.get("code") and not answer.get("error"):
        raise InvalidState("code_missing")
    row = _consume(nonce, user=user, provider=provider, browser_secret=browser_secret, now=now)
    try:
        _refuse_unless_permitted(row, now)
        account, created = _finish(service, row, answer, now)
    except ConnectedAccountsError as error:
        _add_way_on(error, row)
        raise
    return Completed(account, created, row.next)


@sensitive_variables()
def _finish(
    service: Provider, row: AuthorizationRequest, answer: Mapping[str, str], now: datetime
) -> tuple[ConnectedAccount, bool]:
    """What follows once the request is spent: exchange, identity, account."""
    service = service.bound(inputs=row.inputs)
    if service.connect_fields:
        check_issuer(service, answer.get("iss"))
    endpoints = service.endpoints()
    clients = clients_of(service, row.client_id, row.owner_key)
    if row.endpoint_fingerprint != endpoints.authorization_fingerprint():
        raise InvalidState("settings_changed")
    if "error" in answer:
        raise refusal_of(answer["error"])
    sent_at = timezone.now()
    service, token = _exchange_as_any(service, clients, endpoints, row, answer["code"], sent_at)
    document = token_document(token, redirect_uri=row.redirect_uri)
    subject = ""
    try:
        token = with_claims(service, endpoints, token, nonce=row.oidc_nonce, now=sent_at)
        identity = identify(service, endpoints, token)
        subject = identity.subject
        _refuse_unless_permitted(row, sent_at, again=True)  # the provider took its time
        return store_connection(service, endpoints, row, token, document, identity, sent_at)
    except Exception as error:
        # Nobody will ever use this grant: it must not stay alive at the provider.
        revoke_orphan(service, endpoints, row, document, subject=subject, at=sent_at)
        if isinstance(error, IntegrityError | ObjectDoesNotExist):
            raise InvalidState("unknown") from None  # the user was deleted meanwhile
        raise


@sensitive_variables()
def _exchange_as_any(
    service: Provider,
    clients: Sequence[Client],
    endpoints: Endpoints,
    row: AuthorizationRequest,
    code: str,
    sent_at: datetime,
) -> tuple[Provider, TokenResponse]:
    """Exchange with the newest pair, or with an older one of the same client where the provider
    refuses that: a refused client has spent no code."""
    refused: list[int | None] = []
    for client in clients:
        one = service.bound(client=client)
        try:
            token = _exchange(one, endpoints, row, code)
        except ClientRejected:
            refused.append(client.pk)
            if client.registered:
                retire(client.pk, sent_at)  # the next try registers anew
            if client is clients[-1]:
                note_refused(refused, sent_at)
                raise
        else:
            if refused:
                note_refused(refused, sent_at)
                report(service.alias, "client_rejected", now=sent_at)
            return one, token
    raise InvalidState("settings_changed")  # no pair with that client id is left


@sensitive_variables()
def _consume(
    nonce: str, *, user: Any, provider: str, browser_secret: str, now: datetime
) -> AuthorizationRequest:
    """Spend the request, once, for the right person in the right browser; or say why not."""
    won = bool(browser_secret) and AuthorizationRequest.objects.filter(
        nonce_digest=digest(nonce),
        user=user,
        provider=provider,
        browser_digest=digest(browser_secret),
        expires_at__gt=now,
        consumed_at__isnull=True,
    ).update(consumed_at=now)
    # From the database that was written to, not from a replica that is behind.
    rows: list[AuthorizationRequest]
    rows = read_all(AuthorizationRequest, {"nonce_digest": digest(nonce)})
    row = rows[0] if rows else None
    if row is not None and won:
        row.user = user  # whom the UPDATE found
        if row.account_id is not None:
            row.account = ConnectedAccount.objects.current().filter(pk=row.account_id).first()
        return row
    cause = "unknown"
    if row is not None:
        cause = _cause(row, user=user, provider=provider, browser_secret=browser_secret, now=now)
        record_refusal(row, cause, at=now)
    error = InvalidState(cause)
    if row is not None and cause == "expired":
        _add_way_on(error, row)
    raise error


def _add_way_on(error: ConnectedAccountsError, row: AuthorizationRequest) -> None:
    """Note with an error what the person needs to begin again."""
    error.next, error.reconnect = row.next, row.account_id
    error.scopes, error.for_site = tuple(row.scopes), row.owner_key == SITE_OWNER
    if not error.for_site and row.owner_key != owner_key(row.user if row.user_id else None):
        error.owner = row.owner_key


def _refuse_unless_permitted(
    row: AuthorizationRequest, at: datetime, *, again: bool = False
) -> None:
    """Whoever connects for the site or a team must still be allowed to when it is done. ``again``:
    what was read of the user before is old."""
    user = row.user
    if row.owner_key != SITE_OWNER:
        permitted = (may_still_connect if again else may_connect)(user, row.owner_key)
    elif user is None:
        permitted = True
    else:
        now = read_again(user) if again else user
        permitted = now is not None and now.has_perm(CONNECT_THE_SITE)
    if not permitted:
        record_refusal(row, "not_permitted", at=at)
        raise InvalidState("not_permitted")


def _cause(
    row: AuthorizationRequest, *, user: Any, provider: str, browser_secret: str, now: datetime
) -> str:
    if row.provider != provider:
        return "other_provider"
    if row.user_id != (None if user is None else user.pk):
        return "other_user"
    if row.browser_digest != digest(browser_secret):
        return "other_browser"
    return "expired" if row.expires_at <= now and row.consumed_at is None else "replayed"


@sensitive_variables()
def _exchange(
    provider: Provider, endpoints: Endpoints, row: AuthorizationRequest, code: str
) -> TokenResponse:
    try:
        verifier = unseal(row.code_verifier, purpose=VERIFIER_PURPOSE, bound_to=row.nonce_digest)
    except Undecryptable as error:
        security.log(SecurityEvent.UNDECRYPTABLE, provider=provider.alias, reason=error.code)
        Event.record(
            Kind.UNDECRYPTABLE,
            at=timezone.now(),
            detail=error.code,
            provider=row.provider,
            owner=row.owner_key,
        )
        raise InvalidState("settings_changed") from None  # its key went meanwhile
    asked = offered_scopes(provider, row.scopes)
    try:
        token = exchange_code(
            provider,
            endpoints,
            code=code,
            redirect_uri=row.redirect_uri,
            code_verifier=verifier,
            scopes=asked,
        )
    except ReauthorizationRequired:
        raise InvalidState("code_rejected") from None
    # An answer that names no scope gives what was asked for (RFC 6749 5.1).
    return replace(token, scope=tuple(asked)) if token.scope is None else token
