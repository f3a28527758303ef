"""The words that rows are written in: owners, statuses and reasons; and the database's clock."""

import hashlib
from typing import Any, Final

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

SITE_OWNER: Final = "site"
CONNECT_THE_SITE: Final = "connected_accounts.add_connectedaccount"  # the permission


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
    """Whether an account can be used."""

    ACTIVE = "active", _("connected")
    RECONNECT_REQUIRED = "reconnect_required", _("needs to be connected again")


class Reason(models.TextChoices):
    """Why an account must be connected again."""

    REVOKED = "revoked", _("the permission was withdrawn at the service")
    ROTATION_LOST = "rotation_lost", _("an answer of the service was lost on its way")
    REFRESH_TOKEN_EXPIRED = "refresh_token_expired", _("the permission has run out")
    IDENTITY_CHANGED = "identity_changed", _("the service answered for another account")
    ENDPOINTS_CHANGED = "endpoints_changed", _("the address of the service was changed")
    CREDENTIALS_REJECTED = "credentials_rejected", _("the credentials no longer work")
