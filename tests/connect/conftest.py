"""An alias with many hosts, of which one is hostile."""

from collections.abc import Iterator
from typing import Any

import pytest

from connected_accounts.testing import FakeProvider
from tests.providers.badge_site import HOST, OTHER, configure


@pytest.fixture
def honest(settings: Any) -> Iterator[FakeProvider]:
    configure(settings)
    settings.CONNECTED_ACCOUNTS |= {"REDIRECT_BASE_URL": "http://testserver"}
    with FakeProvider("badges", inputs={"host": HOST}) as fake:
        yield fake


@pytest.fixture
def evil(honest: FakeProvider) -> Iterator[FakeProvider]:
    with FakeProvider("badges", inputs={"host": OTHER}) as fake:
        yield fake
