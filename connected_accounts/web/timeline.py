"""The events of an account, in words, newest first. From the table of events, which are kept for a
while (``EVENT_RETENTION_DAYS``)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connected_accounts.exceptions import AuthorizationDenied, InvalidState
from connected_accounts.models import ConnectedAccount, Event, Kind, Outcome, Reason
from connected_accounts.web.failures import failure_for

SHOWN: Final = 100
GOOD: Final = (Kind.CONNECTED, Kind.RECONNECTED, Kind.REVOKED)
BAD: Final = (Kind.RECONNECT_REQUIRED, Kind.REFUSED, Kind.CONNECT_FAILED, Kind.GIVEN_UP)
_REFUSED_TO_RENEW: Final = gettext_lazy(
    "The service refused to renew the permission; it is tried again."
)
# Codes of a failed refresh that were a definite no of the provider.
_REFUSALS: Final = re.compile(
    "status_4(?!08|25|29)|invalid_|unsupported_grant_type|unauthorized_client|client_rejected"
)
_WORDS: Final[dict[str, str | Promise]] = {
    Kind.CONNECTED: gettext_lazy("Connected."),
    Kind.RECONNECTED: gettext_lazy("Connected again."),
    Kind.SCOPES_CHANGED: gettext_lazy("The service changed what this site may do."),
    Kind.REFRESH_FAILED: gettext_lazy("The service did not answer as expected; it is tried again."),
    Kind.RECONNECT_REQUIRED: gettext_lazy("The connection ended."),
    Kind.DISCONNECTED: gettext_lazy("Disconnected."),
    Kind.REVOKED: gettext_lazy("The permission was withdrawn at the service."),
    Kind.GIVEN_UP: gettext_lazy("The permission could not be withdrawn at the service."),
    Kind.REFUSED: gettext_lazy("An attempt to connect was refused."),
    Kind.CONNECT_FAILED: gettext_lazy("An attempt to connect failed."),
    Kind.MOVED: gettext_lazy("Given to another owner."),
}

# How a revocation ended, where nothing was withdrawn by it.
_REVOKED_WORDS: Final[dict[str, str | Promise]] = {
    Outcome.ALREADY_GONE.value: gettext_lazy("The service had ended the permission already."),
    Outcome.UNCONFIRMED.value: gettext_lazy(
        "We asked the service to withdraw the permission. It does not tell whether it did."
    ),
    Outcome.UNSUPPORTED.value: gettext_lazy(
        "The service offers no way to withdraw the permission from here."
    ),
}
_NOT_WITHDRAWN: Final = (Outcome.UNCONFIRMED, Outcome.UNSUPPORTED)


@dataclass(frozen=True)
class Line:
    """One event. ``mood`` is ``good``, ``bad`` or ``neutral``; ``code`` is for staff."""

    at: datetime
    kind: str
    mood: str
    words: str
    scopes: list[str]
    code: str
    provider: str
    label: str
    reference: str


def timeline(account: ConnectedAccount) -> list[Line]:
    """The last events of one account, and refused attempts of its owner there. One query."""
    attempts = (Kind.REFUSED, Kind.CONNECT_FAILED)
    about = Q(subject=account.subject) | Q(kind__in=attempts, subject="")
    found = Event.objects.filter(about, owner_key=account.owner_key, provider=account.provider)
    return list(lines_of(found.order_by("-at", "-pk")[:SHOWN]))


def lines_of(events: Iterable[Event]) -> Iterable[Line]:
    """The line of each event, in their order. No query besides."""
    for event in events:
        good = event.kind in GOOD and event.detail not in _NOT_WITHDRAWN
        mood = "good" if good else "bad" if event.kind in BAD else "neutral"
        scopes = event.detail.split() if event.kind == Kind.SCOPES_CHANGED else []
        yield Line(
            at=event.at,
            kind=event.kind,
            mood=mood,
            words=_words(event),
            scopes=scopes,
            code=event.detail,
            provider=event.provider,
            label=event.label,
            reference=event.reference,
        )


def _words(event: Event) -> str:
    words = str(_REVOKED_WORDS.get(event.detail, "")) if event.kind == Kind.REVOKED else ""
    words = words or str(_WORDS.get(event.kind, event.get_kind_display()))
    if event.kind == Kind.RECONNECT_REQUIRED and event.detail in Reason:
        why = Reason(event.detail).label
        return _("The connection ended: %(why)s. It must be connected again.") % {"why": why}
    if event.kind == Kind.REFRESH_FAILED and _REFUSALS.match(event.detail):
        return str(_REFUSED_TO_RENEW)
    if event.kind == Kind.REFUSED:
        return f"{words} {_why_refused(event.detail)}".rstrip()
    return words


def _why_refused(code: str) -> str:
    known = ("access_denied", "other_account", "account_in_use", "too_many_accounts")
    error = AuthorizationDenied(code) if code in known else InvalidState(code)
    return f"{failure_for(error).title}."
