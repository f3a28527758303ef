"""A short cache for figures that took long to find: nobody should wait for the same count twice."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from django.core.cache import cache

SLOW: Final = 0.02  # seconds: figures that took longer are kept for a while
KEPT: Final = 60.0  # seconds

Found = TypeVar("Found")


def cached_if_slow(key: str, find: Callable[[], Found]) -> Found:
    """The value of ``find``; if finding it took a while, the value is used again for a minute.
    Without a cache it is always fresh."""
    with suppress(Exception):  # the cache's own trouble is no reason to show nothing
        known: Found | None = cache.get(key)
        if known is not None:
            return known
    began = time.monotonic()
    found = find()
    if time.monotonic() - began > SLOW:
        with suppress(Exception):
            cache.set(key, found, timeout=KEPT)
    return found
