"""An empty PostgreSQL database to measure on, and accounts in it.

The server is ``DATABASE_URL``'s, or this machine's; the database is dropped behind us.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

SERVER = os.environ.get("DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


@contextmanager
def fresh_database() -> Iterator[str]:
    """A migrated database; Django is set up on it, with the settings of the tests."""
    name = f"connected_accounts_bench_{os.getpid()}"
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    url = urlunsplit(urlsplit(SERVER)._replace(path=f"/{name}"))
    try:
        set_up(url)
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        yield url
    finally:
        from django.db import connections

        connections.close_all()
        with psycopg.connect(SERVER, autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def set_up(url: str) -> None:
    """Django on that database, in this process."""
    os.environ["DATABASE_URL"] = url
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()


def make_accounts(count: int, *, owners: bool = False) -> None:
    """So many accounts at Badgr, with tokens of usual size: the site's own, or one user's each."""
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from connected_accounts.database.functions import subject_digest
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.owners import owner_key
    from connected_accounts.providers.registry import get_provider

    provider, now = get_provider("badgr"), timezone.now()
    users: list[Any] = []
    if owners:
        model = get_user_model()
        model._default_manager.bulk_create(
            [model(username=f"user-{n}") for n in range(count)], batch_size=5000
        )
        users = list(model._default_manager.order_by("pk"))
    shared: dict[str, Any] = {
        "provider": "badgr",
        "connected_at": now,
        "expires_at": now + timedelta(hours=1),
        "refresh_at": now + timedelta(minutes=40),
        "scopes_granted": ["r:profile", "r:backpack"],
        "client_id": provider.config.client_id,
        "endpoint_fingerprint": provider.endpoints().token_fingerprint(),
    }
    for first in range(0, count, 5000):
        rows = []
        for n in range(first, min(first + 5000, count)):
            owner = users[n] if owners else None
            subject = f"subject-{n}"
            rows.append(
                ConnectedAccount(
                    user=owner,
                    owner_key=owner_key(owner),
                    subject=subject,
                    subject_digest=subject_digest(subject),
                    label=f"person{n}@example.org",
                    **shared,
                )
            )
            rows[-1].token = sealed(f"{n}.0", rows[-1])
        ConnectedAccount.objects.bulk_create(rows)


def sealed(refresh_token: str, row: Any) -> Any:
    from connected_accounts.sealing import seal_document

    document = {
        "access_token": "a" * 40,
        "refresh_token": refresh_token,
        "id_token": None,
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token_expires_in": None,
        "redirect_uri": "https://site.example/connections/badgr/callback/",
    }
    return seal_document(document, row)


@contextmanager
def timed() -> Iterator[list[float]]:
    """The seconds that the block took, in the list that it gives."""
    took: list[float] = []
    began = time.perf_counter()
    yield took
    took.append(time.perf_counter() - began)
