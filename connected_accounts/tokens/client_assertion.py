"""A JWT by which the site proves that it is the client (RFC 7523 2.2, 3)."""

import secrets
import time
from typing import Final

from connected_accounts.exceptions import ClientRejected, ConfigurationError
from connected_accounts.oauth2.discovery import texts_of
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.client.keys import signing_keys
from connected_accounts.secret import Secret

LIFE: Final = 60  # seconds


def client_assertion(
    provider: Provider, endpoints: Endpoints, *, now: float | None = None
) -> Secret:
    """A new assertion, which is good for a minute and once: each try needs its own.

    ``now`` is in seconds since 1970. The audience is the issuer, where it is known and the
    provider's ``client_assertion_audience`` does not say otherwise, whatever endpoint it goes to:
    an address that one server names could be another's. Raises ClientRejected (``client_key``)
    where there is no key that the server takes; nothing was sent then.
    """
    from connected_accounts.oauth2.jose import algorithm_for  # loads joserfc

    keys = signing_keys(provider.config)
    if not keys:
        said = "private_key_jwt needs CLIENT_KEY, and settings have none."
        raise ClientRejected("client_key", said, sent=False)
    moment = int(time.time() if now is None else now)
    by_issuer = provider.client_assertion_audience == "issuer" and endpoints.issuer
    claims = {
        "iss": provider.client.client_id,
        "sub": provider.client.client_id,
        "aud": endpoints.issuer if by_issuer else endpoints.token_endpoint,
        "jti": secrets.token_urlsafe(24),
        "iat": moment,
        "exp": moment + LIFE,
    }
    taken = provider.server_metadata.get("token_endpoint_auth_signing_alg_values_supported")
    wanted = provider.token_endpoint_auth_signing_alg
    try:
        algorithm = algorithm_for(keys[0], wanted, texts_of(taken))
    except ConfigurationError as error:  # since settings were checked, the server has changed
        raise ClientRejected("client_key", error.message, sent=False) from None
    header = {"kid": keys[0].kid, "typ": "JWT"}
    return Secret(keys[0].sign(claims, algorithm=algorithm, header=header))
