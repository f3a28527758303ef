"""The connected account, and every transition of it. The ``mark_…`` methods are the only writers of
``status``; each is one conditional UPDATE that says whether it won."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from connected_accounts import security
from connected_accounts.database.functions import digest
from connected_accounts.exceptions import Undecryptable
from connected_accounts.models.choices import Reason, Status
from connected_accounts.models.history import Event, Kind, Revocation
from connected_accounts.models.lease import AFTER_SUCCESS, LEASE_RELEASED
from connected_accounts.models.querysets import TokenlessManager
from connected_accounts.owners import owner_key
from connected_accounts.sealing import SealedTextField, open_document


class ConnectedAccount(models.Model):
    """One person's (or a team's, or the site's) grant at one provider, with its sealed tokens."""

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
    # The first of the definite refusals since the last success.
    refused_since = models.DateTimeField(null=True, editable=False)

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
    # Set before it is deleted: by whom, where that is not its owner.
    deleted_by: str = ""

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
        indexes = (
            models.Index(fields=["provider", "refresh_at"], name="connected_accounts_due"),
            # For the figures of connections_status and the admin, counted in the index alone.
            models.Index(
                fields=["provider", "status", "failure_count"], name="connected_accounts_health"
            ),
        )

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
        return self._transition(status=Status.ACTIVE, **AFTER_SUCCESS, **values)

    def mark_failed(
        self,
        error: str,
        *,
        retry_at: datetime | None,
        attempt_started_at: datetime | None,
        refused_since: datetime | None = None,
    ) -> bool:
        """Note a failure that will be tried again; without an ``attempt_started_at`` nothing was
        spent. ``refused_since``: it was a definite refusal, the first of them then."""
        return self._transition(
            failure_count=self.failure_count + 1,
            last_error=error[:64],
            refresh_at=retry_at,
            attempt_started_at=attempt_started_at,
            refused_since=refused_since or self.refused_since,
        )

    def mark_reconnect_required(self, reason: Reason, *, retry_at: datetime | None = None) -> bool:
        """End the grant: the person must connect again. Never retried, but for a refusal without a
        reason, which may end by itself: that at ``retry_at``."""
        return self._transition(
            status=Status.RECONNECT_REQUIRED,
            reason=reason,
            last_error=reason.value,
            refresh_at=retry_at,
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
        values |= LEASE_RELEASED
        won = bool(ConnectedAccount.objects.filter(**self.fence()).update(**values) == 1)
        if won:
            self.take_over(values)
        return won
