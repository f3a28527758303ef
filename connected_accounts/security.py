"""Security events: one logger, one form, a closed list of names, and no secret. And text from
outside, made harmless to what shows it: one line in a page, a mail or a log, and nothing that a
terminal obeys.

The fields of a record are ``extra`` fields, so that a site's own handler can read them as they are.
"""

import logging
import re
from enum import StrEnum
from typing import Any, Final

logger = logging.getLogger("connected_accounts.security")

MAX_LINE: Final = 255  # characters of a name or label
# Control characters, the separators of lines, and what turns the direction of writing round.
_COMMANDS: Final = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"


class SecurityEvent(StrEnum):
    CONNECTED = "connected"
    RECONNECTED = "reconnected"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    RECONNECT_REQUIRED = "reconnect_required"
    DISCONNECTED = "disconnected"
    CLIENT_STORED = "client_stored"
    CLIENT_REJECTED = "client_rejected"
    FOREIGN_HOST = "foreign_host"
    UNDECRYPTABLE = "undecryptable"
    KEYS_ROTATED = "keys_rotated"
    SITE_CONFIRMED = "site_confirmed"
    ENDPOINTS_CONFIRMED = "endpoints_confirmed"
    IMPORTED = "imported"
    MOVED = "moved"


_LEVELS: Final = {
    SecurityEvent.CONNECTED: logging.INFO,
    SecurityEvent.RECONNECTED: logging.INFO,
    SecurityEvent.DISCONNECTED: logging.INFO,
    SecurityEvent.CLIENT_STORED: logging.INFO,
    SecurityEvent.CLIENT_REJECTED: logging.ERROR,
    SecurityEvent.FOREIGN_HOST: logging.ERROR,
    SecurityEvent.UNDECRYPTABLE: logging.ERROR,
}


def level_of(event: SecurityEvent) -> int:
    """The level that the event is logged at: a warning, unless ``_LEVELS`` says otherwise."""
    return _LEVELS.get(event, logging.WARNING)


def log(
    event: SecurityEvent,
    *,
    provider: str = "",
    owner: str = "",
    account: Any = None,
    reason: str = "",
    address: str = "",
) -> None:
    """Write one record. ``owner`` is an account's ``owner_key``, ``account`` its primary key."""
    fields = {
        "provider": provider,
        "owner": owner,
        "account": account,
        "reason": str(reason),
        "address": address,
    }
    words = "".join(f" {name}={_word(v)}" for name, v in fields.items() if v not in ("", None))
    logger.log(level_of(event), "%s%s", event.value, words, extra={"event": event.value, **fields})


def _word(value: Any) -> str:
    """One word of a line: a user's primary key may be a text that tells lies."""
    return "".join(c if c.isprintable() and not c.isspace() else "?" for c in str(value))


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """The text as one line of at most ``limit`` characters, without control characters."""
    return " ".join(re.sub(_COMMANDS, " ", text[: 4 * limit]).split())[:limit].rstrip()


def visible(text: str) -> str:
    """The text with what a terminal would obey written out, but for its line breaks."""
    return re.sub(_COMMANDS, lambda c: c[0] if c[0] == "\n" else ascii(c[0])[1:-1], text)


class OneLineFilter(logging.Filter):
    """Keeps a record on one line, whatever was put into its words."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if re.search(_COMMANDS, message):
            record.msg, record.args = visible(message).replace("\n", "\\n"), ()
        return True
