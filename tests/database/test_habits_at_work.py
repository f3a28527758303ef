"""A short run of ``bench.prove_habits``: real processes that save old copies, put rows back, clone
and merge them beside a worker and refreshes on demand."""

from pathlib import Path

import pytest

from bench.prove_habits import prove
from bench.servers import own_database
from tests.services import service

pytestmark = [pytest.mark.postgres, pytest.mark.broker]


def test_a_sites_habits_spend_no_token_twice_lose_none_and_bring_none_back(tmp_path: Path) -> None:
    service("postgresql")
    with own_database("postgresql", tmp_path) as database:
        counted = prove(tmp_path, service("redis"), database, seconds=8, count=30)
    assert counted["spent twice"] == counted["lost in silence"] == 0
    assert counted["grants brought back to life"] == counted["of another tenant"] == 0
    for deed in ("old copies saved", "rows put back", "rows cloned", "merged", "asked for"):
        assert counted[deed] > 0, counted
