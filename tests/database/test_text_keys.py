"""A site on MariaDB whose users have a text key with a collation of its own."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.utils import ConnectionHandler

from tests.database.site_of_its_own import run_site
from tests.database.test_databases import server_settings
from tests.services import service


@pytest.fixture
def empty_database(django_db_blocker: Any) -> Iterator[str]:
    """The URL of a database of the test's own."""
    url, name = service("mariadb"), f"connected_accounts_{uuid.uuid4().hex[:12]}"
    server = ConnectionHandler({"default": server_settings("mariadb")})["default"]
    with django_db_blocker.unblock(), server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield f"{url.rsplit('/', 1)[0]}/{name}"
        finally:
            cursor.execute(f"DROP DATABASE {name}")
    server.close()


def test_migrate_runs_and_users_whose_keys_differ_in_case_share_nothing(
    empty_database: str,
) -> None:
    run_site("text_key_site", empty_database)
