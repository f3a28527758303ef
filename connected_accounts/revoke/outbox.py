"""Disconnect: the account goes at once; its grant is withdrawn at the provider, until it is."""

import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import router, transaction
from django.db.models import F
from django.utils import timezone

from connected_accounts import security, signals
from connected_accounts.database.functions import digest
from connected_accounts.database.locks import retried
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import (
    AuthorizationRequest,
    Cause,
    ConnectedAccount,
    Event,
    Kind,
    Outcome,
    Revocation,
)
from connected_accounts.models.history import RevocationQuerySet
from connected_accounts.models.lease import LEASE_RELEASED
from connected_accounts.models.querysets import ConnectedAccountQuerySet
from connected_accounts.owners import acted_for, owner_key
from connected_accounts.provider_state.rate_limit import reserve_slots
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke import attempts
from connected_accounts.sealing import is_sealed, seal_document
from connected_accounts.secret import Secret, clears_traceback_locals
from connected_accounts.security import SecurityEvent

BATCH: Final = 500
CALLS: Final = 32  # in flight in one round
CALLS_PER_PROVIDER: Final = 4
POLL: Final = 0.1  # seconds


def disconnect(account: ConnectedAccount, *, by: Any = None) -> Revocation | None:
    """Delete the account; its grant is queued for revocation in the same transaction.

    Calls nobody: ``revoke_pending_tokens`` does. Returns what is owed to the provider, or None
    where there is nothing (no token was stored, or the account was gone already). ``by`` is the
    user who does it, to be noted where that is not the owner; whether they may is for the caller
    to know.
    """
    if account._state.adding or account.pk is None:
        return None  # this very object was disconnected before
    account.deleted_by = acted_for(by, account.owner_key)
    retried(account.delete)
    return account.revocation


async def adisconnect(account: ConnectedAccount, *, by: Any = None) -> Revocation | None:
    """``disconnect`` for asynchronous code."""
    return await sync_to_async(disconnect)(account, by=by)


def revoke_before_delete(
    sender: type[ConnectedAccount],
    instance: ConnectedAccount,
    using: str,
    origin: Any = None,
    **kwargs: Any,
) -> None:
    """Receiver of ``pre_delete``: copy the sealed token, unopened, into the outbox."""
    if getattr(origin, "is_queued_for_revocation", False):
        return  # by disconnect_all, in this transaction
    now = timezone.now()
    rows = ConnectedAccount.objects.using(using).filter(pk=instance.pk)
    # The write comes first: it locks the row, and fences off a refresh whose answer is on its way.
    if not rows.update(generation=F("generation") + 1, **LEASE_RELEASED):
        return
    token, seal_id = rows.values_list("token", "seal_id").get()
    _release_held([instance.pk], at=now, using=using)
    if token is not None:
        instance.revocation = _queue(
            token,
            seal_id,
            using=using,
            at=now,
            **{name: getattr(instance, name) for name in _COPIED},
        )
    Event.record(Kind.DISCONNECTED, instance, at=now, using=using, detail=instance.deleted_by)
    _announce_after_commit(instance, using)


def _announce_after_commit(account: ConnectedAccount, using: str) -> None:
    tell = partial(
        security.log,
        SecurityEvent.DISCONNECTED,
        provider=account.provider,
        owner=account.owner_key,
        account=account.pk,
    )
    transaction.on_commit(tell, using=using)
    send = partial(
        signals.account_disconnected.send_robust,
        ConnectedAccount,
        provider=account.provider,
        subject=account.subject,
        user=account.user if account.user_id else None,
        owner=account.owner_key,
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


def _owed(
    token: Secret,
    seal_id: uuid.UUID,
    *,
    at: datetime,
    held_for: int | None = None,
    **copied: Any,
) -> Revocation:
    """A row of the outbox, not stored yet."""
    if is_sealed(token):
        state: dict[str, Any] = {"token": token, "next_attempt_at": at}
        if held_for is not None:
            state |= {"next_attempt_at": None, "outcome": Outcome.HELD, "held_for": held_for}
    else:
        # Damaged beyond opening with any key: nothing could ever be sent.
        error = attempts.UNDECRYPTABLE
        state = {"outcome": Outcome.GIVEN_UP, "last_error": error, "finished_at": at}
    return Revocation(seal_id=seal_id, created_at=at, **state, **copied)


def _queue(
    token: Secret, seal_id: uuid.UUID, *, at: datetime, using: str | None = None, **copied: Any
) -> Revocation:
    row = _owed(token, seal_id, at=at, **copied)
    row.save(using=using, force_insert=True)
    if row.outcome == Outcome.GIVEN_UP:
        Event.record(Kind.GIVEN_UP, row, at=at, detail=row.last_error, using=using)
    return row


def _release_held(pks: Collection[int], *, at: datetime, using: str) -> None:
    """Let what was held for these accounts be withdrawn, beside their newest grants."""
    held = Revocation.objects.using(using).filter(held_for__in=pks, outcome=Outcome.HELD)
    held.update(outcome=Outcome.PENDING, held_for=None, created_at=at, next_attempt_at=at)


def disconnect_all(accounts: ConnectedAccountQuerySet) -> Iterator[int]:
    """Disconnect many accounts, batch by batch; yields how many are done after each batch."""
    done = 0
    while pks := list(accounts.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        done += retried(partial(_disconnect_batch, pks))
        yield done


def _disconnect_batch(pks: list[int]) -> int:
    now = timezone.now()
    rows = ConnectedAccount.objects.filter(pk__in=pks)
    with transaction.atomic(using=router.db_for_write(ConnectedAccount)):
        rows.update(generation=F("generation") + 1, **LEASE_RELEASED)
        found = list(rows.current().with_token().select_related("user"))
        _release_held(pks, at=now, using=router.db_for_write(ConnectedAccount))
        owed = [
            _owed(row.token, row.seal_id, at=now, **{name: getattr(row, name) for name in _COPIED})
            for row in found
            if row.token is not None
        ]
        Revocation.objects.bulk_create(owed)
        events = [Event.about(Kind.DISCONNECTED, row, at=now) for row in found]
        damaged = [row for row in owed if row.outcome == Outcome.GIVEN_UP]
        events += [
            Event.about(Kind.GIVEN_UP, row, at=now, detail=row.last_error) for row in damaged
        ]
        Event.objects.bulk_create(events)
        going = rows.current()
        going.is_queued_for_revocation = True
        going.delete()
        for row in found:
            _announce_after_commit(row, router.db_for_write(ConnectedAccount))
    return len(pks)


def fenced(owner: str, provider: str, subject: str) -> ConnectedAccount | None:
    """The account whose grant is about to be replaced, with its token, fenced off from a refresh
    that is under way; None where there is none.

    To be called inside the transaction that stores the new grant, which begins with it.
    """
    same = ConnectedAccount.objects.filter(
        owner_key=owner, provider=provider, subject_digest=digest(subject)
    )
    if not same.update(generation=F("generation") + 1, **LEASE_RELEASED):
        return None
    account: ConnectedAccount = same.current().with_token().get()
    return account


def hold_replaced(account: ConnectedAccount, *, at: datetime) -> None:
    """Keep a grant, sealed, that a newer one replaces, until its account is disconnected.

    To withdraw it at once could end the newer one as well: at some servers all grants of a browser
    session are one, at others each stands for itself. At the disconnect both are withdrawn.
    """
    if is_sealed(account.token):
        copied = {name: getattr(account, name) for name in _COPIED}
        _queue(
            account.token,
            account.seal_id,
            at=at,
            held_for=account.pk,
            cause=Cause.REPLACED,
            **copied,
        )


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

    Where its owner has this account, it is held until that is disconnected: both could be one.
    Where others have it, and the provider withdraws everything that a person allowed the site at
    once, nothing is withdrawn: their accounts must go on working. It becomes a matter of who began
    the authorization, not of their team: it may be an account of their own.
    """
    begun_by = about.user if isinstance(about, AuthorizationRequest) else None
    same = ConnectedAccount.objects.current().at(provider.alias)
    same = same.filter(subject_digest=digest(subject))
    own = same.for_owner(about.owner_key).values_list("pk", flat=True).first()
    if isinstance(about, AuthorizationRequest) and not subject:
        own = about.account_id  # it was to be connected again, and is likely the one
    elif own is None and provider.revokes_whole_authorization and same.exists():
        return
    seal_id = uuid.uuid4()
    _queue(
        seal_document(dict(document), seal_id),
        seal_id,
        at=at,
        held_for=own,
        cause=Cause.UNUSED,
        provider=provider.alias,
        owner_key=owner_key(begun_by) if begun_by is not None else about.owner_key,
        subject=subject,
        client_id=about.client_id,
        endpoint_fingerprint=endpoints.token_fingerprint(),
        inputs=about.inputs,
    )


@clears_traceback_locals
def revoke_pending(*, now: datetime | None = None, seconds: float = 50) -> int:
    """Work off what is due in the outbox for at most ``seconds``; return how many were tried.

    Each provider has a few calls in flight of its own, so that none waits for another. One that
    does not answer, or refuses the site, is left alone until the next round.
    """
    now = now or timezone.now()
    ends = time.monotonic() + seconds
    due = _outbox().due(now)
    aliases = due.order_by().values_list("provider", flat=True).distinct()
    lanes: dict[str, list[Revocation]] = {alias: [] for alias in aliases}
    in_flight: dict[Future[attempts.RevocationResult], Revocation] = {}
    tried = 0
    with ThreadPoolExecutor(CALLS, "connected-accounts-revoke") as pool:
        while lanes or in_flight:
            if time.monotonic() >= ends:
                lanes.clear()
            for alias in list(lanes):
                busy = sum(row.provider == alias for row in in_flight.values())
                delay = _delay_of_slot(alias) if busy < CALLS_PER_PROVIDER else None
                if delay is None:
                    continue
                row = _next_claimed(lanes, alias, now)
                if row is None:
                    del lanes[alias]
                    continue
                tried += 1
                planned = attempts.plan(row, delay)
                if isinstance(planned, attempts.RevocationResult):
                    attempts.settle(row, planned, now)
                else:
                    in_flight[pool.submit(attempts.ask, planned)] = row
            done, _ = wait(in_flight, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in done:
                row, result = in_flight.pop(future), future.result()
                attempts.settle(row, result, now)
                if result.troubled:
                    lanes.pop(row.provider, None)
    attempts.give_up_overdue(now, BATCH)
    return tried


def _next_claimed(
    lanes: dict[str, list[Revocation]], alias: str, now: datetime
) -> Revocation | None:
    """The provider's next row, ours for a while; None when nothing of it is due any more."""
    while True:
        if not lanes[alias]:
            due = _outbox().due(now).filter(provider=alias)
            lanes[alias] = list(due.order_by("next_attempt_at")[:BATCH])
        if not lanes[alias]:
            return None
        row = lanes[alias].pop(0)
        if attempts.claim(row, now):
            return row


def _outbox() -> RevocationQuerySet:
    """From the database that is written to: a replica may still hold what was worked off."""
    return Revocation.objects.using(router.db_for_write(Revocation))


def _delay_of_slot(alias: str) -> float | None:
    """In how many seconds a call may be sent under the provider's rate limit; None: not yet."""
    try:
        slots = reserve_slots(get_provider(alias), 1)
    except ConfigurationError:
        return 0.0  # nothing will be sent
    return slots[0] if slots else None
