"""Calling a backend's hooks: whatever they raise, the app goes on."""

import logging
from collections.abc import Callable
from typing import TypeVar

from connected_accounts.exceptions import ConnectedAccountsError, UnexpectedResponse

logger = logging.getLogger("connected_accounts")

T = TypeVar("T")


def call_hook(
    name: str,
    hook: Callable[[], T],
    *,
    code: str = "hook_failed",
    expected: type[ConnectedAccountsError] = ConnectedAccountsError,
) -> T:
    """The value of ``hook``. Raises what it raises of the class ``expected``; for anything else,
    whose message may hold anything, it logs the class and raises UnexpectedResponse(``code``).

    A function and not a context manager: raised in here, the new error does not carry the old one.
    """
    try:
        return hook()
    except expected:
        raise
    except Exception as error:
        logger.error("%s hook failed: %s", name, type(error).__name__)
    raise UnexpectedResponse(code)
