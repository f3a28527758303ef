"""The signed ``state`` parameter (RFC 6749 10.12): an opaque nonce and a signature, nothing else.

Everything about the authorization lives in its row, which the nonce finds. The signature only keeps
made-up values from reaching the database; ``connect.completion`` compares the browser.
"""

import re
import secrets
from typing import Final

from django.core.signing import BadSignature, Signer

from connected_accounts.exceptions import InvalidState

__all__ = ["new_secret"]

MAX_LENGTH: Final = 512
_SALT: Final = "connected_accounts.oauth2.state.v1"
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def new_secret() -> str:
    """256 random bits as 43 URL-safe characters: a nonce, or what the browser's cookie holds."""
    return secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Whether ``text`` has the form of ``new_secret()``."""
    return _SECRET.fullmatch(text) is not None


def sign(nonce: str) -> str:
    """The ``state`` for a nonce."""
    return Signer(sep=".", salt=_SALT).sign(nonce)


def read(state: str) -> str:
    """The nonce in a ``state`` that this site signed. Raises InvalidState (``malformed``)."""
    if not 0 < len(state) <= MAX_LENGTH:
        raise InvalidState("malformed")
    try:
        nonce = Signer(sep=".", salt=_SALT).unsign(state)
    except (BadSignature, UnicodeError):
        raise InvalidState("malformed") from None
    if not is_secret(nonce):
        raise InvalidState("malformed")
    return nonce
