"""For django-tenants: ``CONNECTED_ACCOUNTS["PREPARE_CONNECTION"]`` may name ``same_tenant``."""

from collections.abc import Callable
from typing import Any


def same_tenant(connection: Any) -> Callable[[Any], None]:
    """Prepare another connection for the tenant that the site's is at. Needs django-tenants."""
    tenant, with_public = connection.tenant, connection.include_public_schema

    def prepare(other: Any) -> None:
        if other.tenant is not tenant:
            other.set_tenant(tenant, include_public=with_public)

    return prepare
