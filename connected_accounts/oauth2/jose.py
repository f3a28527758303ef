"""Private keys and what is signed with them: JWK (RFC 7517), JWT (RFC 7519), thumbprint (RFC 7638).

Loads joserfc, of the extra ``strong``: to be imported only where something is signed.
"""

import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.views.decorators.debug import sensitive_variables
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.secret import Secret, clears_traceback_locals

MIN_RSA_BITS: Final = 2048
# What a kind of key may sign with, the best first (RFC 7518 3.1, RFC 8037 3.1, RFC 9864).
_BY_KIND: Final[Mapping[str, tuple[str, ...]]] = {
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "RSA": ("PS256", "RS256", "RS384"),
    "Ed25519": ("EdDSA", "Ed25519"),
}
ALGORITHMS: Final = tuple(name for names in _BY_KIND.values() for name in names)


class _Registry(JWSRegistry):
    """joserfc's own warns of ``EdDSA``, the name that servers know Ed25519 by."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


REGISTRY: Final = _Registry(algorithms=ALGORITHMS)


class SigningKey:
    """A private key. Its text, ``pickle`` and ``repr`` never show it.

    ``algorithms`` are those that it can sign with, the best first; a JWK that has ``alg`` is for
    that one only. ``thumbprint`` is its ``kid``, unless the JWK has one.
    """

    __slots__ = ("_key", "algorithms", "kid", "thumbprint")

    def __init__(self, key: ECKey | RSAKey | OKPKey) -> None:
        kind = "RSA" if isinstance(key, RSAKey) else key.curve_name
        able = _BY_KIND.get(kind, ())
        if not able:
            raise _bad(f"Keys of the curve {kind} are none that servers take.")
        if isinstance(key, RSAKey) and key.public_key.key_size < MIN_RSA_BITS:
            raise _bad(f"An RSA key of {key.public_key.key_size} bits is too short.")
        if not key.is_private:
            raise _bad("This is a public key, which signs nothing.")
        if key.alg and key.alg not in able:
            raise _bad(f"Its alg {key.alg!r} is none of this kind of key: {', '.join(able)}.")
        self._key = key
        self.algorithms: tuple[str, ...] = (key.alg,) if key.alg else able
        self.thumbprint: str = key.thumbprint()
        self.kid: str = key.kid or self.thumbprint

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid}>"

    def __reduce__(self) -> Any:
        raise TypeError("A private key cannot be pickled.")

    def public_jwk(self) -> dict[str, str]:
        """The public half with nothing besides, as a proof carries it (RFC 7517)."""
        names = ("kty", "crv", "x", "y", "n", "e")
        public = self._key.as_dict(private=False)
        return {name: str(public[name]) for name in names if name in public}

    def private_jwk(self) -> Secret:
        """The whole key as JSON, for ``signing_key``: to be sealed."""
        return Secret(json.dumps(self._key.as_dict(private=True)))

    def private_pem(self) -> Secret:
        """The whole key as PKCS #8 in PEM."""
        return Secret(self._key.as_pem(private=True).decode())

    def sign(
        self, claims: Mapping[str, Any], *, algorithm: str = "", header: Mapping[str, Any] = {}
    ) -> str:
        """A signed JWT in its compact form. ``algorithm`` is one of ``algorithms``; empty: the
        first. Raises ConfigurationError (``client_key``) where it is another."""
        algorithm = algorithm or self.algorithms[0]
        if algorithm not in self.algorithms:
            raise _bad(f"{self.kid} signs with {', '.join(self.algorithms)}, not {algorithm}.")
        protected = {"alg": algorithm, **header}
        return jwt.encode(protected, dict(claims), self._key, registry=REGISTRY)


def new_key(algorithm: str = "ES256") -> SigningKey:
    """A new key for one of ``ALGORITHMS``; one for RSA has 2048 bits."""
    kind = next(kind for kind, names in _BY_KIND.items() if algorithm in names)
    if kind == "RSA":
        return SigningKey(RSAKey.generate_key(MIN_RSA_BITS))
    if kind == "Ed25519":
        return SigningKey(OKPKey.generate_key("Ed25519"))
    return SigningKey(ECKey.generate_key("P-384" if kind == "P-384" else "P-256"))


@lru_cache(maxsize=64)  # reading an RSA key takes longer than signing with it
@clears_traceback_locals
@sensitive_variables()
def signing_key(text: Secret) -> SigningKey:
    """The private key in a text, PEM (PKCS #1, PKCS #8, SEC 1) or a JWK in JSON. Raises
    ConfigurationError (``client_key``), whose message says what is wrong and shows nothing of
    it."""
    try:
        return SigningKey(_read(text.reveal().strip()))
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        pass
    # Raised here: what the libraries raise may quote the key.
    raise _bad("It is neither a private key in PEM without a password nor a JWK in JSON.")


@sensitive_variables()
def _read(text: str) -> ECKey | RSAKey | OKPKey:
    if text.startswith("{"):
        members = json.loads(text)
        if members.get("kty") == "oct":
            raise _bad("This is a symmetric key, a shared secret; a key pair is needed.")
        key: Any = import_key(members)
        return key  # type: ignore[no-any-return]
    if "PRIVATE KEY" not in text:
        raise _bad("It has no private key: a PEM begins with -----BEGIN … PRIVATE KEY-----.")
    native: Any = load_pem_private_key(text.encode(), None)
    for kind in (ECKey, RSAKey, OKPKey):
        if kind.binding.check_cryptography_key(native):
            return kind(native, native)
    raise _bad("Keys of this kind are none that servers take.")


def algorithm_for(key: SigningKey, wanted: str = "", supported: Collection[str] = ()) -> str:
    """The algorithm to sign with: the ``wanted`` one, else the key's best among the ``supported``
    of a server; where it names none, the key's best. Raises ConfigurationError
    (``client_key``)."""
    if wanted or not supported:
        return wanted or key.algorithms[0]
    for name in key.algorithms:
        if name in supported:
            return name
    able = ", ".join(key.algorithms)
    raise _bad(f"The server takes {', '.join(supported)}, and {key.kid} signs with {able}.")


def _bad(said: str) -> ConfigurationError:
    return ConfigurationError("client_key", f"{said} {MAKE_ONE}")


MAKE_ONE: Final = "manage.py make_client_key makes a key."
