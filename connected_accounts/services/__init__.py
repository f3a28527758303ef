"""The verbs of the app, for views, tasks, admin and the site's own code.

Every public name is importable from here; the modules behind it are loaded when first used, so
that a web process that never calls a provider does not pay for requests and Celery at start-up.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connected_accounts.services.access import (
        aget_access_token,
        get_access_token,
        get_session,
    )
    from connected_accounts.services.authorization import start_authorization
    from connected_accounts.services.completion import Completed, complete_authorization
    from connected_accounts.services.disclosure import export
    from connected_accounts.services.renewal import arefresh, refresh
    from connected_accounts.services.revocation import adisconnect, disconnect

_HOMES = {
    "Completed": "completion",
    "adisconnect": "revocation",
    "aget_access_token": "access",
    "arefresh": "renewal",
    "complete_authorization": "completion",
    "disconnect": "revocation",
    "export": "disclosure",
    "get_access_token": "access",
    "get_session": "access",
    "refresh": "renewal",
    "start_authorization": "authorization",
}

__all__ = [
    "Completed",
    "adisconnect",
    "aget_access_token",
    "arefresh",
    "complete_authorization",
    "disconnect",
    "export",
    "get_access_token",
    "get_session",
    "refresh",
    "start_authorization",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
