"""A test finds nothing that another left in its process."""

import pytest
from django.core.cache import cache


@pytest.mark.parametrize("time", ["first", "second"])
def test_the_cache_is_empty_when_a_test_begins(time: str) -> None:
    """Numbers of rows begin again with each test, and the cache goes by them."""
    assert cache.add("left", time, timeout=None)
