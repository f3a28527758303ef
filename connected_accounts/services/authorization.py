"""Connect, first half: the authorization request (RFC 6749 4.1.1, RFC 7636, OpenID Connect)."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.utils import timezone

from connected_accounts import conf
from connected_accounts.bulk import insert_one
from connected_accounts.exceptions import (
    ConfigurationError,
    InvalidState,
    UnexpectedResponse,
)
from connected_accounts.fields import seal
from connected_accounts.models import (
    SITE_OWNER,
    AuthorizationRequest,
    ConnectedAccount,
    digest,
)
from connected_accounts.oauth2 import pkce, state
from connected_accounts.owners import key_to_connect_for
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.inputs import checked_inputs
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import forgetful
from connected_accounts.services.clients import registered_scopes, with_client_in_use
from connected_accounts.services.pauses import claim_for_site

logger = logging.getLogger("connected_accounts")

VERIFIER_PURPOSE: Final = "connected_accounts.code_verifier"


@forgetful
def start_authorization(
    *,
    user: Any,
    provider: str,
    redirect_uri: str,
    browser_secret: str,
    next: str = "",
    scopes: Iterable[str] = (),
    account: ConnectedAccount | None = None,
    inputs: Mapping[str, str] | None = None,
    for_site: bool = False,
    owner: str | None = None,
    now: datetime | None = None,
) -> str:
    """Open an authorization for ``user`` in one browser and return the URL to send it to.

    ``browser_secret`` is what the browser's own cookie holds (``oauth2.state.new_secret()``).
    ``scopes`` are asked for besides the provider's SCOPES. ``inputs`` holds the provider's
    ``connect_fields``. With ``account``, that account is to be connected again. With ``for_site``
    (or without a user) the account will be the site's own; ``user`` is then the member of staff
    who connects it. ``owner`` is the key of the team that the account will belong to, for which
    ``user`` must be allowed to connect. Raises ConfigurationError for an unknown provider, scope or
    input, ProviderError where the provider must be asked first and does not answer, and
    InvalidState (``not_permitted``, ``other_user``).
    """
    if not browser_secret:
        raise ValueError("browser_secret is empty: nothing would bind the flow to a browser.")
    service = get_provider(provider)
    if service.grant_type != "authorization_code":
        raise ConfigurationError("grant_type", "This provider has no page to send anybody to.")
    now = now or timezone.now()
    wanted = requested_scopes(service, scopes, account)
    key = SITE_OWNER if for_site else key_to_connect_for(user, owner)
    if account is not None and (account.owner_key, account.provider) != (key, provider):
        raise InvalidState("other_user")
    inputs = checked_inputs(service.asked_fields(for_site=key == SITE_OWNER), inputs or {})
    service = service.bound(inputs=inputs)
    endpoints = service.endpoints()
    if endpoints.registration_endpoint and not service.config.client_id:
        # Loads requests.
        from connected_accounts.services.registration import registered_client

        client = registered_client(service, endpoints, redirect_uri=redirect_uri)
        service = service.bound(client=client)
    elif not service.config.client_id and service.known_endpoints().registration_endpoint:
        raise UnexpectedResponse("no_registration", sent=False)  # it has no place to register
    else:
        service = with_client_in_use(service)
    # What the provider does not offer is not asked for; the row keeps all that the site wanted.
    asked = offered_scopes(service, wanted)
    claim_for_site(provider)
    nonce = state.new_secret()
    nonce_digest = digest(nonce)
    verifier = pkce.new_code_verifier() if service.code_challenge_method else ""
    row = AuthorizationRequest(
        nonce_digest=nonce_digest,
        code_verifier=seal(verifier, purpose=VERIFIER_PURPOSE, bound_to=nonce_digest),
        user=user,
        owner_key=key,
        provider=provider,
        client_id=service.client.client_id,
        endpoint_fingerprint=endpoints.exact(),
        redirect_uri=redirect_uri,
        next=next,
        scopes=wanted,
        inputs=inputs,
        browser_digest=digest(browser_secret),
        account=account,
        created_at=now,
        expires_at=now + timedelta(seconds=float(conf.get("STATE_MAX_AGE"))),
    )
    if "openid" in wanted and endpoints.issuer:
        row.oidc_nonce = state.new_secret()  # OpenID Connect Core 3.1.2.1
    insert_one(row)
    return _authorization_url(service, endpoints, row, asked, state.sign(nonce), verifier)


def requested_scopes(
    provider: Provider, extra: Iterable[str] = (), account: ConnectedAccount | None = None
) -> list[str]:
    """What to ask for: SCOPES, what was asked for besides, and, on a reconnect, the optional scopes
    that the account had. Raises ConfigurationError (``unknown_scope``) for any other."""
    optional = set(provider.config.optional_scopes)
    extra = list(extra)
    if not set(extra) <= optional | set(provider.scopes):
        raise ConfigurationError(
            "unknown_scope",
            "A scope was asked for that stands neither in SCOPES nor in OPTIONAL_SCOPES.",
        )
    kept = [scope for scope in (account.scopes_requested if account else ()) if scope in optional]
    return list(dict.fromkeys([*provider.scopes, *kept, *extra]))


def offered_scopes(provider: Provider, wanted: list[str]) -> list[str]:
    """Of what the site wants, what the provider offers it; after its endpoints are known. Raises
    UnexpectedResponse (``no_scope_offered``) where that is nothing."""
    return registered_scopes(provider.client, provider.scopes_to_ask(wanted))


def _authorization_url(
    provider: Provider,
    endpoints: Endpoints,
    row: AuthorizationRequest,
    scopes: list[str],
    signed_state: str,
    verifier: str,
) -> str:
    params = {str(k): str(v) for k, v in provider.authorization_params.items()}
    if row.account is not None:
        known = row.account.label or row.account.subject
        params |= {
            str(k): str(v).replace("{label}", known) for k, v in provider.reconnect_params.items()
        }
    params |= {
        "response_type": "code",
        "client_id": row.client_id,
        "redirect_uri": row.redirect_uri,
        "state": signed_state,
    }
    if scopes:
        params["scope"] = provider.scope_separator.join(scopes)
    if row.oidc_nonce:
        params["nonce"] = row.oidc_nonce
    if verifier:
        params["code_challenge"] = pkce.code_challenge(verifier)
        params["code_challenge_method"] = "S256"
    parts = urlsplit(endpoints.authorization_endpoint)
    # The endpoint may carry a query of its own, which is kept (RFC 6749 3.1).
    own = parse_qsl(parts.query, keep_blank_values=True)
    query = [(name, value) for name, value in own if name not in params] + [*params.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))
