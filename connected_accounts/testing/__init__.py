"""For tests: a fake provider in process, without sockets. The package itself never imports this.

With pytest, the fixtures ``fake_provider`` and ``connected_account`` are there by themselves. Every
name is loaded when first used, so that a project that uses none of this pays for none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connected_accounts.testing.accounts import connect_account
    from connected_accounts.testing.adapter import RecordedRequest, UnexpectedRequest
    from connected_accounts.testing.badge_connect import BadgrBadgeConnect
    from connected_accounts.testing.dialect import Dialect
    from connected_accounts.testing.fake import AuthorizationPageError, FakeProvider
    from connected_accounts.testing.faults import (
        Answer,
        BadGateway,
        ConnectionRefused,
        DropAnswer,
        Redirect,
        Slow,
        Timeout,
        TooManyRequests,
    )
    from connected_accounts.testing.server import CANARY, OMITTED

_HOMES = {
    "CANARY": "server",
    "OMITTED": "server",
    "Answer": "faults",
    "AuthorizationPageError": "fake",
    "BadGateway": "faults",
    "BadgrBadgeConnect": "badge_connect",
    "ConnectionRefused": "faults",
    "Dialect": "dialect",
    "DropAnswer": "faults",
    "FakeProvider": "fake",
    "RecordedRequest": "adapter",
    "Redirect": "faults",
    "Slow": "faults",
    "Timeout": "faults",
    "TooManyRequests": "faults",
    "UnexpectedRequest": "adapter",
    "connect_account": "accounts",
}

__all__ = [
    "CANARY",
    "OMITTED",
    "Answer",
    "AuthorizationPageError",
    "BadGateway",
    "BadgrBadgeConnect",
    "ConnectionRefused",
    "Dialect",
    "DropAnswer",
    "FakeProvider",
    "RecordedRequest",
    "Redirect",
    "Slow",
    "Timeout",
    "TooManyRequests",
    "UnexpectedRequest",
    "connect_account",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
