"""The owner of the database: one deployment adopts it, and no other refreshes what it holds."""

import logging
from typing import Any, NamedTuple

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from connected_accounts import conf, security
from connected_accounts.database.locks import retried
from connected_accounts.database.selects import read_all
from connected_accounts.models.managers import PrimaryManager
from connected_accounts.security import SecurityEvent

logger = logging.getLogger("connected_accounts")


class Deployment(models.Model):
    """The deployment whose grants this database holds, in one row. Another one finds it in a copy
    of the database, and leaves the grants alone: a refresh token can be spent once."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    site_id = models.CharField(_("site"), max_length=conf.MAX_SITE_ID)
    adopted_at = models.DateTimeField(_("adopted at"))

    objects = PrimaryManager["Deployment"]()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")

    def __str__(self) -> str:
        return self.site_id


class Sites(NamedTuple):
    """The names of this deployment and of the database's own. Each is empty where there is none."""

    here: str
    database: str

    @property
    def differ(self) -> bool:
        """Whether this is a copy, or a site under a new name: nothing is refreshed then."""
        return self.database not in ("", self.here)

    def __str__(self) -> str:
        return f"the database is {self.database!r}, and this site is {self.here!r}"


def sites() -> Sites:
    """Both names. One query; changes nothing."""
    found = read_all(Deployment, {"id": 1}, ["site_id"])
    return Sites(conf.site_id(), found[0].site_id if found else "")


def adopt_database() -> Sites:
    """Make a database that has no name this deployment's, if that has one; return both names."""
    known = sites()
    if known.database or not known.here:
        return known
    values: dict[str, Any] = {"site_id": known.here, "adopted_at": timezone.now()}
    row, _ = retried(lambda: Deployment.objects.get_or_create(id=1, defaults=values))
    return Sites(known.here, row.site_id)


def confirm_site() -> Sites:
    """Make this deployment the owner of the database's grants; return the names before. Without a
    name of its own, the database is nobody's afterwards."""
    before = sites()
    if before.here:
        values = {"site_id": before.here, "adopted_at": timezone.now()}
        Deployment.objects.update_or_create(id=1, defaults=values)
    else:
        Deployment.objects.filter(id=1).delete()
    security.log(SecurityEvent.SITE_CONFIRMED)
    return before
