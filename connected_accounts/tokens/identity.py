"""The identity behind a fresh token: by its id_token, by the token answer, or by asking the
provider."""

import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import requests

from connected_accounts import conf
from connected_accounts.exceptions import ProviderError, ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2.id_token import read_id_token
from connected_accounts.oauth2.session import ProviderSession
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.providers.base import Endpoints, Identity, Provider
from connected_accounts.providers.hooks import call_hook
from connected_accounts.tokens.api_session import session_for
from connected_accounts.tokens.throttle import until_answered


def with_claims(
    provider: Provider,
    endpoints: Endpoints,
    token: TokenResponse,
    *,
    nonce: str,
    now: datetime | None,
) -> TokenResponse:
    """The token answer with what its id_token claims, checked; as it is where there is none.

    ``nonce`` is the one that was sent; on a refresh it is empty and ``now`` None. Raises
    UnexpectedResponse.
    """
    of_sign_in = provider.grant_type == "identity_assertion"  # by which the token was asked for
    if token.id_token is None or not endpoints.issuer or of_sign_in:
        return token
    claims = read_id_token(
        token.id_token,
        issuer=endpoints.issuer,
        client_id=provider.client.client_id,
        nonce=nonce,
        now=now,
    )
    return replace(token, claims=claims)


def identify(provider: Provider, endpoints: Endpoints, token: TokenResponse) -> Identity:
    """Ask the provider who a fresh token belongs to. Raises ProviderError."""
    endpoints = provider.endpoints_of_grant(endpoints, token.api_base)
    session = session_for(provider, endpoints, access_token=lambda: token.access_token)
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE"))
    return until_answered(lambda: identity_of(provider, session, token), ends=ends)


def identity_of(
    provider: Provider, session: ProviderSession | None, token: TokenResponse
) -> Identity:
    """The identity that the backend's hook finds. An answer that it trips over is an error of the
    provider.

    Raises ProviderError.
    """
    identity = call_hook(
        "identity",
        lambda: _fetch_identity(provider, session, token),
        code="no_identity",
        expected=ProviderError,
    )
    if not identity.subject:
        raise UnexpectedResponse("no_identity")
    return identity


def _fetch_identity(
    provider: Provider, session: ProviderSession | None, token: TokenResponse
) -> Identity:
    with suppress(requests.RequestException):
        return provider.fetch_identity(session, token)  # type: ignore[arg-type]
    raise ProviderUnavailable("connection_lost")
