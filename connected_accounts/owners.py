"""Owners of accounts: users, the site, teams; and what each user may do for them.

The site answers that in one function, ``CONNECTED_ACCOUNTS["OWNERS"]``, which is asked anew each
time. Whatever goes wrong there, nobody gets anything of anybody else's. Views ask
``ConnectedAccount.objects.usable_by``.
"""

import logging
import re
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.utils.module_loading import import_string

from connected_accounts import conf
from connected_accounts.conf import Problem
from connected_accounts.database.functions import digest
from connected_accounts.exceptions import InvalidState

__all__ = ["Owner", "owner_for"]

logger = logging.getLogger("connected_accounts")

SITE_OWNER: Final = "site"
CONNECT_THE_SITE: Final = "connected_accounts.add_connectedaccount"  # the permission
MAX_KEY: Final = 128
# In lower case: some databases take "team:A" and "team:a" for the same.
_KEY: Final = r"(?!user:|gone:)[a-z][a-z0-9_]*:[a-z0-9._-]+"
_PLAIN: Final = r"[a-z0-9._-]{1,64}"


def owner_key(user: Any) -> str:
    """The text that stands for an owner in unique constraints, where a NULL would not collide."""
    return SITE_OWNER if user is None else owner_key_of(user.pk)


def owner_key_of(pk: Any) -> str:
    """The same by a user's primary key. Two keys are equal only byte by byte: what a database might
    take for another text, as "A" for "a", or would have to cut off, is told by its digest."""
    text = str(pk)
    return f"user:{text}" if re.fullmatch(_PLAIN, text) else f"user:~{digest(text)}"


def is_owner_key(text: str) -> bool:
    """Whether a text can be the key of an owner that is neither a user nor the site."""
    return re.fullmatch(_KEY, text) is not None and len(text) <= MAX_KEY


def retired_key(key: str) -> str:
    """A new key for the rows of an owner who is gone. Nobody is ever given it, whereas a database,
    or a dump that is restored, may give a primary key out again."""
    return f"gone:{key[:88]}:{uuid.uuid4().hex}"


def is_retired(key: str) -> bool:
    return key.startswith("gone:")


def is_deleted(key: str) -> bool:
    """Whether a key is that of a user whom the database does not know by now. Of a key that is a
    digest nobody can tell, so it is not."""
    kind = get_user_model()
    if not key.startswith("user:") or key.startswith("user:~"):
        return False
    try:
        pk = kind._meta.pk.to_python(key.removeprefix("user:"))
    except ValidationError:
        return False
    return not kind._base_manager.using(router.db_for_write(kind)).filter(pk=pk).exists()


class Owner(NamedTuple):
    """Somebody other than a user who has accounts, such as a team; and what one user may do there.

    ``key`` names it in rows: a word, a colon and an id that is never given out again, in lower
    case: ``team:7``. ``name`` is shown to people; where it is blank, the key is. To see the
    accounts is always allowed; ``may_use`` their tokens, ``may_connect`` (also again) and
    ``may_disconnect`` only where it is True.
    """

    key: str
    name: str
    may_use: bool = False
    may_connect: bool = False
    may_disconnect: bool = False


def owners_of(user: Any) -> dict[str, Owner]:
    """The owners whose accounts a user sees, by key: the user alone, then those that the site names
    now. Nobody for None or an anonymous user."""
    if user is None or user.pk is None:
        return {}
    own = _oneself(user)
    return {own.key: own, **_shared_with(user)}


def owner_for(user: Any, key: str) -> Owner | None:
    """One of ``owners_of(user)``. The site is not asked who a user is."""
    if user is None or user.pk is None:
        return None
    own = _oneself(user)
    return own if key == own.key else _shared_with(user).get(key)


def may_connect(user: Any, key: str) -> bool:
    """Whether a user may connect accounts for an owner, now."""
    owner = owner_for(user, key)
    return owner is not None and owner.may_connect


def may_still_connect(user: Any, key: str) -> bool:
    """The same once more, after a while in which the user may have been deactivated or deleted."""
    if key == owner_key(user):
        return True  # a row without its user cannot be stored
    now = read_again(user)
    return getattr(now, "is_active", now is not None) and may_connect(user, key)


def read_again(user: Any) -> Any:
    """A user as the database knows them by now, without the permissions that Django keeps with the
    object; None for one who is gone."""
    kind = get_user_model()
    rows = kind._base_manager.using(router.db_for_write(kind))
    return rows.filter(pk=user.pk).first()


def key_to_connect_for(user: Any, owner: str | None) -> str:
    """The key of whom ``user`` connects for; None: for oneself, or for the site without a user.

    Raises InvalidState (``not_permitted``).
    """
    if owner is None or owner == owner_key(user):
        return owner_key(user)
    if not may_connect(user, owner):
        raise InvalidState("not_permitted")
    return owner


def acted_for(user: Any, key: str) -> str:
    """The key of the user who acted, for an event; empty where that is the owner."""
    by = "" if user is None or user.pk is None else owner_key(user)
    return "" if by == key else by


def _oneself(user: Any) -> Owner:
    return Owner(owner_key(user), "", may_use=True, may_connect=True, may_disconnect=True)


def _shared_with(user: Any) -> dict[str, Owner]:
    path = conf.get("OWNERS")
    if not path or not getattr(user, "is_active", True):
        return {}
    found: dict[str, Owner] = {}
    try:
        for owner in import_string(path)(user):
            _refuse_malformed(owner, found)
            # Only the user alone has no name: a team without one must not be taken for them.
            named = owner.name and str(owner.name).strip()
            found[owner.key] = owner if named else owner._replace(name=owner.key)
    except Exception as error:  # the site's own; its message may hold anything
        logger.error("owners hook failed, nothing is shared: %s", type(error).__name__)
        return {}
    return found


def _refuse_malformed(owner: Any, known: dict[str, Owner]) -> None:
    if not isinstance(owner, Owner) or not isinstance(owner.key, str):
        raise TypeError("OWNERS must give objects of the class Owner")
    if not is_owner_key(owner.key) or owner.key in known:
        raise ValueError("the key of an owner is malformed, or given twice")
    if {type(owner.may_use), type(owner.may_connect), type(owner.may_disconnect)} != {bool}:
        raise TypeError("what an owner may is True or False")


def problems() -> Iterator[Problem]:
    """The faults of the setting, for the system checks."""
    path = conf.get("OWNERS")
    if path is None:
        return
    try:
        hook = import_string(path)
    except (ImportError, ValueError, TypeError, AttributeError):
        hook = None
    if not callable(hook):
        yield Problem(
            "E019",
            f"CONNECTED_ACCOUNTS['OWNERS'] {path!r} is not a function that can be imported.",
            'Write its dotted path, such as "yoursite.teams.owners_of".',
        )
