"""Rows that outlive an account: revocations still owed to a provider, and the events people read.

Both keep copies of what they are about, because the account and even its owner may be gone.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from connected_accounts import security
from connected_accounts.database.fields import ExactCharField
from connected_accounts.database.functions import subject_digest
from connected_accounts.database.inserts import insert_all_apart, insert_apart
from connected_accounts.database.new_rows import insert_one
from connected_accounts.models.managers import PrimaryManager
from connected_accounts.sealing import SealedTextField
from connected_accounts.security import one_line


def display_name(label: str, inputs: Any) -> str:
    """The account at the provider, and which host, account or server a person chose there,
    unless the label says that already. ``inputs`` are what was entered before connecting."""
    label = one_line(label)  # rows of the site's own making may hold anything
    entered = inputs.values() if isinstance(inputs, dict) else ()
    chosen = dict.fromkeys(text for text in entered if isinstance(text, str))
    places = [one_line(text) for text in chosen if text.rpartition("://")[2] not in label]
    return f"{label} ({', '.join(places)})" if places else label


class About(Protocol):
    """The fields that an event copies, of an account or a revocation."""

    provider: str
    owner_key: str
    subject: str

    @property
    def display_name(self) -> str: ...


class Cause(models.TextChoices):
    """Why a grant is to be withdrawn."""

    DISCONNECTED = "disconnected", _("the account was disconnected")
    REPLACED = "replaced", _("a newer grant took its place")
    UNUSED = "unused", _("no account was made with it")


class Outcome(models.TextChoices):
    """The fate of a revocation. ``HELD``: it waits until its account is disconnected, since at
    some providers all grants of a person are one."""

    HELD = "held", _("is kept until the account is disconnected")
    PENDING = "pending", _("is being withdrawn")
    REVOKED = "revoked", _("withdrawn")
    ALREADY_GONE = "already_gone", _("was gone already")
    UNCONFIRMED = "unconfirmed", _("was asked for, and is not confirmed by the service")
    UNSUPPORTED = "unsupported", _("cannot be withdrawn from here")
    GIVEN_UP = "given_up", _("could not be withdrawn")


class RevocationQuerySet(models.QuerySet["Revocation"]):
    def due(self, now: datetime) -> Self:
        """The revocations to be tried: those pending, and once a day the remainder that was given
        up."""
        return self.filter(
            outcome__in=(Outcome.PENDING, Outcome.GIVEN_UP), next_attempt_at__lte=now
        )


class Revocation(models.Model):
    """The outbox: one grant to be withdrawn at its provider, until that is true."""

    provider = ExactCharField(_("provider"), max_length=64)
    owner_key = models.CharField(max_length=128, db_index=True)
    subject = models.TextField(_("subject"))
    label = models.CharField(_("label"), max_length=255, blank=True)
    client_id = ExactCharField(max_length=255)
    endpoint_fingerprint = models.CharField(max_length=64)
    inputs = models.JSONField(default=dict)
    host = ExactCharField(_("host"), max_length=255, blank=True)
    token = SealedTextField(null=True)
    seal_id = models.UUIDField()
    created_at = models.DateTimeField(_("created at"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    cause = models.CharField(
        _("cause"), max_length=32, choices=Cause.choices, default=Cause.DISCONNECTED
    )
    # While it is HELD: the account, by its key, at whose disconnect it is to be withdrawn.
    held_for = models.BigIntegerField(null=True, db_index=True, editable=False)
    outcome = models.CharField(
        _("outcome"), max_length=32, choices=Outcome.choices, default=Outcome.PENDING
    )
    finished_at = models.DateTimeField(_("finished at"), null=True)
    last_error = models.CharField(_("last error"), max_length=64, blank=True)

    objects = PrimaryManager.from_queryset(RevocationQuerySet)()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")
        indexes = (
            models.Index(fields=["outcome", "next_attempt_at"], name="connected_accounts_outbox"),
        )

    def __str__(self) -> str:
        return f"{self.provider}: {self.display_name}"

    @property
    def subject_digest(self) -> str:
        return subject_digest(self.subject)

    @property
    def display_name(self) -> str:
        """Which account it is, for people."""
        return display_name(self.label or self.subject, self.inputs)


class Kind(models.TextChoices):
    """The kind of an event."""

    CONNECTED = "connected", _("connected")
    RECONNECTED = "reconnected", _("connected again")
    SCOPES_CHANGED = "scopes_changed", _("permissions changed")
    REFRESH_FAILED = "refresh_failed", _("refresh failed")
    RECONNECT_REQUIRED = "reconnect_required", _("must be connected again")
    UNDECRYPTABLE = "undecryptable", _("the stored token cannot be opened")
    CLIENT_REGISTERED = "client_registered", _("registered as a client")
    CLIENT_REJECTED = "client_rejected", _("the site's credentials were rejected")
    DISCONNECTED = "disconnected", _("disconnected")
    REVOKED = "revoked", _("asked the service to withdraw the permission")
    GIVEN_UP = "given_up", _("permission could not be withdrawn")
    REFUSED = "refused", _("an authorization was refused")
    CONNECT_FAILED = "connect_failed", _("an attempt to connect failed")
    MOVED = "moved", _("given to another owner")


class Event(models.Model):
    """One event of an account, with its time and reason. Own copies; no secret; kept for a
    while."""

    at = models.DateTimeField(_("at"), db_index=True)
    kind = models.CharField(_("kind"), max_length=32, choices=Kind.choices)
    provider = ExactCharField(_("provider"), max_length=64)
    owner_key = models.CharField(max_length=128, db_index=True)
    subject = models.TextField(_("subject"), blank=True)
    label = models.CharField(_("label"), max_length=255, blank=True)
    detail = models.CharField(_("detail"), max_length=255, blank=True)
    # What a page of failure shows in small print, for whoever is asked about it.
    reference = models.CharField(_("reference"), max_length=16, blank=True, db_index=True)

    objects = PrimaryManager["Event"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.provider}: {self.get_kind_display()}"

    @classmethod
    def about(cls, kind: Kind, about: About, *, at: datetime, detail: str = "") -> "Event":
        """An event, not stored yet, with copies of what it is about."""
        return cls(**cls.columns_about(kind, about, at=at, detail=detail))

    @staticmethod
    def columns_about(
        kind: Kind, about: "About | None", *, at: datetime, detail: str = ""
    ) -> dict[str, Any]:
        """The columns of an event, with copies of what it is about."""
        return {
            "kind": kind,
            "at": at,
            "detail": detail[:255],
            "provider": about.provider if about else "",
            "owner_key": about.owner_key if about else "",
            "subject": about.subject if about else "",
            "label": about.display_name[:255] if about else "",
            "reference": "",
        }

    @classmethod
    def record(
        cls,
        kind: Kind,
        about: "About | None" = None,
        *,
        at: datetime,
        detail: str = "",
        provider: str = "",
        owner: str = "",
        reference: str = "",
        using: str | None = None,
    ) -> None:
        """Write one event, copying what it is about. It never fails what it tells of: an event that
        cannot be stored is told of in the log."""
        values = cls.columns_about(kind, about, at=at, detail=detail)
        if about is None:
            values |= {"provider": provider, "owner_key": owner}
        values["reference"] = reference
        told = f"event kind={kind} provider={values['provider']}"
        insert_apart(cls, lambda: insert_one(cls, values, using=using), told, using=using)

    @staticmethod
    def record_moves(
        rows: Sequence[About], key: str, *, by: str = "", using: str | None = None
    ) -> None:
        """Write that accounts were given to the owner ``key``: once for them, once for whose they
        were. ``by`` is the key of who did it, where that is neither."""
        now = timezone.now()
        events = [Event.about(Kind.MOVED, row, at=now, detail=by) for row in rows]
        theirs = [Event.about(Kind.MOVED, row, at=now, detail=by) for row in rows]
        for event in theirs:
            event.owner_key = key
        insert_all_apart(events + theirs, "events kind=moved", using=using)


def record_undecryptable(
    code: str, about: About | None = None, *, at: datetime, provider: str = "", owner: str = ""
) -> None:
    """Say that a sealed value does not open, both in the security log and in an event."""
    security.log(
        security.SecurityEvent.UNDECRYPTABLE,
        provider=about.provider if about else provider,
        owner=about.owner_key if about else owner,
        reason=code,
    )
    Event.record(Kind.UNDECRYPTABLE, about, at=at, detail=code, provider=provider, owner=owner)
