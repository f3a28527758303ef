"""The connected account, and every transition of it. The ``mark_…`` methods are the only writers of
``status``; each is one conditional UPDATE that says whether it won."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings
from django.db import IntegrityError, models, router, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from connected_accounts import security
from connected_accounts.bulk import update_all
from connected_accounts.exceptions import Undecryptable
from connected_accounts.fields import SealedTextField, open_document
from connected_accounts.history import Revocation
from connected_accounts.terms import (
    SITE_OWNER,
    DatabaseNow,
    Reason,
    Status,
    digest,
    owner_key,
)

__all__ = [
    "LEASE_RELEASED",
    "SITE_OWNER",
    "ConnectedAccount",
    "DatabaseNow",
    "Reason",
    "Status",
    "digest",
    "owner_key",
]


class ConnectedAccountQuerySet(models.QuerySet["ConnectedAccount"]):
    def for_user(self, user: Any) -> Self:
        """The accounts of one user; of the site itself for None; nobody's for an anonymous one."""
        if user is not None and user.pk is None:
            return self.none()
        return self.filter(owner_key=owner_key(user))

    def at(self, provider: str) -> Self:
        return self.filter(provider=provider)

    def active(self) -> Self:
        return self.filter(status=Status.ACTIVE)

    def due_for_refresh(self, now: datetime) -> Self:
        """Active accounts whose refresh is due and in nobody's hands, oldest due first."""
        return self.active().filter(refresh_at__lte=now).filter(FREE).order_by("refresh_at")

    def current(self) -> Self:
        """From the database that is written to: a replica may still hold what was spent."""
        return self.using(router.db_for_write(self.model))

    def with_token(self) -> Self:
        """Load the sealed token too, which lists and cascades leave in the database."""
        return self.defer(None)

    def claim(self, pks: Iterable[int], *, holder: uuid.UUID, seconds: float, now: datetime) -> int:
        """Take the lease of those that are active and free; return how many were taken.

        ``attempt_started_at`` keeps the start of an earlier attempt whose answer is unknown: a
        value older than ``now`` after the claim means that the token may have been spent already.
        Lease times are the database's clock, so that workers' clocks may differ.
        """
        return (
            self.active()
            .filter(FREE, pk__in=list(pks))
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
            **SETTLED,
            "subject": subject,
            "status": Status.ACTIVE,
            "refreshed_at": None,
        }
        same = self.filter(owner_key=owner, provider=provider, subject_digest=digest(subject))
        swap = {**values, "generation": F("generation") + 1}
        if same.update(**swap):
            return same.current().get(), False
        try:
            with transaction.atomic():
                row = self.create(user=user, owner_key=owner, provider=provider, **values)
            return row, True
        except IntegrityError:
            # Another tab of the same person was faster; at REPEATABLE READ its row is not seen.
            if not same.update(**swap):
                raise
        return same.current().get(), False

    def mark_all_refreshed(
        self, grants: "Sequence[tuple[ConnectedAccount, dict[str, Any]]]"
    ) -> bool:
        """``mark_refreshed`` for several accounts in one transaction: all of them, or none where
        one is no longer ours. The same columns for each."""
        rows = [({"status": Status.ACTIVE, **SETTLED, **values}, row) for row, values in grants]
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


FREE: Final = Q(lease_until__isnull=True) | Q(lease_until__lt=DatabaseNow())

LEASE_RELEASED: Final[dict[str, Any]] = {"lease_holder": None, "lease_until": None}
# What an attempt leaves behind that went well, besides the status.
SETTLED: Final[dict[str, Any]] = {
    **LEASE_RELEASED,
    "reason": "",
    "failure_count": 0,
    "last_error": "",
    "attempt_started_at": None,
}


class TokenlessManager(models.Manager.from_queryset(ConnectedAccountQuerySet)):  # type: ignore[misc]
    """Leaves the sealed token in the database, so that nothing opens or copies it by accident."""

    def get_queryset(self) -> ConnectedAccountQuerySet:
        return super().get_queryset().defer("token")  # type: ignore[no-any-return]


class ConnectedAccount(models.Model):
    """One person's (or the site's) grant at one provider, with its sealed tokens."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="connected_accounts",
        verbose_name=_("user"),
    )
    owner_key = models.CharField(max_length=128, editable=False)
    provider = models.CharField(_("provider"), max_length=64)
    subject = models.TextField(_("subject"))
    subject_digest = models.CharField(max_length=64, editable=False)
    label = models.CharField(_("label"), max_length=255, blank=True)

    status = models.CharField(
        _("status"), max_length=32, choices=Status.choices, default=Status.ACTIVE
    )
    reason = models.CharField(_("reason"), max_length=32, choices=Reason.choices, blank=True)
    scopes_requested = models.JSONField(_("scopes requested"), default=list)
    scopes_granted = models.JSONField(_("scopes granted"), default=list)

    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    refresh_token_expires_at = models.DateTimeField(null=True, blank=True)
    refresh_at = models.DateTimeField(_("next refresh"), null=True, blank=True)
    refreshed_at = models.DateTimeField(_("last refreshed"), null=True, blank=True)
    connected_at = models.DateTimeField(_("connected at"))
    failure_count = models.PositiveIntegerField(_("failures in a row"), default=0)
    last_error = models.CharField(_("last error"), max_length=64, blank=True)

    token = SealedTextField(null=True)
    seal_id = models.UUIDField(default=uuid.uuid4, editable=False)
    client_id = models.CharField(max_length=255, editable=False)
    endpoint_fingerprint = models.CharField(max_length=64, editable=False)
    inputs = models.JSONField(default=dict, editable=False)

    generation = models.PositiveBigIntegerField(default=0, editable=False)
    lease_holder = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    attempt_started_at = models.DateTimeField(null=True, editable=False)

    objects = TokenlessManager()

    # Set when the account is deleted: what is owed to the provider.
    revocation: Revocation | None = None

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("connected account")
        verbose_name_plural = _("connected accounts")
        constraints = (
            models.UniqueConstraint(
                fields=["owner_key", "provider", "subject_digest"],
                name="connected_accounts_one_row_per_account",
            ),
        )
        indexes = (models.Index(fields=["provider", "refresh_at"], name="connected_accounts_due"),)

    def __str__(self) -> str:
        return f"{self.provider}: {self.label or self.subject}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.owner_key = self.owner_key or owner_key(self.user if self.user_id else None)
        self.subject_digest = digest(self.subject)
        super().save(*args, **kwargs)

    def open_token(self) -> dict[str, Any]:
        """Decrypt the token document. The only way to it. Raises Undecryptable."""
        try:
            return open_document(self.token, self.seal_id)
        except Undecryptable as error:
            security.log(
                security.SecurityEvent.UNDECRYPTABLE,
                provider=self.provider,
                owner=self.owner_key,
                account=self.pk,
                reason=error.code,
            )
            raise

    @property
    def needs_reconnect(self) -> bool:
        return self.status == Status.RECONNECT_REQUIRED

    # Transitions.

    def fence(self) -> dict[str, Any]:
        """What a row must still be to be written: it holds only while nobody took it from us."""
        return {"id": self.pk, "generation": self.generation, "lease_holder": self.lease_holder}

    def take_over(self, values: Mapping[str, Any]) -> None:
        """Be what was just stored."""
        for name, value in values.items():
            setattr(self, name, value)

    def mark_refreshed(self, **values: Any) -> bool:
        """Store a refreshed grant and release the lease. False: the row is no longer ours."""
        return self._transition(status=Status.ACTIVE, **SETTLED, **values)

    def mark_failed(
        self, error: str, *, retry_at: datetime | None, attempt_started_at: datetime | None
    ) -> bool:
        """Note a failure that will be tried again; without an
        ``attempt_started_at`` nothing was spent."""
        return self._transition(
            failure_count=self.failure_count + 1,
            last_error=error[:64],
            refresh_at=retry_at,
            attempt_started_at=attempt_started_at,
        )

    def mark_reconnect_required(self, reason: Reason) -> bool:
        """End the grant: the person must connect again. Never retried."""
        return self._transition(
            status=Status.RECONNECT_REQUIRED,
            reason=reason,
            last_error=reason.value,
            refresh_at=None,
            attempt_started_at=None,
        )

    def mark_not_renewable(self) -> bool:
        """Note that there is nothing to refresh with; the access token is good to its end."""
        return self._transition(refresh_at=None, attempt_started_at=None)

    def release(self, *, attempt_started_at: datetime | None) -> bool:
        """Give the lease back without an attempt having been made."""
        return self._transition(attempt_started_at=attempt_started_at)

    def _transition(self, **values: Any) -> bool:
        values |= LEASE_RELEASED
        won = bool(ConnectedAccount.objects.filter(**self.fence()).update(**values) == 1)
        if won:
            self.take_over(values)
        return won
