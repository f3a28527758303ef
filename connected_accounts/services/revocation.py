"""Disconnect: the account goes at once; its grant is withdrawn at the provider, until it is."""

import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from connected_accounts import conf, security, signals
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    Undecryptable,
)
from connected_accounts.fields import is_sealed, open_document, seal_document
from connected_accounts.models import (
    LEASE_RELEASED,
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Kind,
    Outcome,
    Revocation,
    digest,
)
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.security import SecurityEvent
from connected_accounts.services import pauses
from connected_accounts.services.clients import clients_of, orphaned_clients
from connected_accounts.services.grants import backoff
from connected_accounts.services.locks import retried
from connected_accounts.services.pacing import place_of_one

logger = logging.getLogger("connected_accounts")

BATCH: Final = 50
CLAIM: Final = timedelta(minutes=5)  # longer than any one attempt can take


def disconnect(account: ConnectedAccount) -> Revocation | None:
    """Delete the account; its grant is queued for revocation in the same transaction.

    Calls nobody: ``revoke_pending_tokens`` does. Returns what is owed to the provider, or None
    where there is nothing (no token was stored, or the account was gone already).
    """
    if account._state.adding or account.pk is None:
        return None  # this very object was disconnected before
    retried(account.delete)
    return account.revocation


async def adisconnect(account: ConnectedAccount) -> Revocation | None:
    """``disconnect`` for asynchronous code."""
    return await sync_to_async(disconnect)(account)


def revoke_before_delete(
    sender: type[ConnectedAccount], instance: ConnectedAccount, using: str, **kwargs: Any
) -> None:
    """Receiver of ``pre_delete``: copy the sealed token, unopened, into the outbox."""
    now = timezone.now()
    rows = ConnectedAccount.objects.using(using).filter(pk=instance.pk)
    # The write comes first: it locks the row, and fences off a refresh whose answer is on its way.
    if not rows.update(generation=F("generation") + 1, **LEASE_RELEASED):
        return
    token, seal_id = rows.values_list("token", "seal_id").get()
    if token is not None:
        instance.revocation = _queue(
            token,
            seal_id,
            using=using,
            at=now,
            **{name: getattr(instance, name) for name in _COPIED},
        )
    event = Event.record(Kind.DISCONNECTED, instance, at=now, using=using)
    tell = partial(
        security.log,
        SecurityEvent.DISCONNECTED,
        provider=event.provider,
        owner=event.owner_key,
        account=instance.pk,
    )
    transaction.on_commit(tell, using=using)
    user = instance.user if instance.user_id else None
    send = partial(
        signals.account_disconnected.send_robust,
        ConnectedAccount,
        provider=event.provider,
        subject=event.subject,
        user=user,
    )
    transaction.on_commit(send, using=using)


_COPIED: Final = (
    "provider",
    "owner_key",
    "subject",
    "label",
    "client_id",
    "endpoint_fingerprint",
    "inputs",
)


def _queue(
    token: Secret, seal_id: uuid.UUID, *, at: datetime, using: str | None = None, **copied: Any
) -> Revocation:
    if is_sealed(token):
        state: dict[str, Any] = {"token": token, "next_attempt_at": at}
    else:
        # Damaged beyond opening with any key: nothing could ever be sent.
        state = {"outcome": Outcome.GIVEN_UP, "last_error": "undecryptable", "finished_at": at}
    return Revocation.objects.using(using).create(seal_id=seal_id, created_at=at, **state, **copied)


def queue_replaced(owner: str, provider: str, subject: str, *, at: datetime) -> None:
    """Before a new grant takes the place of an old one: queue the old one for revocation.

    To be called where the provider ends nothing but the token that is revoked; inside the
    transaction that stores the new grant.
    """
    same = ConnectedAccount.objects.filter(
        owner_key=owner, provider=provider, subject_digest=digest(subject)
    )
    if same.update(generation=F("generation") + 1, **LEASE_RELEASED):
        old = same.current().with_token().get()
        if is_sealed(old.token):
            _queue(old.token, old.seal_id, at=at, **{name: getattr(old, name) for name in _COPIED})


def revoke_orphan(
    provider: Provider,
    endpoints: Endpoints,
    about: AuthorizationRequest | ConnectedAccount,
    document: Mapping[str, Any],
    *,
    subject: str,
    at: datetime,
) -> None:
    """Queue a grant for revocation that was given to us but is stored nowhere.

    Not where an account with this subject exists, if the provider withdraws everything that a
    person allowed the site at once: that account must go on working.
    """
    same = ConnectedAccount.objects.at(provider.alias).filter(subject_digest=digest(subject))
    if provider.revokes_whole_authorization and subject and same.exists():
        return
    seal_id = uuid.uuid4()
    _queue(
        seal_document(dict(document), seal_id),
        seal_id,
        at=at,
        provider=provider.alias,
        owner_key=about.owner_key,
        subject=subject,
        client_id=about.client_id,
        endpoint_fingerprint=endpoints.token_hosts(),
        inputs=about.inputs,
    )


def revoke_pending(*, now: datetime | None = None, seconds: float = 50) -> int:
    """Work off what is due in the outbox for at most ``seconds``; return how many were tried."""
    now = now or timezone.now()
    ends = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < ends:
        batch = list(Revocation.objects.due(now).order_by("next_attempt_at")[:BATCH])
        for row in batch:
            if time.monotonic() >= ends:
                break
            tried += _attempt(row, now)
        if len(batch) < BATCH:
            break
    return tried


def _attempt(row: Revocation, now: datetime) -> bool:
    """Claim one row, call its provider, note what came of it. False: another worker has it."""
    mine = Revocation.objects.filter(pk=row.pk, attempts=row.attempts, outcome=Outcome.PENDING)
    if not mine.update(attempts=F("attempts") + 1, next_attempt_at=now + CLAIM):
        return False
    row.attempts += 1
    retry_after = None
    try:
        outcome, error = _revoke(row), ""
    except ProviderError as failure:
        outcome, error, retry_after = Outcome.PENDING, failure.code, failure.retry_after
    except Undecryptable as failure:
        outcome, error = Outcome.PENDING, "undecryptable"
        security.log(
            SecurityEvent.UNDECRYPTABLE,
            provider=row.provider,
            owner=row.owner_key,
            reason=failure.code,
        )
    except ConnectedAccountsError as failure:
        outcome, error = Outcome.PENDING, failure.code
    except Exception as failure:  # a backend's hook; its message may hold anything
        logger.error("revocation hook failed: %s", type(failure).__name__)
        outcome, error = Outcome.PENDING, "hook_failed"
    _settle(row, outcome, error, retry_after, now)
    return True


def _revoke(row: Revocation) -> Outcome:
    from connected_accounts.services.exchange import revoke_token  # loads requests

    provider = get_provider(row.provider)
    if not pauses.belongs_here(pauses.provider_state(row.provider)):
        raise ConfigurationError("other_site")  # in a copy it would end the original's grant
    provider = provider.bound(inputs=row.inputs)
    endpoints = provider.endpoints()
    if endpoints.token_hosts() != row.endpoint_fingerprint:
        raise ConfigurationError("endpoints_changed")
    clients = clients_of(provider, row.client_id, row.owner_key)
    needs_client = provider.grant_type != "personal_token" and endpoints.revocation_endpoint
    if needs_client and not clients:
        raise ConfigurationError("client_id_changed")
    document = open_document(row.token, row.seal_id)
    for client in clients[:-1]:
        time.sleep(place_of_one(provider))
        with suppress(ClientRejected):  # an older pair of the same client may do
            return revoke_token(provider.bound(client=client), endpoints, document)
    time.sleep(place_of_one(provider))
    last = provider.bound(client=clients[-1]) if clients else provider
    return revoke_token(last, endpoints, document)


def _settle(
    row: Revocation, outcome: Outcome, error: str, retry_after: float | None, now: datetime
) -> None:
    age = (now - row.created_at).total_seconds()
    if outcome is Outcome.PENDING and age >= float(conf.get("REVOKE_GIVE_UP_AFTER")):
        outcome = Outcome.GIVEN_UP
    values: dict[str, Any] = {"outcome": outcome, "last_error": error[:64]}
    if outcome is Outcome.PENDING:
        values["next_attempt_at"] = now + backoff(row.attempts, retry_after)
    else:
        values |= {"next_attempt_at": None, "finished_at": now}
        if outcome is not Outcome.GIVEN_UP:
            values["token"] = None  # nothing is kept that is of no more use
    mine = Revocation.objects.filter(pk=row.pk, attempts=row.attempts, outcome=Outcome.PENDING)
    if not mine.update(**values) or outcome is Outcome.PENDING:
        return
    orphaned_clients().filter(provider=row.provider, owner_key=row.owner_key).delete()
    kind = Kind.GIVEN_UP if outcome is Outcome.GIVEN_UP else Kind.REVOKED
    Event.record(kind, row, at=now, detail=outcome.value)
    logger.info("revocation settled: provider=%s outcome=%s", row.provider, outcome.value)
