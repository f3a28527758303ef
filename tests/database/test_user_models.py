"""Sites whose user models or accounts are made in other ways than most, on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.servers import own_database
from tests.database.site_of_its_own import run_site
from tests.services import service


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres), "mariadb"]
)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of the test's own."""
    server = "" if request.param == "sqlite" else service(request.param)
    with own_database(request.param, tmp_path, server) as url:
        yield url


@pytest.mark.parametrize("model", ["Child", "Coded", "MemberByProxy"])
def test_a_deactivated_owner_is_known_in_whichever_table_says_so(
    empty_database: str, model: str
) -> None:
    run_site("members_site", empty_database, model)


@pytest.mark.parametrize("model", ["Named", "Public"])
def test_a_key_that_the_database_holds_as_another_value_finds_its_users_token(
    empty_database: str, model: str
) -> None:
    run_site("members_site", empty_database, model)


def test_an_account_that_a_site_has_extended_by_a_table_is_used_as_any(
    empty_database: str,
) -> None:
    run_site("noted_site", empty_database)
