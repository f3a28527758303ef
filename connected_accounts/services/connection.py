"""Storing what an authorization brought: a new account, or a new grant for one that is there."""

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction

from connected_accounts import signals
from connected_accounts.exceptions import AuthorizationDenied
from connected_accounts.models import (
    SITE_OWNER,
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Kind,
    digest,
)
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.services.grants import grant_values
from connected_accounts.services.revocation import revoke_orphan


def store_connection(
    provider: Provider,
    endpoints: Endpoints,
    row: AuthorizationRequest,
    token: TokenResponse,
    document: dict[str, Any],
    identity: Identity,
    sent_at: datetime,
) -> tuple[ConnectedAccount, bool]:
    """Create the account, or swap its grant, in one transaction that begins with its write.

    Raises AuthorizationDenied (``other_account``, ``account_in_use``) where the identity may not be
    stored for this owner; nothing is changed then, and the new grant is withdrawn.
    """
    refused = _refused_identity(provider, row, identity)
    if refused:
        revoke_orphan(provider, endpoints, row, document, subject=identity.subject, at=sent_at)
        Event.record(
            Kind.REFUSED, at=sent_at, detail=refused, provider=row.provider, owner=row.owner_key
        )
        raise AuthorizationDenied(refused)
    seal_id = uuid.uuid4()
    values = grant_values(provider, token, document, seal_id=seal_id, sent_at=sent_at) | {
        "seal_id": seal_id,
        "label": identity.label[:255],
        "scopes_requested": row.scopes,
        "scopes_granted": row.scopes if token.scope is None else list(token.scope),
        "connected_at": sent_at,
        "client_id": row.client_id,
        "endpoint_fingerprint": endpoints.token_hosts(),
        "inputs": row.inputs,
    }
    # durable: a host's transaction around this one could roll back a grant whose code is spent.
    with transaction.atomic(durable=True):
        account, created = ConnectedAccount.objects.mark_connected(
            user=None if row.owner_key == SITE_OWNER else row.user,
            owner=row.owner_key,
            provider=row.provider,
            subject=identity.subject,
            values=values,
        )
        Event.record(Kind.CONNECTED if created else Kind.RECONNECTED, account, at=sent_at)
    signals.account_connected.send_robust(ConnectedAccount, account=account, created=created)
    return account, created


def _refused_identity(provider: Provider, row: AuthorizationRequest, identity: Identity) -> str:
    """Why this identity may not be stored here, or an empty text."""
    subject_digest = digest(identity.subject)
    if row.account is not None and row.account.subject_digest != subject_digest:
        return "other_account"
    others = ConnectedAccount.objects.at(provider.alias).filter(subject_digest=subject_digest)
    if provider.config.exclusive and others.exclude(owner_key=row.owner_key).exists():
        return "account_in_use"
    return ""
