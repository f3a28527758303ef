"""For tests: a fake provider in process, without sockets. The package itself never imports this.

With pytest, the fixtures ``fake_provider`` and ``connected_account`` are there by themselves. Every
name is loaded when first used, so that a project that uses none of this pays for none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connected_accounts.testing.accounts import connect_account as connect_account
    from connected_accounts.testing.adapter import RecordedRequest as RecordedRequest
    from connected_accounts.testing.adapter import UnexpectedRequest as UnexpectedRequest
    from connected_accounts.testing.badge_connect import BadgrBadgeConnect as BadgrBadgeConnect
    from connected_accounts.testing.dialect import Dialect as Dialect
    from connected_accounts.testing.fake import AuthorizationPageError as AuthorizationPageError
    from connected_accounts.testing.fake import FakeProvider as FakeProvider
    from connected_accounts.testing.faults import Answer as Answer
    from connected_accounts.testing.faults import BadGateway as BadGateway
    from connected_accounts.testing.faults import ConnectionRefused as ConnectionRefused
    from connected_accounts.testing.faults import DropAnswer as DropAnswer
    from connected_accounts.testing.faults import Redirect as Redirect
    from connected_accounts.testing.faults import Slow as Slow
    from connected_accounts.testing.faults import Timeout as Timeout
    from connected_accounts.testing.faults import TooManyRequests as TooManyRequests
    from connected_accounts.testing.server import CANARY as CANARY
    from connected_accounts.testing.server import OMITTED as OMITTED

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

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
