"""A connect that fails leaves a trace: one log line, and an Event that its page names."""

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from django.db import DatabaseError
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts.exceptions import (
    ConfigurationError,
    ConnectedAccountsError,
    InvalidState,
    ProviderError,
    WayOn,
)
from connected_accounts.models import Event, Kind
from connected_accounts.owners import SITE_OWNER, owner_key
from connected_accounts.secret import Secret, clears_traceback_locals, hidden, revealed

logger = logging.getLogger("connected_accounts")

EVENTS_A_MINUTE: Final = 60  # for each owner: who keeps trying fills no table
ALPHABET: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that is read for another
# What a person can bring about with the address alone, or has mistyped.
_OF_THE_PERSON: Final = ("credentials", "inputs", "no_client", "unknown_scope")
# Of the callbacks that are refused, those that point to settings or to the provider.
_OF_THE_SITE: Final = ("code_missing", "code_rejected", "settings_changed", "wrong_issuer")

_SECRET_FIELDS: Final = ("params", "values", "inputs")

P = ParamSpec("P")
T = TypeVar("T")


def failures_traced(connect: Callable[P, T]) -> Callable[P, T]:
    """Around a function that connects ``user`` at ``provider``, or begins to."""

    @wraps(connect)
    @clears_traceback_locals  # what a site passes may be plain text
    @sensitive_variables()
    def traced(*args: P.args, **kwargs: P.kwargs) -> T:
        kwargs = _hidden(kwargs)  # type: ignore[assignment]
        try:
            return connect(*args, **kwargs)
        except ConnectedAccountsError as error:
            if _is_worth_a_trace(error):
                _leave_trace(error, kwargs)
            raise

    return traced


def _hidden(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments as all that is called from here has them in its frames: what is logged and
    sent while these run is written down with their local variables by some trackers."""
    secrets: dict[str, Any] = {
        name: hidden(kwargs[name]) for name in _SECRET_FIELDS if kwargs.get(name)
    }
    if kwargs.get("browser_secret"):
        secrets["browser_secret"] = Secret(revealed(kwargs["browser_secret"]))
    return kwargs | secrets


def _is_worth_a_trace(error: ConnectedAccountsError) -> bool:
    if isinstance(error, InvalidState):
        return error.code in _OF_THE_SITE
    wrong = isinstance(error, ProviderError | ConfigurationError)
    return wrong and error.code not in _OF_THE_PERSON


def _leave_trace(error: ConnectedAccountsError, kwargs: dict[str, Any]) -> None:
    alias, status = str(kwargs["provider"])[:64], getattr(error, "status", None)
    way = error.way_on or WayOn()
    owner = way.owner or kwargs.get("owner") or owner_key(kwargs["user"])
    owner = SITE_OWNER if way.for_site or kwargs.get("for_site") else owner
    error.reference = "".join(secrets.choice(ALPHABET) for _ in range(8))
    logger.warning(
        "connect failed: provider=%s code=%s status=%s reference=%s",
        alias,
        error.code,
        status,
        error.reference,
    )
    if isinstance(error, ConfigurationError):
        logger.error("settings: %s", error)  # it says what to change; a person is not told
    now = timezone.now()
    with suppress(DatabaseError):  # the person is told of the first failure, not of this one
        lately = Event.objects.filter(
            kind=Kind.CONNECT_FAILED, owner_key=owner, at__gt=now - timedelta(minutes=1)
        )
        if lately.count() < EVENTS_A_MINUTE:
            detail = f"{error.code}, status {status}" if status else error.code
            Event.record(
                Kind.CONNECT_FAILED,
                at=now,
                detail=detail,
                provider=alias,
                owner=owner,
                reference=error.reference,
            )
