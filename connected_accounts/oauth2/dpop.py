"""Tokens that are bound to a key, and the proofs of it (RFC 9449).

A proof is for one request: its method, its address and, at an API, its token. Owns what servers
gave as nonces, in this process; knows no account. The library that signs is loaded by the first
proof.
"""

import hashlib
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit, urlunsplit

from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.secret import Secret

if TYPE_CHECKING:  # it loads requests
    from connected_accounts.oauth2.transport import Answer

ALGORITHM: Final = "ES256"
TOKEN_TYPE: Final = "DPoP"  # noqa: S105  # the name of a scheme
NONCE_HEADER: Final = "DPoP-Nonce"
MAX_ORIGINS: Final = 1000  # whose nonces are kept
_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}", re.ASCII)  # RFC 9449 8.1

_nonces: dict[tuple[str, str], str] = {}


class BoundToken(Secret):
    """An access token with ``key``, the private key (a JWK in JSON) without which it is refused."""

    __slots__ = ("key",)
    key: Secret

    def __new__(cls, text: str | None, key: Secret | None = None) -> Self:
        self = super().__new__(cls, text)
        self.key = key or Secret(None)
        return self


def new_proof_key() -> Secret:
    """A new private key for one connection: a JWK in JSON, to be sealed."""
    from connected_accounts.oauth2.jose import new_key  # loads joserfc

    return new_key(ALGORITHM).private_jwk()


def thumbprint(key: Secret) -> str:
    """The SHA-256 thumbprint by which a server knows the key (RFC 7638): for ``dpop_jkt``, without
    which a stolen code could be bound to another key (RFC 9449 10)."""
    from connected_accounts.oauth2.jose import signing_key  # loads joserfc

    return signing_key(key).thumbprint


def authorization(token: Secret, method: str, url: str) -> dict[str, str]:
    """The headers by which a call shows its access token: as a bearer, or with a proof."""
    if not isinstance(token, BoundToken):
        return {"Authorization": f"Bearer {token.reveal()}"}
    # Into no variable: a frame shows those.
    return {
        "Authorization": f"{TOKEN_TYPE} {token.reveal()}",
        **proof_header(token.key, method, url, token),
    }


def proof_header(
    key: Secret | None, method: str, url: str, token: Secret | None = None
) -> dict[str, str]:
    """The header with a proof for one request, and with the last nonce of its server; none without
    a key."""
    if key is None:
        return {}
    from connected_accounts.oauth2.jose import signing_key  # loads joserfc

    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    claims = {
        "jti": secrets.token_urlsafe(16),
        "htm": method.upper(),
        "htu": urlunsplit(address),
        "iat": int(time.time()),
    }
    if token is not None:
        claims["ath"] = _base64url(hashlib.sha256(token.reveal().encode()).digest())
    nonce = _nonces.get(_origin(url))
    claims |= {"nonce": nonce} if nonce else {}
    signer = signing_key(key)
    header = {"typ": "dpop+jwt", "jwk": signer.public_jwk()}
    return {TOKEN_TYPE: signer.sign(claims, algorithm=ALGORITHM, header=header)}


def note_nonce(url: str, headers: Mapping[str, str]) -> None:
    """Remember the nonce that an answer gives for the next proofs (RFC 9449 8.2)."""
    nonce = headers.get(NONCE_HEADER, "")
    if _NONCE.fullmatch(nonce):
        if len(_nonces) >= MAX_ORIGINS:
            _nonces.clear()  # costs each server one more try
        _nonces[_origin(url)] = nonce


def forget_nonces() -> None:
    """Forget what servers gave, as a new process does."""
    _nonces.clear()


def asks_for_nonce(status: int, headers: Mapping[str, str], body: bytes = b"") -> bool:
    """Whether a request was refused only because its proof lacks the nonce that comes with the
    answer (RFC 9449 8, 9)."""
    if status not in (400, 401) or NONCE_HEADER not in headers:
        return False
    asked = "use_dpop_nonce"
    in_body = (parse_json_object(body) or {}).get("error") == asked
    return in_body or asked in headers.get("WWW-Authenticate", "")


def answered_with_nonce(send: "Callable[[float], Answer]", url: str, *, seconds: float) -> "Answer":
    """The answer to ``send``, which signs a proof for ``url``, sends it and is given the seconds
    that it may take; sent once more where the server wants its nonce in the proof, in what is left
    of ``seconds``. Nothing was done by then, so that no code or refresh token is spent twice."""
    ends = time.monotonic() + seconds
    answer = send(seconds)
    note_nonce(url, answer.headers)
    if asks_for_nonce(answer.status, answer.headers, answer.body):
        answer = send(ends - time.monotonic())
        note_nonce(url, answer.headers)
    return answer


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
