"""Functions with one result on every database: its own clock, and a digest for unique columns."""

import hashlib
from typing import Any

from django.db.models.functions import Now


def digest(text: str) -> str:
    """SHA-256 of ``text`` in hex: the same length and collation on every database."""
    return hashlib.sha256(text.encode()).hexdigest()


class DatabaseNow(Now):
    """The database's clock; on MySQL and MariaDB in UTC, whatever the connection's time zone."""

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)
