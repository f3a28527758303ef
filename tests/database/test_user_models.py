"""Sites whose user models are made in other ways than most, on each kind of database."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import ConnectionHandler

from tests.database.test_databases import server_settings
from tests.docs.doc_pages import ROOT
from tests.services import service


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres), "mariadb"]
)
def empty_database(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any
) -> Iterator[str]:
    """The URL of a database of the test's own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/site.sqlite3"
        return
    url, name = service(request.param), f"connected_accounts_{uuid.uuid4().hex[:12]}"
    server = ConnectionHandler({"default": server_settings(request.param)})["default"]
    with django_db_blocker.unblock(), server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{url.rsplit('/', 1)[0]}/{name}"
        finally:
            cursor.execute(f"DROP DATABASE {name}")
    server.close()


def run_site(url: str, model: str) -> None:
    command = [sys.executable, "-m", "tests.database.members_site", url, model]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("model", ["Child", "Coded", "MemberByProxy"])
def test_a_deactivated_owner_is_known_in_whichever_table_says_so(
    empty_database: str, model: str
) -> None:
    run_site(empty_database, model)


@pytest.mark.parametrize("model", ["Named", "Public"])
def test_a_key_that_the_database_holds_as_another_value_finds_its_users_token(
    empty_database: str, model: str
) -> None:
    run_site(empty_database, model)
