"""Storing what an authorization brought: a new account, or a new grant for one that is there."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from connected_accounts import security, signals
from connected_accounts.clients.credentials import store_own_client
from connected_accounts.database.functions import subject_digest
from connected_accounts.database.locks import is_committed, retried
from connected_accounts.database.transactions import in_sites_transaction
from connected_accounts.exceptions import AuthorizationDenied, Undecryptable
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event, Kind
from connected_accounts.models.new_account import insert_new
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.owners import acted_for, owner_key
from connected_accounts.provider_state.pauses import get_or_create_state, lock_state_row
from connected_accounts.providers.base import Client, Endpoints, Identity, Provider
from connected_accounts.providers.registry import exclusive_aliases
from connected_accounts.revoke.disconnect import hold_replaced, take_replaced
from connected_accounts.secret import SecretFields
from connected_accounts.security import SecurityEvent
from connected_accounts.tokens.lifetimes import grant_values
from connected_accounts.tokens.scopes import granted_scopes


@dataclass(frozen=True)
class Authorized:
    """A grant that the provider gave at ``sent_at``, and the identity that it is for. ``document``
    is what is sealed of it, for ``seal_id``."""

    endpoints: Endpoints
    token: TokenResponse
    document: SecretFields
    identity: Identity
    sent_at: datetime
    seal_id: uuid.UUID = field(default_factory=uuid.uuid4)

    def is_stored(self, owner: str, provider: str) -> bool:
        """Whether a row holds it, whatever went wrong since."""
        own = ConnectedAccount.objects.current().at(provider).for_owner(owner)
        return own.filter(seal_id=self.seal_id).exists()


def store_connection(
    provider: Provider,
    request: AuthorizationRequest,
    authorized: Authorized,
    *,
    own_client: Client | None = None,
) -> tuple[ConnectedAccount, bool]:
    """Create the account, at once where nothing else is to be looked at, or swap its grant, in one
    transaction that begins with its write.

    ``own_client`` are the person's own credentials, to be kept with it.

    Raises AuthorizationDenied (``other_account``, ``account_in_use``, ``too_many_accounts``) where
    the identity may not be stored for this owner; nothing is changed then.
    """
    authorized = replace(authorized, identity=_as_known(request, authorized.identity))
    exclusive = exclusive_aliases(provider)
    try:
        account, created = None, True
        if not (exclusive or request.account or own_client):
            account = _insert_new(provider, request, authorized)
        if account is None:
            account, created = retried(
                lambda: _write(provider, request, authorized, own_client, exclusive)
            )
    except AuthorizationDenied as refused:
        Event.record(
            Kind.REFUSED,
            at=authorized.sent_at,
            detail=refused.code,
            provider=request.provider,
            owner=request.owner_key,
        )
        raise
    _announce(account, created)
    return account, created


def _announce(account: ConnectedAccount, created: bool) -> None:
    security.log(
        SecurityEvent.CONNECTED if created else SecurityEvent.RECONNECTED,
        provider=account.provider,
        owner=account.owner_key,
        account=account.pk,
    )
    signals.account_connected.send_robust(ConnectedAccount, account=account, created=created)


def _grant_columns(
    provider: Provider,
    request: AuthorizationRequest,
    authorized: Authorized,
    before: ConnectedAccount | None,
    kept: SecretFields,
) -> dict[str, Any]:
    """The columns of a grant in the place of ``before``; ``kept`` is what stays of that one's token
    document."""
    token, sent_at = authorized.token, authorized.sent_at
    facts = {
        "seal_id": authorized.seal_id,
        "client_id": request.client_id,
        "endpoint_fingerprint": authorized.endpoints.token_fingerprint(),
    }
    document = SecretFields({**authorized.document, **kept})
    renewable = bool(document.get("refresh_token"))
    values = grant_values(
        provider,
        token,
        document,
        holder=ConnectedAccount(
            owner_key=request.owner_key,
            provider=request.provider,
            subject_digest=subject_digest(authorized.identity.subject),
            **facts,
        ),
        sent_at=sent_at,
        known_end=before.refresh_token_expires_at if before and kept else None,
    )
    return values | {
        **facts,
        "label": authorized.identity.label or (before.label if before else ""),
        "scopes_wanted": request.scopes,
        "scopes_requested": request.scopes_requested,
        "scopes_granted": granted_scopes(
            provider, request.scopes_requested, token.scope, renewable=renewable
        ),
        "connected_at": sent_at,
        "inputs": request.inputs,
        "host": provider.host,
        # Of a refresh token that is kept, an earlier attempt's answer may be unknown still.
        "attempt_started_at": before.attempt_started_at if before and kept else None,
    }


def _insert_new(
    provider: Provider, request: AuthorizationRequest, authorized: Authorized
) -> ConnectedAccount | None:
    """The account of an identity that its owner has not connected, stored at once; None where a
    transaction must look closer."""
    if in_sites_transaction():
        return None  # which could roll it back
    subject = authorized.identity.subject
    account = ConnectedAccount(
        user=_user_of(request),
        owner_key=request.owner_key,
        provider=request.provider,
        subject=subject,
        subject_digest=subject_digest(subject),
        **_grant_columns(provider, request, authorized, None, SecretFields({})),
    )
    by = acted_for(request.user, request.owner_key)
    event = Event.columns_about(Kind.CONNECTED, account, at=authorized.sent_at, detail=by)
    fewer = provider.config.max_accounts
    return account if insert_new(account, event, fewer_than=fewer) else None


def _user_of(request: AuthorizationRequest) -> Any:
    """The user in the row: None where the account is to be the site's or a team's."""
    return request.user if request.owner_key == owner_key(request.user) else None


def _write(
    provider: Provider,
    request: AuthorizationRequest,
    authorized: Authorized,
    own_client: Client | None,
    exclusive: list[str],
) -> tuple[ConnectedAccount, bool]:
    for alias in exclusive:
        get_or_create_state(alias)
    try:
        # durable: a host's transaction around this one could roll back a grant whose code is spent.
        with transaction.atomic(durable=True):
            written = _write_all(provider, request, authorized, own_client, exclusive)
    except Exception as error:
        if is_committed(error):  # the site's callback failed, and the account is connected
            _announce(*written)
        raise
    return written


def _write_all(
    provider: Provider,
    request: AuthorizationRequest,
    authorized: Authorized,
    own_client: Client | None,
    exclusive: list[str],
) -> tuple[ConnectedAccount, bool]:
    subject, at = authorized.identity.subject, authorized.sent_at
    for alias in exclusive:
        lock_state_row(alias)
    _refuse_identity(exclusive, request, authorized.identity)
    before = take_replaced(request.owner_key, request.provider, subject)
    if before is None:
        _refuse_too_many(provider, request.owner_key)
    kept = _still_good(provider, before, request, authorized) if before else SecretFields({})
    account, created = ConnectedAccount.objects.mark_connected(
        user=_user_of(request),
        owner=request.owner_key,
        provider=request.provider,
        subject=subject,
        values=_grant_columns(provider, request, authorized, before, kept),
        is_known=before is not None,
    )
    if own_client is not None:
        store_own_client(
            own_client,
            provider=request.provider,
            owner=request.owner_key,
            at=at,
            host=provider.host,
        )
    # The grant is stored; what follows stands or falls by itself.
    if before and not kept and _must_be_withdrawn(before, authorized):
        hold_replaced(before, at=at)
    kind = Kind.CONNECTED if created else Kind.RECONNECTED
    Event.record(kind, account, at=at, detail=acted_for(request.user, request.owner_key))
    return account, created


def _still_good(
    provider: Provider,
    before: ConnectedAccount,
    request: AuthorizationRequest,
    authorized: Authorized,
) -> SecretFields:
    """The refresh token of before, where the new answer has none: some providers give one with the
    first authorization only, and it goes on working. Empty where there is none that would."""
    ends_at = before.refresh_token_expires_at
    if (
        authorized.token.refresh_token is not None
        or before.needs_reconnect
        or (ends_at is not None and ends_at <= authorized.sent_at)
        or before.client_id != request.client_id
        or before.endpoint_fingerprint != authorized.endpoints.token_fingerprint()
        or before.inputs != request.inputs
    ):
        return SecretFields({})
    document = _opened(before)
    is_public = provider.token_endpoint_auth_method == "none"  # noqa: S105  # a method
    if is_public and "dpop_key" in document:
        return SecretFields({})  # bound to the key of before (RFC 9449 5)
    refresh_token = document.get("refresh_token")
    return SecretFields({"refresh_token": refresh_token} if refresh_token else {})


def _must_be_withdrawn(before: ConnectedAccount, authorized: Authorized) -> bool:
    """Whether a grant that is replaced may live on at the provider, by a token that is not also
    that of the new one."""
    if not authorized.endpoints.revocation_endpoint:
        return False
    document = _opened(before)
    refresh_token = document.get("refresh_token")
    if not document or refresh_token:
        return bool(not document or refresh_token != authorized.document.get("refresh_token"))
    return before.expires_at is None or before.expires_at > authorized.sent_at


def _opened(account: ConnectedAccount) -> SecretFields:
    """The token document; empty where its key is missing."""
    try:
        return account.open_token()
    except Undecryptable:
        return SecretFields({})


def _as_known(request: AuthorizationRequest, identity: Identity) -> Identity:
    """The identity under the spelling that the owner's account has."""
    others = identity.other_subjects
    if request.account is not None:
        known = request.account.subject
        return replace(identity, subject=known) if known in others else identity
    if not others:
        return identity
    same = ConnectedAccount.objects.current().at(request.provider).for_owner(request.owner_key)
    spellings = map(subject_digest, (identity.subject, *others))
    found = same.filter(subject_digest__in=list(spellings)).values_list("subject", flat=True)
    if identity.subject in found or not found:
        return identity
    # What it is called now is one of the others then.
    also = others | {identity.subject}
    return replace(identity, subject=found[0], other_subjects=also)


def _refuse_identity(
    exclusive: list[str], request: AuthorizationRequest, identity: Identity
) -> None:
    """Raise AuthorizationDenied where this identity, in any spelling, may not be stored for this
    owner, or is another one's at one of the aliases ``exclusive``."""
    account = request.account
    if account is not None and account.subject_digest != subject_digest(identity.subject):
        raise AuthorizationDenied("other_account")
    if not exclusive:
        return
    others = ConnectedAccount.objects.current().filter(provider__in=exclusive)
    spellings = [
        subject_digest(subject) for subject in (identity.subject, *identity.other_subjects)
    ]
    others = others.filter(subject_digest__in=spellings)
    if others.exclude(owner_key=request.owner_key).exists():
        raise AuthorizationDenied("account_in_use")


def _refuse_too_many(provider: Provider, owner: str) -> None:
    known = ConnectedAccount.objects.current().at(provider.alias).for_owner(owner)
    if known.count() >= provider.config.max_accounts:
        raise AuthorizationDenied("too_many_accounts")
