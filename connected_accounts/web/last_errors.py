"""The code of a failed refresh or revocation, in a sentence for staff."""

import re
from typing import Final

from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connected_accounts.models import Reason

_AWAY: Final = gettext_lazy("The service cannot be reached.")
_LATE: Final = gettext_lazy("The service did not answer in time.")
_CLIENT: Final = gettext_lazy("The service does not accept this site’s client ID or secret.")
_STRANGE: Final = gettext_lazy("The service gave an answer that cannot be understood.")
_BUSY: Final = gettext_lazy("Another process was working on this account.")
_WAITS: Final = gettext_lazy("The service is asked too often; the next request has to wait.")
_CHANGED: Final = gettext_lazy("The settings of this service changed since it was connected.")
_WORDS: Final[dict[str, str | Promise]] = {
    "unreachable": _AWAY,
    "no_metadata": gettext_lazy("The service does not say where its addresses are."),
    "timeout": _LATE,
    "deadline": _LATE,
    "connection_lost": gettext_lazy("The connection was cut before the answer had come."),
    "tls": gettext_lazy("The certificate of the service is not accepted."),
    "throttled": _WAITS,
    "rate_limited": _WAITS,
    "temporarily_unavailable": gettext_lazy("The service says that it is unavailable for now."),
    "server_error": gettext_lazy("The service says that it has a problem of its own."),
    "busy": _BUSY,
    "overtaken": _BUSY,
    "lease_too_old": _BUSY,
    "database_away": gettext_lazy("The database could not store the answer."),
    "no_connection": gettext_lazy("The database gave no further connection."),
    "paused": gettext_lazy("The service is paused."),
    "other_site": gettext_lazy("The database belongs to another site; see manage.py confirm_site."),
    "owner_inactive": gettext_lazy("The user is deactivated."),
    "undecryptable": gettext_lazy(
        "The stored token cannot be opened: FIELD_ENCRYPTION_KEY lacks its key, or the row is "
        "damaged."
    ),
    "invalid_client": _CLIENT,
    "unauthorized_client": _CLIENT,
    "client_rejected": _CLIENT,
    "credentials": gettext_lazy("The service does not accept the credentials that were entered."),
    "client_id_changed": _CHANGED,
    "unknown_provider": gettext_lazy("The settings do not have this service any more."),
    "not_json": _STRANGE,
    "too_large": _STRANGE,
    "redirect": _STRANGE,
    "access_token": _STRANGE,
    "token_type": _STRANGE,
    "not_bound": gettext_lazy(
        "The service gave a token that works without the key of this connection, so it was not "
        "accepted."
    ),
    "token_characters": _STRANGE,
    "invalid_request": gettext_lazy("The service does not accept the request."),
    "invalid_scope": gettext_lazy("The service does not know a permission that is asked for."),
    "hook_failed": gettext_lazy("The code of this provider raised an error; see the log."),
}
_STATUS: Final = r"status_([1-5]\d\d)"


def explain_error(code: str) -> str:
    """The sentence for a ``last_error``; empty where there was none."""
    if not code:
        return ""
    if code in _WORDS:
        return str(_WORDS[code])
    if code in Reason:
        return f"{capfirst(str(Reason(code).label))}."
    if status := re.fullmatch(_STATUS, code):
        words = (
            _("The service has a problem of its own (HTTP %(status)s).")
            if status[1].startswith("5")
            else _("The service refused the request (HTTP %(status)s).")
        )
        return words % {"status": status[1]}
    return _("The refresh failed.")
