"""The database that the app's rows are read from."""

from types import SimpleNamespace
from typing import Any, TypeVar

from django.db import models, router

M = TypeVar("M", bound=models.Model)


class PrimaryManager(models.Manager[M]):
    """Reads from the database that is written to, unless another is named: a replica that lags may
    still hold what was spent, and lack what was just connected."""

    @classmethod
    def _get_queryset_methods(cls, queryset_class: type[models.QuerySet[Any]]) -> dict[str, Any]:
        # Those of Django's a manager has already. It would look at each of them again, for every
        # manager, in every process that starts.
        own: dict[str, Any] = {}
        for kind in reversed(queryset_class.__mro__):
            own |= {} if issubclass(models.QuerySet, kind) else vars(kind)
        methods: dict[str, Any] = super()._get_queryset_methods(
            SimpleNamespace(**own)  # type: ignore[arg-type]
        )
        return methods

    def get_queryset(self) -> models.QuerySet[M]:
        rows = super().get_queryset()
        hints: dict[str, Any] = getattr(self, "_hints", {})
        return rows if self._db else rows.using(router.db_for_write(self.model, **hints))
