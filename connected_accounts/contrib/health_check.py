"""A check for django-health-check: the troubles that ``connections_status`` names.

``HealthCheckView.as_view(checks=["connected_accounts.contrib.health_check.Connections", …])``
"""

import dataclasses

from django.db import connection
from django.utils import timezone
from health_check.base import HealthCheck
from health_check.exceptions import ServiceWarning

from connected_accounts.operations.health import MAX_OVERDUE, health, troubles

__all__ = ["Connections"]


@dataclasses.dataclass
class Connections(HealthCheck):  # type: ignore[misc]  # the library has no types
    """Warns when something needs an operator. A due refresh may wait ``max_overdue`` seconds."""

    max_overdue: int = MAX_OVERDUE

    def run(self) -> None:
        try:
            rows = health(timezone.now(), max_overdue=self.max_overdue)
            found = troubles(rows, max_overdue=self.max_overdue)
        finally:
            connection.close_if_unusable_or_obsolete()  # it runs in a thread of the view's
        if found:
            raise ServiceWarning(" ".join(found))
