"""Functions with one result on every database: its own clock, and a digest for unique columns."""

import base64
import hashlib
from typing import Any

from django.db.models.functions import Now


def digest(text: str) -> str:
    """SHA-256 of ``text`` in hex: the same length and collation on every database."""
    return hashlib.sha256(text.encode()).hexdigest()


def subject_digest(subject: str) -> str:
    """SHA-256 of an account's ``subject`` in base64url, which takes two thirds of the letters: it
    is in each row that a refresh writes anew."""
    found = hashlib.sha256(subject.encode()).digest()
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


class DatabaseNow(Now):
    """The database's clock; on MySQL and MariaDB in UTC, whatever the connection's time zone."""

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)
