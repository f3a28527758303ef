"""The verbs of the app, for views, tasks, admin and the site's own code.

Every public name is importable from here; the modules behind it are loaded when first used, so
that a web process that never calls a provider does not pay for requests and Celery at start-up.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connected_accounts.connect.authorization import start_authorization as start_authorization
    from connected_accounts.connect.completion import Completed as Completed
    from connected_accounts.connect.completion import (
        complete_authorization as complete_authorization,
    )
    from connected_accounts.connect.direct import connect_directly as connect_directly
    from connected_accounts.operations.export import export as export
    from connected_accounts.operations.ownership import move_to_owner as move_to_owner
    from connected_accounts.operations.ownership import retire_owner as retire_owner
    from connected_accounts.refresh.on_demand import arefresh as arefresh
    from connected_accounts.refresh.on_demand import refresh as refresh
    from connected_accounts.revoke.disconnect import adisconnect as adisconnect
    from connected_accounts.revoke.disconnect import disconnect as disconnect
    from connected_accounts.revoke.disconnect import disconnect_all as disconnect_all
    from connected_accounts.use.tokens import aget_access_token as aget_access_token
    from connected_accounts.use.tokens import get_access_token as get_access_token
    from connected_accounts.use.tokens import get_access_token_of as get_access_token_of
    from connected_accounts.use.tokens import get_session as get_session

_HOMES = {
    "Completed": "connect.completion",
    "adisconnect": "revoke.disconnect",
    "aget_access_token": "use.tokens",
    "arefresh": "refresh.on_demand",
    "complete_authorization": "connect.completion",
    "connect_directly": "connect.direct",
    "disconnect": "revoke.disconnect",
    "disconnect_all": "revoke.disconnect",
    "export": "operations.export",
    "get_access_token": "use.tokens",
    "get_access_token_of": "use.tokens",
    "get_session": "use.tokens",
    "move_to_owner": "operations.ownership",
    "refresh": "refresh.on_demand",
    "retire_owner": "operations.ownership",
    "start_authorization": "connect.authorization",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"connected_accounts.{_HOMES[name]}"), name)
