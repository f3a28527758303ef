"""Columns that tell one thing from another, on every database alike."""

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class ExactCharField(_CharField):
    """Text that is compared byte by byte. The usual collations of MySQL and MariaDB take "a" for
    "A", "á" and "a "."""

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            known = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}
            parameters = {**parameters, "collation": known[connection.mysql_is_mariadb]}
        return parameters
