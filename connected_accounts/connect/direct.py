"""Connecting without a redirect: with client credentials, or with a personal token.

Nothing is stored before the provider has accepted it and said whose it is.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts.clients.credentials import with_client_in_use
from connected_accounts.connect.authorization import requested_scopes
from connected_accounts.connect.connection import store_connection
from connected_accounts.connect.failures import failures_traced
from connected_accounts.connect.refusals import refusals_told
from connected_accounts.database.transactions import in_sites_transaction
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    InvalidState,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.oauth2.token import TokenResponse, read_token_response
from connected_accounts.owners import key_to_connect_for, may_still_connect
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.providers.inputs import CREDENTIALS, checked_inputs
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret

REJECTED = (401, 403)


@failures_traced
@refusals_told
@sensitive_variables()
def connect_directly(
    *,
    user: Any,
    provider: str,
    values: Mapping[str, Any],
    scopes: Iterable[str] = (),
    account: ConnectedAccount | None = None,
    owner: str | None = None,
    keep_scopes: bool = True,
    now: datetime | None = None,
) -> tuple[ConnectedAccount, bool]:
    """Connect ``user`` (None: the site itself) with what was entered; return the account and
    whether it is new.

    ``values`` holds the provider's ``asked_fields``; secrets may be Secret or text. ``scopes`` are
    asked for besides the provider's SCOPES. With ``account``, that account is to be connected
    again, with the optional scopes that it had unless ``keep_scopes`` is False. ``owner`` is the
    key of the team that it will belong to. Raises ClientRejected (``credentials``: what was entered
    is not accepted), AuthorizationDenied, another ProviderError, InvalidState (``not_permitted``,
    ``other_user``), or ConfigurationError (``inputs``: it may not be sent at all;
    ``unknown_scope``). Must not run inside a transaction.
    """
    if in_sites_transaction():
        raise RuntimeError("connect_directly must not run inside a transaction.")
    key = key_to_connect_for(user, owner)
    if account is not None and (account.owner_key, account.provider) != (key, provider):
        raise InvalidState("other_user")
    service = get_provider(provider)
    if service.grant_type == "authorization_code":
        raise ConfigurationError("grant_type", "This provider is connected by authorization code.")
    wanted = requested_scopes(service, scopes, account if keep_scopes else None)
    texts = {name: _text(value) for name, value in values.items()}
    texts = checked_inputs(service.asked_fields(for_site=user is None), texts)
    inputs = {name: text for name, text in texts.items() if name not in CREDENTIALS}
    service = _with_credentials(service.bound(inputs=inputs), texts, for_site=user is None)
    endpoints = service.endpoints()
    get_or_create_state(provider)  # from the first connection on, the database is this deployment's
    sent_at = now or timezone.now()
    from connected_accounts.tokens.endpoint import token_document  # loads requests
    from connected_accounts.tokens.identity import identify

    row = AuthorizationRequest(
        user=user,
        owner_key=key,
        provider=provider,
        client_id=service.client.client_id,
        scopes=wanted,
        inputs=inputs,
        account=account,
    )
    try:
        token = _token(service, endpoints, texts, wanted)
        identity = identify(service, endpoints, token)
    except ConnectedAccountsError as error:
        raise _meant(error) from None
    if user is not None and not may_still_connect(user, key):
        raise InvalidState("not_permitted")  # the provider took its time
    own = service.client if service.client.owned else None
    document = token_document(token)
    return store_connection(
        service, endpoints, row, token, document, identity, sent_at, own_client=own
    )


def _text(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def _with_credentials(service: Provider, texts: Mapping[str, str], *, for_site: bool) -> Provider:
    if service.grant_type == "personal_token":
        return service.bound(client=Client("", Secret("")))
    if for_site:
        return with_client_in_use(service)
    own = Client(texts["client_id"], Secret(texts["client_secret"]), owned=True)
    return service.bound(client=own)


def _token(
    service: Provider, endpoints: Endpoints, texts: Mapping[str, str], scopes: list[str]
) -> TokenResponse:
    if service.grant_type == "personal_token":
        return read_token_response({"access_token": texts["personal_token"]})
    from connected_accounts.tokens.endpoint import exchange_client_credentials  # loads requests

    return exchange_client_credentials(service, endpoints, scopes)


def _meant(error: ConnectedAccountsError) -> ConnectedAccountsError:
    """What a failure says of what was entered."""
    refused = isinstance(error, ClientRejected | ReauthorizationRequired)
    status = getattr(error, "status", None)
    if refused or (isinstance(error, UnexpectedResponse) and status in REJECTED):
        return ClientRejected("credentials", status=status)
    return error
