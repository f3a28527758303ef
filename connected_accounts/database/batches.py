"""Large tables read a batch at a time, by their key: no batch is read twice, and none missed."""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from django.db.models import QuerySet


def in_batches(
    rows: "QuerySet[Any, Any]", size: int, *, pk_of: Callable[[Any], int] = attrgetter("pk")
) -> Iterator[list[Any]]:
    """The rows in lists of at most ``size``, by ascending key. ``pk_of`` finds the key in a row."""
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:size]):
        yield batch
        last = pk_of(batch[-1])
