"""The reason of a refusal by an API, as far as its headers tell it (RFC 6750 3)."""

import re
from collections.abc import Mapping
from typing import Final

_ERROR: Final = re.compile(r'(?<![\w-])error\s*=\s*"?([^",\s]+)', re.ASCII)
# Words that mean the token without naming it (seen).
_OF_THE_TOKEN: Final = frozenset({"invalid_grant", "unauthorized", "expired"})
KNOWN_REASONS: Final = frozenset(
    {
        "insufficient_scope",  # RFC 6750 3.1
        "invalid_request",
        "insufficient_user_authentication",  # RFC 9470 3
        "invalid_dpop_proof",  # RFC 9449 7.1
        "use_dpop_nonce",
    }
)
OTHER_REASON: Final = "other_reason"


def is_throttled(headers: Mapping[str, str]) -> bool:
    """Whether a refusal asks for patience, as some 403 do (RFC 9110 10.2.3; GitHub's and others'
    header)."""
    return "Retry-After" in headers or headers.get("X-RateLimit-Remaining", "").strip() == "0"


def other_reason(headers: Mapping[str, str]) -> str:
    """Why a call was refused, where the answer says so and it is not the token; else empty. A word
    that is not known is ``other_reason``: a provider's own text is not passed on."""
    words = _ERROR.findall(headers.get("WWW-Authenticate", ""))
    if not words or any("token" in word.lower() or word in _OF_THE_TOKEN for word in words):
        return ""
    return words[0] if words[0] in KNOWN_REASONS else OTHER_REASON


def means_dead_token(headers: Mapping[str, str]) -> bool:
    """Whether a refusal with a status that may mean a dead token does."""
    return not is_throttled(headers) and not other_reason(headers)
