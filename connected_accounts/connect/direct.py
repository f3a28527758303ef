"""Connecting without a redirect: with client credentials, a personal token or an identity token.

Nothing is stored before the provider has accepted it and said whose it is.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf
from connected_accounts.clients.credentials import with_client_in_use
from connected_accounts.connect.connection import Authorized, store_connection
from connected_accounts.connect.failures import failures_traced
from connected_accounts.connect.intent import Intent, check_intent
from connected_accounts.connect.outer_transactions import refuse_sites_transaction
from connected_accounts.connect.refusals import logs_refusals
from connected_accounts.database.locks import statements_retried
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    InvalidState,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount
from connected_accounts.models.deployment import adopt_database
from connected_accounts.oauth2.token import TokenResponse, read_token_response
from connected_accounts.owners import may_still_connect
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.providers.inputs import CREDENTIALS
from connected_accounts.secret import Secret, SecretFields, revealed
from connected_accounts.tokens.throttle import until_answered

REJECTED = (401, 403)


@failures_traced
@statements_retried()
@logs_refusals
@sensitive_variables()
def connect_directly(
    *,
    user: Any,
    provider: str,
    values: Mapping[str, Any] | SecretFields,
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
    ``unknown_scope``; ``in_transaction``: it must not be part of a transaction).
    """
    refuse_sites_transaction()
    intent = check_intent(
        user=user,
        alias=provider,
        with_code=False,
        entered={name: revealed(text) for name, text in dict(values).items()},
        scopes=scopes,
        account=account,
        owner=owner,
        keep_scopes=keep_scopes,
    )
    return _connect(intent, now or timezone.now())


@sensitive_variables()
def _connect(intent: Intent, sent_at: datetime) -> tuple[ConnectedAccount, bool]:
    from connected_accounts.tokens.document import token_document  # loads requests
    from connected_accounts.tokens.identity import identify

    inputs = {name: text for name, text in intent.entered.items() if name not in CREDENTIALS}
    provider = intent.provider.bound(inputs=inputs)
    endpoints = provider.endpoints()  # a server that is named says first whose client it wants
    provider = _with_credentials(provider.bound(inputs=provider.inputs_to_keep()), intent)
    adopt_database()
    try:
        token = _token(provider, endpoints, intent)
        identity = identify(provider, endpoints, token)
    except ConnectedAccountsError as error:
        raise _as_credentials_error(error) from None
    if intent.user is not None and not may_still_connect(intent.user, intent.owner_key):
        raise InvalidState("not_permitted")  # the provider took its time
    request = AuthorizationRequest(
        user=intent.user,
        owner_key=intent.owner_key,
        provider=provider.alias,
        client_id=provider.client.client_id,
        scopes=intent.scopes,
        scopes_requested=intent.scopes,
        inputs=dict(provider.inputs),
        account=intent.account,
    )
    return store_connection(
        provider,
        request,
        Authorized(endpoints, token, token_document(token), identity, sent_at),
        own_client=provider.client if provider.client.owned else None,
    )


def _with_credentials(provider: Provider, intent: Intent) -> Provider:
    if provider.grant_type == "personal_token":
        return provider.bound(client=Client("", Secret("")))
    if "client_id" not in intent.entered:  # the site's own
        return with_client_in_use(provider)
    secret = Secret(intent.entered.get("client_secret", ""))
    return provider.bound(client=Client(intent.entered["client_id"], secret, owned=True))


def _token(provider: Provider, endpoints: Endpoints, intent: Intent) -> TokenResponse:
    if provider.grant_type == "personal_token":
        return read_token_response({"access_token": intent.entered["personal_token"]})
    from connected_accounts.tokens.endpoint import exchange_client_credentials  # loads requests
    from connected_accounts.tokens.identity_assertion import exchange_id_token

    def ask() -> TokenResponse:
        if provider.grant_type == "identity_assertion":
            id_token = Secret(intent.entered["id_token"])
            return exchange_id_token(provider, endpoints, id_token, intent.scopes)
        return exchange_client_credentials(provider, endpoints, intent.scopes)

    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE"))
    return until_answered(ask, ends=ends)


def _as_credentials_error(error: ConnectedAccountsError) -> ConnectedAccountsError:
    """ClientRejected (``credentials``) where the provider does not accept what was entered; else
    the failure itself."""
    refused = isinstance(error, ClientRejected | ReauthorizationRequired)
    status = getattr(error, "status", None)
    if refused or (isinstance(error, UnexpectedResponse) and status in REJECTED):
        return ClientRejected("credentials", status=status)
    return error
