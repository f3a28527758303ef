"""Connect, first half: the authorization request (RFC 6749 4.1.1, RFC 7636, OpenID Connect)."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.utils import timezone

from connected_accounts import conf
from connected_accounts.clients.credentials import (
    entered_here,
    registered_scopes,
    with_client_in_use,
)
from connected_accounts.connect.failures import failures_traced
from connected_accounts.database.functions import digest
from connected_accounts.database.statements import insert_one
from connected_accounts.exceptions import (
    ConfigurationError,
    InvalidState,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, ProviderClient
from connected_accounts.oauth2 import pkce, state
from connected_accounts.owners import SITE_OWNER, key_to_connect_for
from connected_accounts.provider_state.pauses import own_database_once
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.inputs import checked_inputs
from connected_accounts.providers.registry import get_provider
from connected_accounts.sealing import seal
from connected_accounts.secret import clears_traceback_locals

logger = logging.getLogger("connected_accounts")

VERIFIER_PURPOSE: Final = "connected_accounts.code_verifier"


@failures_traced
@clears_traceback_locals
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
    keep_scopes: bool = True,
    now: datetime | None = None,
) -> str:
    """Open an authorization for ``user`` in one browser and return the URL to send it to.

    ``browser_secret`` is what the browser's own cookie holds (``oauth2.state.new_secret()``).
    ``scopes`` are asked for besides the provider's SCOPES. ``inputs`` holds the provider's
    ``connect_fields``. With ``account``, that account is to be connected again, and unless
    ``keep_scopes`` is False the optional scopes that it had are asked for too. With ``for_site``
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
    wanted = requested_scopes(service, scopes, account if keep_scopes else None)
    key = SITE_OWNER if for_site else key_to_connect_for(user, owner)
    if account is not None and (account.owner_key, account.provider) != (key, provider):
        raise InvalidState("other_user")
    inputs = checked_inputs(service.asked_fields(for_site=key == SITE_OWNER), inputs or {})
    service = service.bound(inputs=inputs)
    endpoints = service.endpoints()
    service = _with_first_client(service, endpoints, redirect_uri)
    # What the provider does not offer is not asked for; the row keeps all that the site wanted.
    asked = offered_scopes(service, wanted)
    own_database_once(provider)
    nonce = state.new_secret()
    nonce_digest = digest(nonce)
    verifier = pkce.new_code_verifier() if service.code_challenge_method else ""
    # OpenID Connect Core 3.1.2.1
    oidc_nonce = state.new_secret() if "openid" in wanted and endpoints.issuer else ""
    row = {
        "nonce_digest": nonce_digest,
        "code_verifier": seal(verifier, purpose=VERIFIER_PURPOSE, bound_to=nonce_digest),
        "user": user.pk if user is not None else None,
        "owner_key": key,
        "provider": provider,
        "client_id": service.client.client_id,
        "endpoint_fingerprint": endpoints.authorization_fingerprint(),
        "redirect_uri": redirect_uri,
        "next": next,
        "scopes": wanted,
        "inputs": inputs,
        "browser_digest": digest(browser_secret),
        "account": account.pk if account is not None else None,
        "created_at": now,
        "expires_at": now + timedelta(seconds=float(conf.get("STATE_MAX_AGE"))),
        "oidc_nonce": oidc_nonce,
    }
    # The pair in settings holds where nobody entered another; one statement sees to that, too.
    entered = (ProviderClient, entered_here(service)) if service.config.client_id else None
    if not insert_one(AuthorizationRequest, row, unless=entered):
        service = with_client_in_use(service)
        asked = offered_scopes(service, wanted)
        row["client_id"] = service.client.client_id
        insert_one(AuthorizationRequest, row)
    return _authorization_url(
        service,
        endpoints,
        account,
        scope=service.scope_separator.join(asked),
        redirect_uri=redirect_uri,
        state=state.sign(nonce),
        nonce=oidc_nonce,
        code_verifier=verifier,
    )


def _with_first_client(provider: Provider, endpoints: Endpoints, redirect_uri: str) -> Provider:
    """The provider with the pair that is known without a look: settings' own, which an entered one
    may still replace; else with the one that a look, or a registration, finds."""
    if provider.config.client_id:
        return provider
    if endpoints.registration_endpoint:
        # Loads requests.
        from connected_accounts.clients.registration import registered_client

        client = registered_client(provider, endpoints, redirect_uri=redirect_uri)
        return provider.bound(client=client)
    if provider.known_endpoints().registration_endpoint:
        raise UnexpectedResponse("no_registration", sent=False)  # it has no place to register
    return with_client_in_use(provider)


def requested_scopes(
    provider: Provider, extra: Iterable[str] = (), account: ConnectedAccount | None = None
) -> list[str]:
    """What to ask for: SCOPES, what was asked for besides, and the optional scopes that an account
    had which is to be connected again with all of them. Raises ConfigurationError
    (``unknown_scope``) for any other."""
    optional = set(provider.config.optional_scopes)
    extra = list(extra)
    if not set(extra) <= optional | set(provider.scopes):
        raise ConfigurationError(
            "unknown_scope",
            "A scope was asked for that stands neither in SCOPES nor in OPTIONAL_SCOPES.",
        )
    had = optional_scopes_of(provider, account) if account else []
    return list(dict.fromkeys([*provider.scopes, *had, *extra]))


def optional_scopes_of(provider: Provider, account: ConnectedAccount) -> list[str]:
    """Those of OPTIONAL_SCOPES that were asked for when the account was last connected."""
    optional = provider.config.optional_scopes
    return [scope for scope in account.scopes_requested if scope in optional]


def offered_scopes(provider: Provider, wanted: list[str]) -> list[str]:
    """Of what the site wants, what the provider offers it; after its endpoints are known. Raises
    UnexpectedResponse (``no_scope_offered``) where that is nothing."""
    return registered_scopes(provider.client, provider.scopes_to_ask(wanted))


def _authorization_url(
    provider: Provider,
    endpoints: Endpoints,
    account: ConnectedAccount | None,
    *,
    code_verifier: str,
    **asked: str,
) -> str:
    """The address of the request, with the parameters in ``asked`` that are not empty."""
    params = {str(k): str(v) for k, v in provider.authorization_params.items()}
    if account is not None:
        known = account.label or account.subject
        params |= {
            str(k): str(v).replace("{label}", known) for k, v in provider.reconnect_params.items()
        }
    params |= {"response_type": "code", "client_id": provider.client.client_id}
    params |= {name: value for name, value in asked.items() if value}
    if code_verifier:
        params["code_challenge"] = pkce.code_challenge(code_verifier)
        params["code_challenge_method"] = "S256"
    parts = urlsplit(endpoints.authorization_endpoint)
    # The endpoint may carry a query of its own, which is kept (RFC 6749 3.1).
    own = parse_qsl(parts.query, keep_blank_values=True)
    query = [(name, value) for name, value in own if name not in params] + [*params.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))
