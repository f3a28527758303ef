"""The sandbox as it runs by default, and a strict one."""

from collections.abc import Iterator

import pytest

from tests.sandbox.badgr_and_bitbadges import API_KEY, Sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox.start(tmp_path_factory.mktemp("sandbox"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def strict_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Short lives, the throttle on, and an API key to be shown."""
    lives = ["--access-token-seconds", "1", "--refresh-token-seconds", "1"]
    options = ["--throttle", "--require-api-key", API_KEY]
    running = Sandbox.start(tmp_path_factory.mktemp("strict"), *lives, *options)
    yield running
    running.stop()
