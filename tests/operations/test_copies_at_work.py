"""A short run of ``bench.prove_copies``: real processes on a database that was restored."""

from pathlib import Path

import pytest

from bench.prove_copies import restored
from tests.services import service

pytestmark = [pytest.mark.postgres, pytest.mark.broker]


def test_a_restored_backup_spends_no_token_again_that_was_refreshed_when_due(
    tmp_path: Path,
) -> None:
    service("postgresql")
    counted = restored(tmp_path, service("redis"), accounts=12, by_hand=0)
    assert counted["ended by the command"] == 4
    assert (counted["ended later"], counted["spent twice"], counted["active"]) == (0, 0, 8)
