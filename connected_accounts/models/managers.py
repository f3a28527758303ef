"""The database that the app's rows are read from."""

from typing import Any, TypeVar

from django.db import models, router

M = TypeVar("M", bound=models.Model)


class PrimaryManager(models.Manager[M]):
    """Reads from the database that is written to, unless another is named: a replica that lags may
    still hold what was spent, and lack what was just connected."""

    def get_queryset(self) -> models.QuerySet[M]:
        rows = super().get_queryset()
        hints: dict[str, Any] = getattr(self, "_hints", {})
        return rows if self._db else rows.using(router.db_for_write(self.model, **hints))
