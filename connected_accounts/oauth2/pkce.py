"""Proof Key for Code Exchange, S256 only (RFC 7636)."""

import base64
import hashlib
import secrets


def new_code_verifier() -> str:
    """A fresh ``code_verifier``: 86 unreserved characters, 512 random bits (RFC 7636 4.1)."""
    return secrets.token_urlsafe(64)


def code_challenge(code_verifier: str) -> str:
    """The S256 ``code_challenge`` of a verifier (RFC 7636 4.2)."""
    digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
