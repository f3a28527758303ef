"""Refused authorizations: one security event each, and an Event for the owner."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from django.views.decorators.debug import sensitive_variables

from connected_accounts import security
from connected_accounts.exceptions import AuthorizationDenied, ClientRejected, InvalidState
from connected_accounts.models import AuthorizationRequest, Event, Kind
from connected_accounts.owners import owner_key
from connected_accounts.security import SecurityEvent

EVENTS_A_MINUTE: Final = 60  # per owner, so that retries cannot fill the table

P = ParamSpec("P")
T = TypeVar("T")


def logs_refusals(complete: Callable[P, T]) -> Callable[P, T]:
    """Log what ``complete_authorization`` or ``connect_directly`` refuses. A person who says no at
    the provider is not refused anything."""

    @wraps(complete)
    @sensitive_variables()
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return complete(*args, **kwargs)
        except (InvalidState, AuthorizationDenied, ClientRejected) as error:
            # Rejected site credentials have their own event.
            ours = isinstance(error, ClientRejected) and error.code != "credentials"
            if error.code != "access_denied" and not ours:
                _log_refusal(error.code, kwargs)
            raise

    return wrapper


def _log_refusal(code: str, kwargs: dict[str, Any]) -> None:
    security.log(
        SecurityEvent.REFUSED,
        provider=kwargs["provider"],
        owner=owner_key(kwargs["user"]),
        reason=code,
    )


def record_refusal(request: AuthorizationRequest, cause: str, *, at: datetime) -> None:
    """Note for the owner that a callback of theirs was refused."""
    lately = Event.objects.filter(
        kind=Kind.REFUSED, owner_key=request.owner_key, at__gt=at - timedelta(minutes=1)
    )
    if lately.count() < EVENTS_A_MINUTE:
        Event.record(
            Kind.REFUSED, at=at, detail=cause, provider=request.provider, owner=request.owner_key
        )
