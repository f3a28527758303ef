"""Started authorizations, and what is stored for each provider alias: its state and its clients."""

import uuid
from collections.abc import Iterable
from typing import Any, Final, Self

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Q
from django.utils.translation import gettext_lazy as _

from connected_accounts.database.fields import ExactCharField
from connected_accounts.database.functions import DatabaseNow
from connected_accounts.models.accounts import ConnectedAccount
from connected_accounts.models.managers import PrimaryManager
from connected_accounts.owners import SITE_OWNER
from connected_accounts.sealing import SealedTextField, facts_digest, seal, unseal
from connected_accounts.secret import Sealed, Secret

CLIENT_PURPOSE: Final = "connected_accounts.client_secret"


class AuthorizationRequest(models.Model):
    """One started authorization: what the callback must match, once."""

    nonce_digest = models.CharField(max_length=64, unique=True)
    # Who is at it. The owner is the site where owner_key says so, and nobody's where this is null.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    owner_key = models.CharField(max_length=128)
    provider = ExactCharField(max_length=64)
    client_id = ExactCharField(max_length=255)
    endpoint_fingerprint = models.CharField(max_length=64)
    code_verifier = SealedTextField(null=True)
    dpop_key = SealedTextField(null=True)  # the key that the grant is to be bound to
    oidc_nonce = models.CharField(max_length=64, blank=True)
    redirect_uri = models.TextField()
    next = models.TextField(blank=True)
    scopes = models.JSONField(default=list)  # wanted
    scopes_requested = models.JSONField(default=list)  # of these, what was sent
    inputs = models.JSONField(default=dict)
    browser_digest = models.CharField(max_length=64)
    account = models.ForeignKey(
        ConnectedAccount, null=True, on_delete=models.CASCADE, related_name="+"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    consumed_at = models.DateTimeField(null=True)

    # False: when it was consumed, no stored client had its client id.
    names_stored_client: bool = True
    # False: when it was consumed, the database had no name.
    is_in_named_database: bool = True

    objects = PrimaryManager["AuthorizationRequest"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("authorization request")
        verbose_name_plural = _("authorization requests")

    def __str__(self) -> str:
        return f"{self.provider} ({self.created_at})"


class ProviderState(models.Model):
    """The state that all workers share about one provider alias, or about one of its many hosts."""

    provider = ExactCharField(_("provider"), max_length=64)
    host = ExactCharField(_("host"), max_length=255, blank=True)  # empty: it has one
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = models.CharField(_("pause reason"), max_length=64, blank=True)
    failures_in_a_row = models.PositiveIntegerField(default=0)
    # The account for which the site's client was refused last, with no success of anybody since.
    rejected_account = models.PositiveBigIntegerField(null=True, editable=False)
    served_at = models.DateTimeField(null=True, editable=False)  # the last success, to the minute
    next_request_at = models.DateTimeField(null=True, editable=False)
    # When it last took no more requests for a while that it named.
    throttled_at = models.DateTimeField(null=True, editable=False)
    # Before this no row was due lately, and when all rows were looked at for it: ``refresh.due``.
    due_from = models.DateTimeField(null=True, editable=False)
    due_from_at = models.DateTimeField(null=True, editable=False)
    # One process at a time registers the site as a client (RFC 7591).
    registering_until = models.DateTimeField(null=True, editable=False)

    objects = PrimaryManager["ProviderState"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("provider state")
        verbose_name_plural = _("provider states")
        constraints = (
            models.UniqueConstraint(
                fields=["provider", "host"], name="connected_accounts_one_state_a_host"
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider}: {self.host}" if self.host else self.provider


class ProviderClientQuerySet(models.QuerySet["ProviderClient"]):
    def entered(self) -> Self:
        """The clients that an admin entered for the site, at any host."""
        return self.filter(owner_key=SITE_OWNER, metadata={})

    def copy_to_owner(self, accounts: Iterable[ConnectedAccount], key: str) -> None:
        """Let the owner ``key`` have the credentials of their own that these accounts were made
        with: no account is renewed with another person's."""
        made_with = {(row.provider, row.host, row.client_id, row.owner_key) for row in accounts}
        for provider, host, client_id, before in made_with:
            same = self.filter(provider=provider, host=host, client_id=client_id)
            if before == SITE_OWNER or same.filter(owner_key=key).exists():
                continue
            for row in same.filter(owner_key=before):
                secret = row.open_secret()
                row.pk, row.owner_key, row._state.adding = None, key, True
                row.client_secret = row.sealed(secret)  # type: ignore[assignment]
                row.save(force_insert=True, using=self.db)

    def in_use(self, provider: str | OuterRef, *, host: str | OuterRef = "") -> Self:
        """The site's own at one host that may serve new connections, newest first."""
        good = Q(secret_expires_at__isnull=True) | Q(secret_expires_at__gt=DatabaseNow())
        own = self.filter(provider=provider, owner_key=SITE_OWNER, host=host)
        return own.filter(good, retired_at__isnull=True).order_by("-pk")


class ProviderClient(models.Model):
    """Client credentials obtained or entered at run time, secret sealed for ``seal_id``.

    ``metadata`` is what a provider answered to a registration (RFC 7591), without the secret;
    ``retired_at`` says that nothing new is made with it; ``refused_at`` when the provider last did
    not accept it.
    """

    provider = ExactCharField(_("provider"), max_length=64)
    host = ExactCharField(_("host"), max_length=255, blank=True)
    owner_key = models.CharField(max_length=128, default=SITE_OWNER)
    client_id = ExactCharField(_("client id"), max_length=255)
    client_secret = SealedTextField(null=True)
    seal_id = models.UUIDField(default=uuid.uuid4, editable=False)
    metadata = models.JSONField(default=dict)
    secret_expires_at = models.DateTimeField(_("secret expires at"), null=True)
    created_at = models.DateTimeField(_("created at"))
    retired_at = models.DateTimeField(_("retired at"), null=True)
    refused_at = models.DateTimeField(_("refused at"), null=True)

    objects = PrimaryManager.from_queryset(ProviderClientQuerySet)()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("provider client")
        verbose_name_plural = _("provider clients")
        indexes = (
            models.Index(fields=["provider", "client_id"], name="connected_accounts_clients"),
        )

    def __str__(self) -> str:
        return f"{self.provider}: {self.client_id}"

    def sealed(self, secret: Secret) -> Sealed:
        """The secret for the column of this row, bound to whose it is and where it may be sent."""
        return seal(secret.reveal(), purpose=CLIENT_PURPOSE, bound_to=self._binding())

    def open_secret(self) -> Secret:
        """Decrypt the secret; empty for a public client. Raises Undecryptable."""
        sealed: Any = self.client_secret
        if sealed is None:
            return Secret("")
        return Secret(unseal(sealed, purpose=CLIENT_PURPOSE, bound_to=self._binding()))

    def _binding(self) -> str:
        return facts_digest(self.seal_id, self.owner_key, self.provider, self.host, self.client_id)

    @property
    def registered(self) -> bool:
        """Whether the provider gave it to us by dynamic registration."""
        return bool(self.metadata)


# For a statement that is written out: the stored clients that a request may name.
STORED_CLIENT: Final = (ProviderClient, "client_id", (("provider", "provider"),))
