"""Accounts, many at a time: what is asked for, the lease, and the transitions of whole sets."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import IntegrityError, models, router, transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from connected_accounts.database.functions import DatabaseNow, digest
from connected_accounts.database.statements import update_all, update_one
from connected_accounts.models.choices import Reason, Status
from connected_accounts.models.lease import AFTER_SUCCESS, LEASE_IS_FREE
from connected_accounts.models.managers import PrimaryManager
from connected_accounts.owners import owner_key, owners_of

if TYPE_CHECKING:
    from connected_accounts.models.accounts import ConnectedAccount


def owner_state() -> dict[str, str]:
    """Where to read ``owner_is_active``; empty for a user model that knows no such thing."""
    try:
        get_user_model()._meta.get_field("is_active")
    except FieldDoesNotExist:
        return {}
    return {"owner_is_active": "user__is_active"}


class ConnectedAccountQuerySet(models.QuerySet["ConnectedAccount"]):
    is_queued_for_revocation = False  # what it deletes has its Revocation already

    def for_user(self, user: Any) -> Self:
        """The accounts of one user; of the site itself for None; nobody's for an anonymous one."""
        if user is not None and user.pk is None:
            return self.none()
        return self.filter(owner_key=owner_key(user))

    def for_owner(self, key: str) -> Self:
        """The accounts of one owner, by its key, such as ``team:7``; whoever asks."""
        return self.filter(owner_key=key)

    def visible_to(self, user: Any) -> Self:
        """A user's own accounts, and those of the owners that the site's ``OWNERS`` names for it.
        To see one is not to be allowed anything with it: see ``usable_by``."""
        return self.filter(owner_key__in=list(owners_of(user)))

    def usable_by(self, user: Any) -> Self:
        """Of those, the ones whose tokens the user may have used."""
        usable = [owner.key for owner in owners_of(user).values() if owner.may_use]
        return self.filter(owner_key__in=usable)

    def at(self, provider: str) -> Self:
        return self.filter(provider=provider)

    def active(self) -> Self:
        return self.filter(status=Status.ACTIVE)

    def due_for_refresh(self, now: datetime) -> Self:
        """Active accounts whose refresh is due and in nobody's hands, oldest due first."""
        return (
            self.active().filter(refresh_at__lte=now).filter(LEASE_IS_FREE).order_by("refresh_at")
        )

    def current(self) -> Self:
        """From the database that is written to: a replica may still hold what was spent."""
        return self.using(router.db_for_write(self.model))

    def with_token(self) -> Self:
        """Load the sealed token too, which lists and cascades leave in the database."""
        return self.defer(None)

    def with_owner_state(self) -> Self:
        """``owner_is_active`` is read too; an account of the site's own counts as active."""
        known = {n: Coalesce(path, models.Value(True)) for n, path in owner_state().items()}
        return self.annotate(**known)

    def claim(self, pks: Iterable[int], *, holder: uuid.UUID, seconds: float, now: datetime) -> int:
        """Take the lease of those that are active and free; return how many were taken.

        ``attempt_started_at`` keeps the start of an earlier attempt whose answer is unknown: a
        value older than ``now`` after the claim means that the token may have been spent already.
        Lease times are the database's clock, so that workers' clocks may differ.
        """
        return (
            self.active()
            .filter(LEASE_IS_FREE, pk__in=list(pks))
            .update(
                lease_holder=holder,
                lease_until=DatabaseNow() + timedelta(seconds=seconds),
                generation=F("generation") + 1,
                attempt_started_at=Coalesce(
                    "attempt_started_at", models.Value(now, models.DateTimeField())
                ),
            )
        )

    def mark_unresolved(self, *, since: datetime) -> int:
        """Note that the refresh token of each may have been spent; return how many they are."""
        self.filter(attempt_started_at__isnull=True).update(attempt_started_at=since)
        return self.count()

    def mark_connected(
        self, *, user: Any, owner: str, provider: str, subject: str, values: dict[str, Any]
    ) -> "tuple[ConnectedAccount, bool]":
        """Create the account of an owner, or put a new grant into it; return it and whether it is
        new. The new generation makes a refresh in flight come too late."""
        values = {
            **values,
            **AFTER_SUCCESS,
            "subject": subject,
            "status": Status.ACTIVE,
            "refreshed_at": None,
        }
        one = {"owner_key": owner, "provider": provider, "subject_digest": digest(subject)}
        same = self.filter(**one)
        if update_one(self.model, values, one, increment="generation"):
            return same.current().get(), False
        try:
            with transaction.atomic():
                row = self.create(user=user, owner_key=owner, provider=provider, **values)
            return row, True
        except IntegrityError:
            # Another tab of the same person was faster; at REPEATABLE READ its row is not seen.
            if not update_one(self.model, values, one, increment="generation"):
                raise
        return same.current().get(), False

    def mark_imported(self, rows: "Sequence[ConnectedAccount]") -> "list[ConnectedAccount]":
        """Store accounts that another package had; return those that were. One that is there by now
        stays as it is."""
        for row in rows:
            row.pk, row._state.adding = None, True  # a try before this one may have been undone
        try:
            with transaction.atomic(using=router.db_for_write(self.model)):
                return list(self.bulk_create(rows))
        except IntegrityError:
            return [row for row in rows if self._insert_if_new(row)]

    def _insert_if_new(self, row: "ConnectedAccount") -> bool:
        row.pk, row._state.adding = None, True
        try:
            with transaction.atomic(using=router.db_for_write(self.model)):
                row.save(force_insert=True)
        except IntegrityError:
            return False
        return True

    def mark_all_refreshed(
        self, grants: "Sequence[tuple[ConnectedAccount, dict[str, Any]]]"
    ) -> bool:
        """``mark_refreshed`` for several accounts in one transaction: all of them, or none where
        one is no longer ours. The same columns for each."""
        rows = [
            ({"status": Status.ACTIVE, **AFTER_SUCCESS, **values}, row) for row, values in grants
        ]
        won = update_all(self.model, [(values, row.fence()) for values, row in rows])
        for values, row in rows if won else ():
            row.take_over(values)
        return won

    def mark_endpoints_confirmed(self, before: str, after: str, *, now: datetime) -> int:
        """Let tokens go to other hosts, as an operator said. What had ended for it is due again."""
        known = self.filter(endpoint_fingerprint=before)
        ended = known.filter(reason=Reason.ENDPOINTS_CHANGED).update(
            endpoint_fingerprint=after,
            status=Status.ACTIVE,
            reason="",
            last_error="",
            failure_count=0,
            refresh_at=now,
        )
        return ended + known.active().update(endpoint_fingerprint=after)


if TYPE_CHECKING:
    # What from_queryset makes, in words that every type checker reads.
    class _FromQuerySet(ConnectedAccountQuerySet, PrimaryManager["ConnectedAccount"]):  # type: ignore[misc]
        pass

else:
    _FromQuerySet = PrimaryManager.from_queryset(ConnectedAccountQuerySet)


class TokenlessManager(_FromQuerySet):
    """Leaves the sealed token in the database, so that nothing opens or copies it by accident."""

    def get_queryset(self) -> ConnectedAccountQuerySet:
        return cast("ConnectedAccountQuerySet", super().get_queryset()).defer("token")
