"""The connected account, and every transition of it. The ``mark_…`` methods are the only writers of
``status``; each is one conditional UPDATE that says whether it won."""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import IntegrityError, models, router, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from connected_accounts.fields import SealedTextField, open_document
from connected_accounts.history import Event, Kind, Revocation

SITE_OWNER: Final = "site"


def digest(text: str) -> str:
    """SHA-256 of ``text`` in hex: the same length and collation on every database."""
    return hashlib.sha256(text.encode()).hexdigest()


def owner_key(user: Any) -> str:
    """The text that stands for an owner in unique constraints, where a NULL would not collide."""
    return SITE_OWNER if user is None else f"user:{user.pk}"


class DatabaseNow(Now):
    """The database's clock; on MySQL and MariaDB in UTC, whatever the connection's time zone."""

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)


class Status(models.TextChoices):
    ACTIVE = "active", _("connected")
    RECONNECT_REQUIRED = "reconnect_required", _("needs to be connected again")


class Reason(models.TextChoices):
    REVOKED = "revoked", _("the permission was withdrawn at the service")
    ROTATION_LOST = "rotation_lost", _("an answer of the service was lost on its way")
    REFRESH_TOKEN_EXPIRED = "refresh_token_expired", _("the permission has run out")
    IDENTITY_CHANGED = "identity_changed", _("the service answered for another account")
    ENDPOINTS_CHANGED = "endpoints_changed", _("the address of the service was changed")
    CREDENTIALS_REJECTED = "credentials_rejected", _("the credentials no longer work")


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

    def with_owner_state(self) -> Self:
        """``owner_is_active`` is read too; an account of the site's own counts as active."""
        try:
            get_user_model()._meta.get_field("is_active")
        except FieldDoesNotExist:
            return self  # a user model of the site's that knows no such thing
        return self.annotate(owner_is_active=Coalesce("user__is_active", models.Value(True)))

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

    def mark_connected(
        self, *, user: Any, owner: str, provider: str, subject: str, values: dict[str, Any]
    ) -> "tuple[ConnectedAccount, bool]":
        """Create the account of an owner, or put a new grant into it; return it and whether it is
        new. The new generation makes a refresh in flight come too late."""
        values = {
            **values,
            **LEASE_RELEASED,
            "subject": subject,
            "status": Status.ACTIVE,
            "reason": "",
            "failure_count": 0,
            "last_error": "",
            "refreshed_at": None,
            "attempt_started_at": None,
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


FREE: Final = Q(lease_until__isnull=True) | Q(lease_until__lt=DatabaseNow())

LEASE_RELEASED: Final[dict[str, Any]] = {"lease_holder": None, "lease_until": None}


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

    # Read by ``with_owner_state()``.
    owner_is_active: bool = True
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
        return open_document(self.token, self.seal_id)

    @property
    def needs_reconnect(self) -> bool:
        return self.status == Status.RECONNECT_REQUIRED

    # Transitions. ``_held`` is the fence: it holds only while nobody took the row from us.

    def _held(self) -> ConnectedAccountQuerySet:
        held: ConnectedAccountQuerySet = ConnectedAccount.objects.filter(
            pk=self.pk, generation=self.generation, lease_holder=self.lease_holder
        )
        return held

    def mark_refreshed(self, **values: Any) -> bool:
        """Store a refreshed grant and release the lease. False: the row is no longer ours."""
        return self._transition(
            status=Status.ACTIVE,
            reason="",
            failure_count=0,
            last_error="",
            attempt_started_at=None,
            **values,
        )

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

    def release(self, *, attempt_started_at: datetime | None, **values: Any) -> bool:
        """Give the lease back without an attempt having been made."""
        return self._transition(attempt_started_at=attempt_started_at, **values)

    def mark_undecryptable(self, code: str, *, at: datetime) -> bool:
        """Note, once, that the token does not open. The status stays: a key that comes back heals
        the row."""
        rows = ConnectedAccount.objects.filter(pk=self.pk).exclude(last_error="undecryptable")
        if not rows.update(last_error="undecryptable"):
            return False
        Event.record(Kind.UNDECRYPTABLE, self, at=at, detail=code)
        return True

    def _transition(self, **values: Any) -> bool:
        won = self._held().update(**values, **LEASE_RELEASED) == 1
        if won:
            for name, value in (values | LEASE_RELEASED).items():
                setattr(self, name, value)
        return won
