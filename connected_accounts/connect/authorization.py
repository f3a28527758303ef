"""Connect, first half: the authorization request (RFC 6749 4.1.1, RFC 7636, OpenID Connect)."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.utils import timezone

from connected_accounts import conf
from connected_accounts.clients.credentials import (
    client_entered,
    client_of_owner,
    entered_here,
    registered_scopes,
    store_own_client,
    with_client_in_use,
)
from connected_accounts.connect.failures import failures_traced
from connected_accounts.connect.intent import Intent, check_intent
from connected_accounts.connect.next_page import web_address
from connected_accounts.connect.outer_transactions import refuse_sites_transaction
from connected_accounts.database.functions import digest
from connected_accounts.database.inserts import insert_in_step
from connected_accounts.database.locks import statements_retried
from connected_accounts.database.new_rows import insert_one
from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, ProviderClient
from connected_accounts.oauth2 import dpop, pkce, state
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.providers.inputs import CREDENTIALS
from connected_accounts.sealing import seal
from connected_accounts.secret import Secret, clears_traceback_locals, revealed

logger = logging.getLogger("connected_accounts")

VERIFIER_PURPOSE: Final = "connected_accounts.code_verifier"
DPOP_KEY_PURPOSE: Final = "connected_accounts.dpop_key"
HOST_PLACE: Final = "__host__"  # stands for a host in the address of its callback


def callback_key(host: str) -> str:
    """The part for a host in the address of its callback; empty where the alias has one host."""
    return digest(host)[:32] if host else ""


@failures_traced
@statements_retried()
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
    host_redirect_uri: str = "",
    now: datetime | None = None,
) -> str:
    """Open an authorization for ``user`` in one browser and return the URL to send it to.

    ``browser_secret`` is what the browser's own cookie holds (``oauth2.state.new_secret()``).
    ``next`` is kept for the end where it is a path or a web address; whether that is the site's own
    is looked at then. ``scopes`` are asked for besides the provider's SCOPES. ``inputs`` holds the
    provider's ``connect_fields``. With ``account``, that account is to be connected again, and
    unless ``keep_scopes`` is False the optional scopes that it had are asked for too. With
    ``for_site`` (or without a user) the account will be the site's own; ``user`` is then the member
    of staff who connects it. ``owner`` is the key of the team that the account will belong to, for
    which ``user`` must be allowed to connect. ``host_redirect_uri``, with HOST_PLACE in it, serves
    where each host has an address of its own. Raises ConfigurationError for an unknown provider,
    scope or input, ProviderError where the provider must be asked first and does not answer, and
    InvalidState (``not_permitted``, ``other_user``).
    """
    if not browser_secret:
        raise ValueError("browser_secret is empty: nothing would bind the flow to a browser.")
    intent = check_intent(
        user=user,
        alias=provider,
        with_code=True,
        entered={name: revealed(value) for name, value in dict(inputs or {}).items()},
        scopes=scopes,
        account=account,
        owner=owner,
        keep_scopes=keep_scopes,
        for_site=for_site,
    )
    place = {"next": web_address(next), "browser_digest": digest(revealed(browser_secret))}
    return _open(intent, place, (redirect_uri, host_redirect_uri), now or timezone.now())


def _open(
    intent: Intent, place: Mapping[str, str], redirect_uris: tuple[str, str], now: datetime
) -> str:
    """Store the request and return the URL. ``place`` are columns that say whence and whither."""
    inputs = {name: text for name, text in intent.entered.items() if name not in CREDENTIALS}
    provider, endpoints = found(intent.provider.bound(inputs=inputs))
    if provider.require_pushed_authorization_requests:
        refuse_sites_transaction()
    provider, redirect_uri = _with_address(provider, endpoints, intent, redirect_uris)
    wanted = _known_to(provider, intent)
    offered = offered_scopes(provider, wanted)  # raises before anything is stored
    nonce = state.new_secret()
    verifier = pkce.new_code_verifier() if provider.code_challenge_method else ""
    dpop_key = dpop.new_proof_key() if provider.dpop else None
    oidc_nonce = state.new_secret() if "openid" in offered else ""  # OpenID Connect Core 3.1.2.1
    columns = {
        **place,
        "redirect_uri": redirect_uri,
        **_secret_columns(nonce, verifier, oidc_nonce, dpop_key),
        "user": None if intent.user is None else intent.user.pk,
        "owner_key": intent.owner_key,
        "provider": provider.alias,
        "client_id": provider.client.client_id,
        "endpoint_fingerprint": endpoints.authorization_fingerprint(),
        "scopes": wanted,
        "scopes_requested": offered,
        "inputs": dict(provider.inputs),
        "account": None if intent.account is None else intent.account.pk,
        "created_at": now,
        "expires_at": now + timedelta(seconds=float(conf.get("STATE_MAX_AGE"))),
    }
    _store_entered_client(provider, intent, now)
    provider = _store_with_current_client(columns, provider)
    return _authorization_url(
        provider,
        endpoints,
        intent.account,
        scope=provider.scope_separator.join(offered),
        redirect_uri=redirect_uri,
        state=state.sign(nonce),
        nonce=oidc_nonce,
        code_verifier=verifier,
        dpop_jkt=dpop.thumbprint(dpop_key) if dpop_key else "",
    )


def found(provider: Provider) -> tuple[Provider, Endpoints]:
    """The provider with the inputs that its connection is stored with, and its addresses, for which
    it may be asked. Raises ProviderError."""
    endpoints = provider.endpoints()
    return provider.bound(inputs=provider.inputs_to_keep()), endpoints


def _known_to(provider: Provider, intent: Intent) -> list[str]:
    """The wanted scopes without the defaults that the server turned out not to know."""
    unknown = set(intent.provider.scopes) - set(provider.scopes)
    return [scope for scope in intent.scopes if scope not in unknown]


def _secret_columns(
    nonce: str, verifier: str, oidc_nonce: str, dpop_key: Secret | None
) -> dict[str, Any]:
    nonce_digest = digest(nonce)
    sealed_key = None
    if dpop_key is not None:
        text = dpop_key.reveal()
        sealed_key = seal(text, purpose=DPOP_KEY_PURPOSE, bound_to=nonce_digest)
    return {
        "nonce_digest": nonce_digest,
        "code_verifier": seal(verifier, purpose=VERIFIER_PURPOSE, bound_to=nonce_digest),
        "dpop_key": sealed_key,
        "oidc_nonce": oidc_nonce,
    }


def _store_entered_client(provider: Provider, intent: Intent, now: datetime) -> None:
    if provider.client.owned and "client_id" in intent.entered:
        names = {"provider": provider.alias, "owner": intent.owner_key, "host": provider.host}
        store_own_client(provider.client, **names, at=now)


def _store_with_current_client(columns: dict[str, Any], provider: Provider) -> Provider:
    """Store the request and return the provider with the client that it names: that of settings
    unless an admin entered one. The INSERT checks that, so there is no race."""
    entered = (ProviderClient, entered_here(provider)) if provider.settings_client() else None
    if _insert(columns, unless=entered):
        return provider
    provider = with_client_in_use(provider)
    _insert(columns | {"client_id": provider.client.client_id})
    return provider


def _insert(columns: dict[str, Any], *, unless: Any = None) -> bool:
    insert = partial(insert_one, AuthorizationRequest, columns, unless=unless)
    return insert_in_step(AuthorizationRequest, insert)


def _with_address(
    provider: Provider, endpoints: Endpoints, intent: Intent, redirect_uris: tuple[str, str]
) -> tuple[Provider, str]:
    """The provider with its first client, and the redirect URI that this client has there."""
    redirect_uri, of_host = redirect_uris[0], address_of_host(provider, *redirect_uris)
    provider = _with_first_client(provider, endpoints, intent, redirect_uri, of_host)
    apart = provider.client.registered or provider.callback_per_host
    return provider, of_host if apart else redirect_uri


def address_of_host(provider: Provider, redirect_uri: str, host_redirect_uri: str) -> str:
    """The callback of the provider's host; the alias's where there are no others."""
    key = callback_key(provider.host)
    there = key and host_redirect_uri
    return host_redirect_uri.replace(HOST_PLACE, key) if there else redirect_uri


def _with_first_client(
    provider: Provider, endpoints: Endpoints, intent: Intent, redirect_uri: str, of_host: str
) -> Provider:
    """The provider with the pair that is known without a look: settings' own, which an entered one
    may still replace; else with the one that a look or a registration finds."""
    in_settings = provider.settings_client()
    if in_settings is not None:
        return provider.bound(client=in_settings)
    known = known_client(provider, redirect_uri, intent.owner_key)
    if known is not None:
        return provider.bound(client=known)
    if endpoints.registration_endpoint:
        # Loads requests.
        from connected_accounts.clients.registration import registered_client

        client = registered_client(provider, endpoints, redirect_uri=of_host, wanted=intent.scopes)
        return provider.bound(client=client)
    if "client_id" in intent.entered:
        secret = Secret(intent.entered.get("client_secret", ""))
        return provider.bound(client=Client(intent.entered["client_id"], secret, owned=True))
    if "server" in provider.connect_fields:
        raise UnexpectedResponse("client_needed", sent=False)
    if provider.known_endpoints().registration_endpoint:
        raise UnexpectedResponse("no_registration", sent=False)  # it has no place to register
    return with_client_in_use(provider)


def known_client(provider: Provider, redirect_uri: str, owner: str) -> Client | None:
    """The client that the site is, without asking, where a server was named by somebody or reads
    the site's own description: an admin's entry, the address of that description, or what the
    owner entered before; None: it has none yet, or the provider is no such server. Raises
    Undecryptable."""
    described = provider.client_for(redirect_uri)
    if described is None and "server" not in provider.connect_fields:
        return None
    return client_entered(provider) or described or client_of_owner(provider, owner)


def offered_scopes(provider: Provider, wanted: list[str]) -> list[str]:
    """The wanted scopes that the provider offers; its endpoints must be known. Raises
    UnexpectedResponse (``no_scope_offered``) where none is left."""
    return registered_scopes(provider.client, provider.scopes_to_ask(wanted))


def _authorization_url(
    provider: Provider,
    endpoints: Endpoints,
    account: ConnectedAccount | None,
    *,
    code_verifier: str,
    **offered: str,
) -> str:
    """The address of the request; where the server has been given the request itself, it names
    that alone (RFC 9126 4)."""
    params = request_parameters(provider, account, code_verifier, offered)
    if provider.require_pushed_authorization_requests:
        # Loads requests.
        from connected_accounts.tokens.pushed_request import push_authorization_request

        name = provider.client_id_parameter
        request_uri = push_authorization_request(provider, endpoints, params)
        params = {name: params[name], "request_uri": request_uri}
    parts = urlsplit(endpoints.authorization_endpoint)
    # The endpoint may carry a query of its own, which is kept (RFC 6749 3.1).
    own = parse_qsl(parts.query, keep_blank_values=True)
    query = [(name, value) for name, value in own if name not in params] + [*params.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))


def request_parameters(
    provider: Provider,
    account: ConnectedAccount | None,
    code_verifier: str,
    offered: Mapping[str, str],
) -> dict[str, str]:
    """The parameters of the request, with those in ``offered`` that are not empty."""
    besides = provider.request_params(offered["scope"].split(provider.scope_separator))
    params = {str(k): str(v) for k, v in besides.items()}
    if account is not None:
        account_name = account.label or account.subject
        params |= {
            str(k): str(v).replace("{label}", account_name)
            for k, v in provider.reconnect_params.items()
        }
    params |= {"response_type": "code", provider.client_id_parameter: provider.client.client_id}
    params |= {"resource": provider.resource} if provider.resource else {}
    named = {"scope": provider.scope_parameter}
    params |= {named.get(name, name): value for name, value in offered.items() if value}
    if code_verifier:
        params["code_challenge"] = pkce.code_challenge(code_verifier)
        params["code_challenge_method"] = "S256"
    return params
