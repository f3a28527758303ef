"""Reading an id_token that came over TLS from the token endpoint (OpenID Connect Core 3.1.3.7).

Its signature is not checked: that section allows it for a token received directly. Its claims are
checked: issuer, audience, expiry, and the nonce of the request.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.secret import Secret

LEEWAY: Final = 30  # seconds by which the provider's clock may be behind ours
MAX_SUBJECT: Final = 1024  # characters
MAX_ID_TOKEN: Final = 32 * 1024


def read_id_token(
    id_token: Secret, *, issuer: str, client_id: str, nonce: str, now: datetime | None
) -> Mapping[str, Any]:
    """The claims of a checked id_token. ``nonce`` empty: none was sent. ``now`` None, on a refresh:
    it may have expired, because some servers repeat the first one.

    Raises UnexpectedResponse; its code is ``id_token``, or ``id_token_`` and the claim at fault.
    """
    claims = claims_in(id_token)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires = claims.get("exp")
    if claims.get("iss") != issuer:
        raise UnexpectedResponse("id_token_iss")
    if client_id not in audiences or (len(audiences) > 1 and claims.get("azp") != client_id):
        raise UnexpectedResponse("id_token_aud")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise UnexpectedResponse("id_token_exp")
    if now is not None and expires + LEEWAY <= now.timestamp():
        raise UnexpectedResponse("id_token_exp")
    if nonce and claims.get("nonce") != nonce:
        raise UnexpectedResponse("id_token_nonce")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise UnexpectedResponse("id_token_sub")
    if not subject.isprintable():
        raise UnexpectedResponse("id_token_sub")
    return claims


def claims_in(id_token: Secret) -> dict[str, Any]:
    """The claims as they stand there, unchecked. Raises UnexpectedResponse (``id_token``)."""
    text = id_token.reveal()
    parts = text.split(".")
    if len(parts) != 3 or len(text) > MAX_ID_TOKEN:
        raise UnexpectedResponse("id_token")
    try:
        body = base64.b64decode(
            parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        body = b""
    claims = parse_json_object(body)
    if claims is None:
        raise UnexpectedResponse("id_token")
    return claims
