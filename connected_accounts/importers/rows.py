"""Grants as other packages keep them, in plain text: what is read of a row, and how it is blanked.

One module per package (``from_…``) says where things stand in its tables. Nothing is imported from
the packages: their models are found by name among the site's installed apps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.apps import apps
from django.db import models, router, transaction
from django.utils import timezone

from connected_accounts.database.locks import retried
from connected_accounts.exceptions import ConfigurationError

LABELS: Final = ("email", "username", "login", "name")


@dataclass(frozen=True)
class ForeignGrant:
    """One grant. ``payload`` is its token answer in RFC 6749's words, as far as it was kept;
    ``client_id`` is empty where the package does not say which client it was made with."""

    pk: Any
    user_pk: Any
    provider: str
    subject: str
    label: str
    payload: Mapping[str, Any] = field(repr=False)
    expires_at: datetime | None = None
    refresh_token_expires_at: datetime | None = None
    connected_at: datetime | None = None
    client_id: str = ""


class Source:
    """One package's table. Subclasses say what stands where."""

    name: ClassVar[str]
    model_name: ClassVar[str]  # app label and model
    app: ClassVar[str]  # as it stands in INSTALLED_APPS
    related: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]]  # that hold plain text

    def __init__(self) -> None:
        """Raises ConfigurationError (``no_source``) where the package's app is not installed."""
        try:
            self.model: type[models.Model] = apps.get_model(self.model_name)
        except LookupError:
            raise ConfigurationError(
                "no_source", f"{self.app!r} is not in INSTALLED_APPS, so its tables are not known."
            ) from None
        # What is copied once and for all is not read from a replica that may be behind.
        self.using = router.db_for_write(self.model)

    def rows(self) -> Any:
        return self.model._default_manager.using(self.using)

    def count(self) -> int:
        return int(self.rows().count())

    def batch(self, after: Any, size: int) -> list[ForeignGrant]:
        """The next rows by primary key; ``after`` None: the first."""
        found = self.rows().order_by("pk")
        if self.related:
            found = found.select_related(*self.related)
        if after is not None:
            found = found.filter(pk__gt=after)
        return [self.read(row) for row in found[:size]]

    def read(self, row: Any) -> ForeignGrant:
        raise NotImplementedError

    def payload(self, row: Any) -> dict[str, Any]:
        """The token answer as the row itself holds it, without related rows."""
        raise NotImplementedError

    def empty(self, row: Any) -> None:
        """Take the tokens out of ``columns``."""
        raise NotImplementedError

    def blank(self, grants: Iterable[ForeignGrant]) -> int:
        """Take the tokens out of the rows they were read from, unless another was written there
        since; return how many rows were blanked."""
        read = {grant.pk: grant.payload for grant in grants}

        def write() -> int:
            with transaction.atomic(using=self.using):
                locked = self.rows().select_for_update().filter(pk__in=read)
                same = [row for row in locked if self.payload(row) == read[row.pk]]
                for row in same:
                    self.empty(row)
                self.rows().bulk_update(same, self.columns)
                return len(same)

        return retried(write) if read else 0


def label_of(*documents: Any) -> str:
    """A label that the person recognises, from the profile that was kept; empty if there is
    none."""
    for document in documents:
        for name in LABELS:
            told = document.get(name) if isinstance(document, Mapping) else None
            if isinstance(told, str) and told:
                return told
    return ""


def moment(timestamp: float) -> datetime | None:
    """A moment given in seconds since 1970, as the site's settings have datetimes; None where it is
    out of all range."""
    now = timezone.now()
    try:
        return now + timedelta(seconds=timestamp - now.timestamp())
    except (OverflowError, ValueError):
        return None
