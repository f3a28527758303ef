"""Testing a connection: the cheapest call that its provider has, and what came back."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from django.views.decorators.debug import sensitive_variables

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    Undecryptable,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount
from connected_accounts.oauth2.token import read_token_response
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.tokens.api_session import session_for
from connected_accounts.tokens.identity import identity_of
from connected_accounts.use.tokens import current_token, renewed_token

REFUSED = (401, 403)
REFUSALS = ("status_401", "status_403")  # without a reason other than the token


class CheckOutcome(StrEnum):
    """The outcome of a check."""

    WORKS = "works"
    NOTHING_TO_ASK = "nothing_to_ask"  # the token is good as far as this site can know
    OTHER_ACCOUNT = "other_account"
    RECONNECT = "reconnect"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    NOT_UNDERSTOOD = "not_understood"
    SITE_REFUSED = "site_refused"
    SITE_FAULT = "site_fault"


@sensitive_variables()
def check_connection(account: ConnectedAccount) -> CheckOutcome:
    """Ask the provider with the account's token, which is refreshed first where that is due, and
    once where it is refused. Raises nothing for a failure."""
    try:
        provider = get_provider(account.provider).bound(inputs=account.inputs)
        endpoints = provider.endpoints()
        endpoints.refuse_if_unsure(account.endpoint_fingerprint)
        fingerprint = endpoints.token_fingerprint()
        token = current_token(account, fingerprint=fingerprint)
        try:
            return _ask(provider, endpoints, account, token)
        except UnexpectedResponse as error:
            if error.code not in REFUSALS:
                raise
            renewed = renewed_token(account, token, fingerprint=fingerprint)
            if renewed == token:
                raise
        return _ask(provider, endpoints, account, renewed)
    except ConnectedAccountsError as error:
        return _meaning(error)


def _ask(
    provider: Provider, endpoints: Endpoints, account: ConnectedAccount, token: Secret
) -> CheckOutcome:
    session = session_for(provider, endpoints, access_token=lambda: token)
    if provider.identity_source == "userinfo" and endpoints.userinfo_endpoint:
        answer = read_token_response({"access_token": token.reveal()})
        found = identity_of(provider, session, answer)
        same = account.subject in {found.subject, *found.other_subjects}
        return CheckOutcome.WORKS if same else CheckOutcome.OTHER_ACCOUNT
    return _ask_status(provider, endpoints, session.fetch)


def _ask_status(
    provider: Provider, endpoints: Endpoints, fetch: Callable[..., Any]
) -> CheckOutcome:
    if not endpoints.userinfo_endpoint:
        return CheckOutcome.NOTHING_TO_ASK
    answer = fetch(provider.status_method, endpoints.userinfo_endpoint)
    wanted = provider.status_field
    if wanted and not (isinstance(answer, dict) and answer.get(wanted) is True):
        return CheckOutcome.REFUSED
    return CheckOutcome.WORKS


def _meaning(error: ConnectedAccountsError) -> CheckOutcome:
    match error:
        case ReauthorizationRequired(code="no_refresh_token"):
            return CheckOutcome.REFUSED
        case ReauthorizationRequired():
            return CheckOutcome.RECONNECT
        case ProviderUnavailable(code="other_site"):
            return CheckOutcome.SITE_FAULT
        case ProviderUnavailable():
            return CheckOutcome.UNAVAILABLE
        case ClientRejected():
            return CheckOutcome.SITE_REFUSED
        case ProviderError(status=status) if status in REFUSED:
            return CheckOutcome.REFUSED
        case ProviderError():
            return CheckOutcome.NOT_UNDERSTOOD
        case Undecryptable() | ConfigurationError():
            return CheckOutcome.SITE_FAULT
        case _:
            return CheckOutcome.NOT_UNDERSTOOD
