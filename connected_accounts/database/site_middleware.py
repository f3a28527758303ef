"""Middlewares of the site that hold a transaction open around our pages."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

REVISIONS: Final = "reversion.middleware.RevisionMiddleware"  # atomic unless a subclass says not


def check_middleware(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """W019: a middleware has every form run in a transaction, in which nothing can be connected."""
    return [
        checks.Warning(
            f"{path} runs each request that changes something in a transaction. A connection with "
            "entered credentials is refused there: a failure of the request would lose the grant.",
            hint="Leave our pages out, by a subclass with request_creates_revision of your own, "
            "which docs/how-to/beside-your-tools.md shows.",
            id="connected_accounts.W019",
        )
        for path in _around_every_request()
    ]


def _around_every_request() -> Iterator[str]:
    for path in settings.MIDDLEWARE:
        found: Any = None
        with suppress(ImportError):  # Django's own check says so
            found = import_string(path)
        for base in getattr(found, "__mro__", ()):
            if f"{base.__module__}.{base.__qualname__}" == REVISIONS:
                left_out = found.request_creates_revision is not base.request_creates_revision
                if found.atomic and not left_out:
                    yield path
