"""For tests: a fake provider in process, without sockets. The package itself never imports this."""

from connected_accounts.testing.adapter import RecordedRequest, UnexpectedRequest
from connected_accounts.testing.badge_connect import BadgrBadgeConnect
from connected_accounts.testing.fake import AuthorizationPageError, FakeProvider
from connected_accounts.testing.faults import (
    Answer,
    ConnectionRefused,
    DropAnswer,
    Redirect,
    Timeout,
)
from connected_accounts.testing.server import CANARY, OMITTED

__all__ = [
    "CANARY",
    "OMITTED",
    "Answer",
    "AuthorizationPageError",
    "BadgrBadgeConnect",
    "ConnectionRefused",
    "DropAnswer",
    "FakeProvider",
    "RecordedRequest",
    "Redirect",
    "Timeout",
    "UnexpectedRequest",
]
