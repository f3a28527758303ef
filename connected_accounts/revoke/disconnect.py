"""Disconnect: the account goes at once, and its grant into the outbox, to be withdrawn there."""

import uuid
from collections.abc import Collection, Iterator
from datetime import datetime
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import router, transaction
from django.db.models import F
from django.utils import timezone

from connected_accounts import security, signals
from connected_accounts.database.functions import subject_digest
from connected_accounts.database.inserts import insert_all_apart
from connected_accounts.database.locks import retried, statements_retried
from connected_accounts.models import (
    AuthorizationRequest,
    ConnectedAccount,
    Event,
    Kind,
    Outcome,
    Revocation,
)
from connected_accounts.models.accounts import ConnectedAccountQuerySet
from connected_accounts.models.history import Cause
from connected_accounts.models.lease import LEASE_RELEASED
from connected_accounts.models.ledger import LedgerEntry
from connected_accounts.owners import acted_for, is_deleted, owner_key, retired_key
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.revoke.attempts import UNDECRYPTABLE
from connected_accounts.sealing import is_sealed, seal_document
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.security import SecurityEvent

BATCH: Final = 500
NOT_STORED: Final = "not_stored"  # the last_error of what the outbox did not take


@statements_retried()
def disconnect(account: ConnectedAccount, *, by: Any = None) -> Revocation | None:
    """Delete the account; its grant is queued for revocation in the same transaction.

    Calls nobody: ``revoke_pending_tokens`` does. Returns what is owed to the provider, or None
    where there is nothing (no token was stored, or the account was gone already); what could not be
    queued is given up (``not_stored``), and the account goes all the same. ``by`` is the user who
    does it, to be noted where that is not the owner; whether they may is for the caller to know.
    """
    if account._state.adding or account.pk is None:
        return None  # this very object was disconnected before
    if not ConnectedAccount.objects.current().filter(**account.which()).exists():
        return None  # it is gone, or is another owner's now; its number may be used again
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
    # With a model that a site derived from it, the account is deleted beside the object it asked.
    derived = isinstance(origin, ConnectedAccount) and origin.pk == instance.pk
    asked = origin if derived else instance
    now = timezone.now()
    rows = ConnectedAccount.objects.using(using).filter(pk=instance.pk)
    # The write comes first: it locks the row, and fences off a refresh whose answer is on its way.
    if not rows.transition(generation=F("generation") + 1, **LEASE_RELEASED):
        return
    row = rows.with_token().get()  # as it is by now: another's, or with another grant
    copies = LedgerEntry.objects.close([row], using)
    _release_held([instance.pk], at=now, using=using)
    if row.token is not None and row.pk not in copies:
        copied = {name: getattr(row, name) for name in _COPIED}
        asked.revocation = _queue(row.token, using=using, at=now, **copied)
    Event.record(Kind.DISCONNECTED, instance, at=now, using=using, detail=asked.deleted_by)
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
    "seal_id",
    "provider",
    "owner_key",
    "subject",
    "label",
    "client_id",
    "endpoint_fingerprint",
    "inputs",
    "host",
)


def _owed(
    token: Secret,
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
        state = {
            "outcome": Outcome.GIVEN_UP,
            "last_error": UNDECRYPTABLE,
            "finished_at": at,
        }
    return Revocation(created_at=at, **state, **copied)


def _queue(token: Secret, *, at: datetime, using: str | None = None, **copied: Any) -> Revocation:
    row = _owed(token, at=at, **copied)
    _store([row], at=at, using=using)
    if row.outcome == Outcome.GIVEN_UP:
        Event.record(Kind.GIVEN_UP, row, at=at, detail=row.last_error, using=using)
    return row


def _release_held(pks: Collection[int], *, at: datetime, using: str) -> None:
    """Let what was held for these accounts be withdrawn, beside their newest grants."""
    held = Revocation.objects.using(using).filter(held_for__in=pks, outcome=Outcome.HELD)
    held.update(outcome=Outcome.PENDING, held_for=None, created_at=at, next_attempt_at=at)


def _store(rows: list[Revocation], *, at: datetime, using: str | None = None) -> None:
    """Put rows into the outbox. One that it does not take is given up."""
    lost = "revocation provider=" + ",".join(sorted({row.provider for row in rows}))
    for row in insert_all_apart(rows, f"{lost}; the grant lives on there", using=using):
        row.outcome, row.last_error = Outcome.GIVEN_UP, NOT_STORED
        row.next_attempt_at, row.finished_at = None, at


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
        rows.transition(generation=F("generation") + 1, **LEASE_RELEASED)
        found = list(rows.current().with_token().select_related("user"))
        copies = LedgerEntry.objects.close(found)
        _release_held(pks, at=now, using=router.db_for_write(ConnectedAccount))
        owed = [
            _owed(row.token, at=now, **{name: getattr(row, name) for name in _COPIED})
            for row in found
            if row.token is not None and row.pk not in copies
        ]
        _store(owed, at=now)
        events = [Event.about(Kind.DISCONNECTED, row, at=now) for row in found]
        ended = [row for row in owed if row.outcome == Outcome.GIVEN_UP]
        events += [Event.about(Kind.GIVEN_UP, row, at=now, detail=row.last_error) for row in ended]
        insert_all_apart(events, "events kind=disconnected")
        going = rows.current()
        going.is_queued_for_revocation = True
        going.delete()
        for row in found:
            _announce_after_commit(row, router.db_for_write(ConnectedAccount))
    return len(pks)


def take_replaced(owner: str, provider: str, subject: str) -> ConnectedAccount | None:
    """Before a new grant takes the place of an old one: lock the account, fenced off from a refresh
    that is under way, and return it with the old grant; None where there is none.

    To be called inside the transaction that stores the new grant.
    """
    same = ConnectedAccount.objects.filter(
        owner_key=owner, provider=provider, subject_digest=subject_digest(subject)
    )
    if not same.transition(generation=F("generation") + 1, **LEASE_RELEASED):
        return None
    old: ConnectedAccount = same.current().with_token().get()
    old.is_original = old.pk not in LedgerEntry.objects.close([old])
    return old


def hold_replaced(old: ConnectedAccount, *, at: datetime) -> None:
    """Keep a grant, sealed, whose account has a new one by now, until that is disconnected.

    To withdraw it at once could end the newer one as well: at some servers all grants of a browser
    session are one, at others each stands for itself. At the disconnect both are withdrawn.
    """
    if is_sealed(old.token) and old.is_original:
        copied = {name: getattr(old, name) for name in _COPIED}
        _queue(old.token, at=at, held_for=old.pk, cause=Cause.REPLACED, **copied)


def revoke_orphan(
    provider: Provider,
    endpoints: Endpoints | str,
    about: AuthorizationRequest | ConnectedAccount,
    document: SecretFields,
    *,
    subject: str,
    at: datetime,
    other_subjects: Collection[str] = (),
) -> None:
    """Queue a grant for revocation that was given to us but is stored nowhere. ``endpoints`` are
    those it came from, or their token fingerprint.

    Where its owner has this account, it is held until that is disconnected: both could be one.
    Where anybody has it, and the provider withdraws everything that a person allowed the site at
    once, nothing is withdrawn: their accounts must go on working. It becomes a matter of who began
    the authorization, not of their team: it may be an account of their own. ``other_subjects`` are
    other spellings of ``subject``.
    """
    begun_by = about.user if isinstance(about, AuthorizationRequest) else None
    same = ConnectedAccount.objects.current().at(provider.alias)
    same = same.filter(subject_digest__in=[*map(subject_digest, (subject, *other_subjects))])
    if provider.revokes_whole_authorization and same.exists():
        return
    own_rows = same.for_owner(about.owner_key)
    if isinstance(about, ConnectedAccount):  # its row may be the past, which somebody brought back
        own_rows = own_rows.exclude(seal_id=about.seal_id)
    own = own_rows.values_list("pk", flat=True).first()
    if isinstance(about, AuthorizationRequest) and not subject:
        own = about.account_id  # it was to be connected again, and is likely the one
    made_at = endpoints if isinstance(endpoints, str) else endpoints.token_fingerprint()
    whose = owner_key(begun_by) if begun_by is not None else about.owner_key
    facts = {
        "seal_id": uuid.uuid4(),
        "provider": provider.alias,
        "owner_key": retired_key(whose) if is_deleted(whose) else whose,
        "subject": subject,
        "client_id": about.client_id,
        "endpoint_fingerprint": made_at,
        "inputs": about.inputs,
        "host": provider.bound(inputs=about.inputs).host,
    }
    sealed = seal_document(document, Revocation(**facts))
    _queue(sealed, at=at, held_for=own, cause=Cause.UNUSED, **facts)
