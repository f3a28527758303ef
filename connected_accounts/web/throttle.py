"""Limits on how often a user, and an address, may start or fail; counted in Django's cache.

A cache that is broken or absent counts nothing: that must not keep people out. Keys hold a user's
primary key and an address, never a name, so that no spelling gets round them.
"""

import ipaddress
import logging
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone

from connected_accounts import security
from connected_accounts.database.functions import digest
from connected_accounts.exceptions import InvalidState
from connected_accounts.owners import owner_key
from connected_accounts.security import SecurityEvent

logger = logging.getLogger("connected_accounts")

WINDOW: Final = 60
STARTS_PER_USER: Final = 30
FAILED_CALLBACKS_PER_USER: Final = 60
TESTS_PER_USER: Final = 10
USERS_PER_ADDRESS: Final = 10  # behind one address there may be a whole school
# The request was spent: it was a valid callback, whatever came of it.
_VALID: Final = ("code_rejected", "settings_changed", "not_permitted")


@dataclass(frozen=True)
class Limit:
    """One thing that is counted, and the number that one user may in a minute."""

    name: str
    per_user: int


STARTS: Final = Limit("start", STARTS_PER_USER)
FAILED_CALLBACKS: Final = Limit("callback", FAILED_CALLBACKS_PER_USER)
TESTS: Final = Limit("trial", TESTS_PER_USER)


def is_failed_callback(error: Exception) -> bool:
    """Whether a callback was none of an open authorization's."""
    return isinstance(error, InvalidState) and error.code not in _VALID


def wait_for(request: HttpRequest, limit: Limit, *, now: datetime | None = None) -> int:
    """Count this request; 0 where it is within the limit, else the seconds until it would be."""
    second = int((now or timezone.now()).timestamp())
    owner, address = owner_key(request.user), address_of(request)
    counted = {f"owner:{owner}:{_login_of(request.user)}": limit.per_user}
    if address:
        counted[f"address:{address}"] = limit.per_user * USERS_PER_ADDRESS
    over = False
    for who, most in counted.items():
        count = _count(f"{limit.name}:{second // WINDOW}:{who}")
        over = over or count > most
        if count == most + 1:
            security.log(
                SecurityEvent.RATE_LIMITED, owner=owner, reason=limit.name, address=address
            )
    return WINDOW - second % WINDOW if over else 0


def address_of(request: HttpRequest) -> str:
    """The address that the request came from, or its network for IPv6; or an empty text.

    ``X-Forwarded-For`` is not read, since anybody can write it. A private or loopback address is
    as a rule a proxy's, which says nothing of who is behind it.
    """
    return _public(request.META.get("REMOTE_ADDR", ""))


@lru_cache(maxsize=1024)
def _public(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if not address.is_global:
        return ""
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _login_of(user: Any) -> str:
    """A text that changes with the password: a primary key may be given out again, and its counts
    must not be the next owner's."""
    read = getattr(user, "get_session_auth_hash", None)
    return str(read()) if read is not None else ""


def _count(key: str) -> int:
    name = f"connected_accounts.{digest(key)}"
    try:
        if cache.add(name, 1, timeout=2 * WINDOW):
            return 1
        return int(cache.incr(name))
    except ValueError:
        return 0  # it keeps nothing, or dropped the key in between
    except Exception as error:  # the cache's own; its message may hold its address
        logger.warning("cache away, nothing is limited: %s", type(error).__name__)
        return 0
