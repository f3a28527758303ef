"""The statuses and reasons that rows are written in."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Whether an account can be used."""

    ACTIVE = "active", _("connected")
    RECONNECT_REQUIRED = "reconnect_required", _("needs reconnecting")


class Reason(models.TextChoices):
    """Why an account must be connected again."""

    REVOKED = "revoked", _("the service says that the permission has ended")
    REPLACED = "replaced", _("another connection of the same account took its place")
    ROTATION_LOST = "rotation_lost", _("an answer of the service was lost on its way")
    REFRESH_TOKEN_EXPIRED = "refresh_token_expired", _("the permission has run out")
    IDENTITY_CHANGED = "identity_changed", _("the service answered for another account")
    ENDPOINTS_CHANGED = "endpoints_changed", _("the address of the service was changed")
    CREDENTIALS_REJECTED = "credentials_rejected", _("the credentials no longer work")
    REFUSED = "refused", _("the service refuses to renew the permission")
    RESTORED_COPY = "restored_copy", _("what was stored here is an old copy")
