"""The site's keys as a client: those of CLIENT_KEY, and how servers get their public halves."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from connected_accounts.conf import ProviderConfig
from connected_accounts.exceptions import ConfigurationError

if TYPE_CHECKING:
    from connected_accounts.oauth2.jose import SigningKey


def signing_keys(config: ProviderConfig) -> "tuple[SigningKey, ...]":
    """The keys of CLIENT_KEY, of which the first signs. Raises ConfigurationError (``client_key``)
    for one that cannot be read, and where the library for keys is not installed."""
    if not config.client_keys:
        return ()
    try:
        from connected_accounts.oauth2.jose import signing_key  # loads joserfc
    except ModuleNotFoundError:
        raise ConfigurationError(
            "client_key", "Keys need the extra: pip install 'django-connected-accounts[strong]'."
        ) from None
    return tuple(signing_key(text) for text in config.client_keys)


def key_set(keys: "Iterable[SigningKey]") -> dict[str, Any]:
    """The public halves (RFC 7517 5). A key that signs with several algorithms names none."""
    found = {
        key.kid: key.public_jwk()
        | {"kid": key.kid, "use": "sig"}
        | ({"alg": key.algorithms[0]} if len(key.algorithms) == 1 else {})
        for key in keys
    }
    return {"keys": [*found.values()]}


def keys_to_register(config: ProviderConfig, redirect_uri: str) -> dict[str, Any]:
    """The client metadata by which a server gets the keys: the address of our page, so that a
    rotation needs nobody there, or where others cannot reach it the keys themselves (RFC 7591
    2)."""
    base, found, _ = redirect_uri.rpartition(f"{config.alias}/callback/")
    if found and base.startswith("https:"):
        return {"jwks_uri": f"{base}jwks/"}
    return {"jwks": key_set(signing_keys(config))}
