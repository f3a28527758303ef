"""Storing what an authorization brought: a new account, or a new grant for one that is there."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from connected_accounts import security, signals
from connected_accounts.clients.credentials import store_own_client
from connected_accounts.database.functions import digest
from connected_accounts.database.locks import retried
from connected_accounts.exceptions import AuthorizationDenied
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Event, Kind
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.owners import acted_for, owner_key
from connected_accounts.provider_state.pauses import get_or_create_state, lock_state_row
from connected_accounts.providers.base import Client, Endpoints, Identity, Provider
from connected_accounts.revoke.disconnect import queue_replaced, take_replaced
from connected_accounts.security import SecurityEvent
from connected_accounts.tokens.lifetimes import grant_values


@dataclass(frozen=True)
class Authorized:
    """A grant that the provider gave at ``sent_at``, and the identity that it is for. ``document``
    is what is sealed of it."""

    endpoints: Endpoints
    token: TokenResponse
    document: dict[str, Any] = field(repr=False)
    identity: Identity
    sent_at: datetime


def store_connection(
    provider: Provider,
    request: AuthorizationRequest,
    authorized: Authorized,
    *,
    own_client: Client | None = None,
) -> tuple[ConnectedAccount, bool]:
    """Create the account, or swap its grant, in one transaction that begins with its write.

    ``own_client`` are the person's own credentials, to be kept with it.

    Raises AuthorizationDenied (``other_account``, ``account_in_use``) where the identity may not be
    stored for this owner; nothing is changed then.
    """
    authorized = replace(authorized, identity=_as_known(request, authorized.identity))
    values = _grant_columns(provider, request, authorized)
    try:
        account, created = retried(
            lambda: _write(provider, request, authorized, values, own_client)
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
    security.log(
        SecurityEvent.CONNECTED if created else SecurityEvent.RECONNECTED,
        provider=account.provider,
        owner=account.owner_key,
        account=account.pk,
    )
    signals.account_connected.send_robust(ConnectedAccount, account=account, created=created)
    return account, created


def _grant_columns(
    provider: Provider, request: AuthorizationRequest, authorized: Authorized
) -> dict[str, Any]:
    token, sent_at, seal_id = authorized.token, authorized.sent_at, uuid.uuid4()
    return grant_values(provider, token, authorized.document, seal_id=seal_id, sent_at=sent_at) | {
        "seal_id": seal_id,
        "label": authorized.identity.label[:255],
        "scopes_requested": request.scopes,
        "scopes_granted": request.scopes if token.scope is None else list(token.scope),
        "connected_at": sent_at,
        "client_id": request.client_id,
        "endpoint_fingerprint": authorized.endpoints.token_fingerprint(),
        "inputs": request.inputs,
    }


def _write(
    provider: Provider,
    request: AuthorizationRequest,
    authorized: Authorized,
    values: dict[str, Any],
    own_client: Client | None,
) -> tuple[ConnectedAccount, bool]:
    subject, at = authorized.identity.subject, authorized.sent_at
    if provider.config.exclusive:
        get_or_create_state(provider.alias)
    # durable: a host's transaction around this one could roll back a grant whose code is spent.
    with transaction.atomic(durable=True):
        if provider.config.exclusive:
            lock_state_row(provider.alias)
        _refuse_identity(provider, request, subject)
        old = None
        if not provider.revokes_whole_authorization:
            old = take_replaced(request.owner_key, request.provider, subject)
        account, created = ConnectedAccount.objects.mark_connected(
            user=request.user if request.owner_key == owner_key(request.user) else None,
            owner=request.owner_key,
            provider=request.provider,
            subject=subject,
            values=values,
        )
        if own_client is not None:
            store_own_client(own_client, provider=request.provider, owner=request.owner_key, at=at)
        # The grant is stored; what follows stands or falls by itself.
        if old is not None:
            queue_replaced(old, at=at)
        kind = Kind.CONNECTED if created else Kind.RECONNECTED
        Event.record(kind, account, at=at, detail=acted_for(request.user, request.owner_key))
    return account, created


def _as_known(request: AuthorizationRequest, identity: Identity) -> Identity:
    """On a reconnect, the identity under the spelling that the account has."""
    if request.account is not None and request.account.subject in identity.other_subjects:
        return replace(identity, subject=request.account.subject)
    return identity


def _refuse_identity(provider: Provider, request: AuthorizationRequest, subject: str) -> None:
    """Raise AuthorizationDenied where this identity may not be stored for this owner."""
    subject_digest = digest(subject)
    if request.account is not None and request.account.subject_digest != subject_digest:
        raise AuthorizationDenied("other_account")
    if not provider.config.exclusive:
        return
    others = ConnectedAccount.objects.current().at(provider.alias)
    if others.filter(subject_digest=subject_digest).exclude(owner_key=request.owner_key).exists():
        raise AuthorizationDenied("account_in_use")
