"""Middlewares that hold a transaction open around our pages."""

from typing import Any

import pytest
from django.core import checks
from reversion.middleware import RevisionMiddleware


class Renamed(RevisionMiddleware):  # type: ignore[misc]
    """A subclass that changes nothing."""


class WithoutTransaction(RevisionMiddleware):  # type: ignore[misc]
    atomic = False


class LeavesUsOut(RevisionMiddleware):  # type: ignore[misc]
    def request_creates_revision(self, request: Any) -> bool:
        return not request.path.startswith("/connections/")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("reversion.middleware.RevisionMiddleware", True),
        (f"{__name__}.Renamed", True),
        (f"{__name__}.WithoutTransaction", False),
        (f"{__name__}.LeavesUsOut", False),
        ("no.such.Middleware", False),
    ],
)
def test_a_middleware_in_which_nothing_can_be_connected_is_told_of(
    path: str, told: bool, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, path]
    found = [m for m in checks.run_checks(tags=["connected_accounts"]) if m.id.endswith("W019")]
    assert [path in message.msg for message in found] == [True] * told
