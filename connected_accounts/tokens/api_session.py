"""The session for a provider's API, and which hosts it may send the bearer to."""

from typing import Any

from connected_accounts.oauth2.session import ProviderSession, origin_of
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.endpoints import as_origin


def session_for(
    provider: Provider,
    endpoints: Endpoints,
    *,
    access_token: Any,
    renew: Any = None,
    more_scopes: Any = None,
) -> ProviderSession:
    """A session for the provider's API; ``access_token``, ``renew`` and ``more_scopes`` as
    ProviderSession says."""
    return ProviderSession(
        client_id=provider.client.client_id,
        base_url=endpoints.api_base_url,
        origins={
            origin_of(url) for url in (*endpoints.api_urls(), *map(as_origin, provider.api_hosts))
        },
        access_token=access_token,
        renew=renew,
        more_scopes=more_scopes if provider.raises_insufficient_scope else None,
        headers=provider.request_headers(),
        bearer_method=provider.bearer_method,
        access_token_header=provider.access_token_header,
        requires_challenge=provider.requires_challenge,
        public_only=endpoints.public_only,
        named_by_people=endpoints.public_only and bool(provider.client_host),
        dead_token_statuses=provider.dead_token_statuses,
        # Where all calls go to one address, a refusal there need not be about the token.
        identity_url="" if endpoints.only_below else endpoints.userinfo_endpoint,
        only_below=endpoints.only_below,
        provider=provider.alias,
        certificate=provider.config.client_certificate,
    )
