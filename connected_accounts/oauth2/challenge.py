"""The headers of an API's refusal: its reason, and what its challenge says (RFC 6750 3)."""

import re
from collections.abc import Mapping
from typing import Final

from connected_accounts.oauth2.token import read_scope

# A parameter with its value, quoted or not, or the name of the next challenge's scheme (RFC 9110
# 11.6.1: several challenges may share one header).
_PART: Final = re.compile(
    r"""([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?""", re.ASCII
)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}", re.ASCII)
MAX_SCOPES: Final = 100
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


def bearer_challenge(headers: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the Bearer and DPoP challenges in ``WWW-Authenticate``, the first of each
    name; names are in lower case."""
    found: dict[str, str] = {}
    scheme = ""
    for part in _PART.finditer(headers.get("WWW-Authenticate", "")):
        name, quoted, plain = part[1].lower(), part[2], part[3]
        if quoted is None and plain is None:
            scheme = name
        elif scheme in ("bearer", "dpop"):
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found.setdefault(name, value)
    return found


def scopes_wanted(status: int, headers: Mapping[str, str]) -> tuple[str, ...] | None:
    """The scopes that a call was refused for want of (RFC 6750 3.1); None: it was not."""
    challenge = bearer_challenge(headers)
    if status != 403 or challenge.get("error") != "insufficient_scope":
        return None
    return sound_scopes(read_scope(challenge.get("scope"), " "))


def sound_scopes(named: tuple[str, ...] | None) -> tuple[str, ...]:
    """Those that RFC 6749 3.3 allows, up to a number that no page would show."""
    return tuple(scope for scope in named or () if _SCOPE.fullmatch(scope))[:MAX_SCOPES]


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
