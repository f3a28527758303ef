"""A database and a broker queue for one run only, so that a check leaves nothing behind."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from urllib.parse import quote, urlsplit

from django.db import connection
from kombu import Exchange, Queue

from example_project.celery import app

# The check is of the sandbox: credentials for the real providers have no place in it.
NOT_FOR_A_CHECK = (
    "ALLOWED_HOSTS",
    "BADGE_CONNECT_",
    "BADGR_",
    "BIME_",
    "BITBADGES_",
    "BITS_",
    "DEBUG",
    "FIELD_ENCRYPTION_KEY",
    "OIDC_",
    "REDIRECT_BASE_URL",
)


@contextmanager
def scratch_environment(folder: Path) -> Iterator[dict[str, str]]:
    """Variables for child processes. Servers that ``DATABASE_URL`` and ``CELERY_BROKER_URL`` name
    are used; without them everything is in ``folder``."""
    kept = {k: v for k, v in environ.items() if not k.startswith(NOT_FOR_A_CHECK)}
    with scratch_database(folder) as database_url, scratch_queue(folder) as broker:
        yield {**kept, "DATABASE_URL": database_url, **broker}


@contextmanager
def scratch_database(folder: Path) -> Iterator[str]:
    given = environ.get("DATABASE_URL", "")
    if not given or connection.vendor == "sqlite":
        yield f"sqlite:///{quote(str(folder / 'db.sqlite3'))}"
        return
    name = f"demo_check_{secrets.token_hex(6)}"
    quoted = connection.ops.quote_name(name)
    # As Django makes test databases: from a connection to the server and not to the database.
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {quoted}")
    try:
        yield urlsplit(given)._replace(path=f"/{name}").geturl()
    finally:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quoted}")


@contextmanager
def scratch_queue(folder: Path) -> Iterator[dict[str, str]]:
    if not environ.get("CELERY_BROKER_URL"):
        yield {"BROKER_FOLDER": str(folder / "broker")}
        return
    name = f"demo-check-{secrets.token_hex(6)}"
    try:
        yield {"CELERY_TASK_DEFAULT_QUEUE": name}
    finally:
        with app.connection_for_write() as broker:
            queue = Queue(name, Exchange(name), routing_key=name, channel=broker.default_channel)
            # With Redis a channel deletes only the bindings that it knows of.
            queue.declare()
            queue.delete()
            queue.exchange.delete()
