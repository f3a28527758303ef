"""The site's connections under a role of their own, which is no superuser."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def connections_as(**values: object) -> Iterator[None]:
    """The default database's settings, changed for all connections that are opened meanwhile."""
    known = {name: connection.settings_dict[name] for name in values}
    connection.close()
    connection.settings_dict.update(values)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(known)


@contextmanager
def site_role(options: str = "") -> Iterator[str]:
    """A new role that may use all tables; the connections are its while this lasts."""
    role, password = f"site_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    execute(
        f"CREATE ROLE {role} LOGIN NOBYPASSRLS PASSWORD '{password}' {options}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
    )
    try:
        with connections_as(USER=role, PASSWORD=password):
            yield role
    finally:
        execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
