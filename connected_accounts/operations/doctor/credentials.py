"""Trying a site's credentials at a provider, with a code and a token that nobody ever had."""

import secrets
from dataclasses import replace
from typing import Final

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    ReauthorizationRequired,
)
from connected_accounts.models import Outcome
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.secret import Secret
from connected_accounts.tokens.endpoint import (
    exchange_client_credentials,
    exchange_code,
    revoke_token,
    token_document,
)

CREDENTIALS: Final = "credentials"
REVOCATION: Final = "revocation"
CHECK_CLIENT: Final = "Compare client id and secret with the provider's own page."
TOKEN_REFUSED, CLIENT_REFUSED, ACCEPTED = "grant", "client", "accepted"


def made_up(length: int = 32) -> str:
    """A value that cannot be anybody's."""
    return f"made-up-{secrets.token_urlsafe(length)}"


def credentials_finding(
    provider: Provider, endpoints: Endpoints, *, redirect_uri: str, request_token: bool
) -> Finding:
    """Whether the provider takes the site's client id and secret, as far as that can be told."""
    if provider.grant_type == "personal_token":
        return unchecked(CREDENTIALS, "People bring tokens of their own; the site has none.")
    if not provider.client.client_id:
        return unchecked(CREDENTIALS, "There is no client to try.")
    if provider.grant_type == "client_credentials":
        return _by_token(provider, endpoints, request_token=request_token)
    return _by_code(provider, endpoints, redirect_uri or "https://made-up.invalid/callback/")


def _by_code(provider: Provider, endpoints: Endpoints, redirect_uri: str) -> Finding:
    """A made-up code is refused, but the client is looked at before (RFC 6749 3.2.1). Whether it
    was is told by a second try, with a secret that is surely wrong."""
    reply = _spend_made_up(provider, endpoints, redirect_uri)
    if isinstance(reply, ConnectedAccountsError):
        return _no_answer(CREDENTIALS, reply)
    if reply == CLIENT_REFUSED:
        return error(CREDENTIALS, "The provider refuses the client id or secret.", CHECK_CLIENT)
    if reply == ACCEPTED:
        return error(CREDENTIALS, "The provider gave a token for a code that it never issued.")
    client = provider.client
    has_secret = bool(client.client_secret.reveal())
    wrong = replace(client, client_secret=Secret(made_up()))
    if not has_secret or provider.token_endpoint_auth_method == "none":  # noqa: S105  # a method
        wrong = replace(client, client_id=made_up())
    if _spend_made_up(provider.bound(client=wrong), endpoints, redirect_uri) == CLIENT_REFUSED:
        return ok(CREDENTIALS, "The provider accepts the client; it refused only a made-up code.")
    return unchecked(
        CREDENTIALS,
        "A made-up code is refused, but no less with wrong credentials: that tells nothing.",
        "Connect an account to find out.",
    )


def _spend_made_up(
    provider: Provider, endpoints: Endpoints, redirect_uri: str
) -> str | ConnectedAccountsError:
    verifier = secrets.token_urlsafe(48) if provider.code_challenge_method else ""
    try:
        exchange_code(
            provider,
            endpoints,
            code=made_up(),
            redirect_uri=redirect_uri,
            code_verifier=verifier,
            scopes=provider.scopes,
        )
    except ClientRejected:
        return CLIENT_REFUSED
    except ReauthorizationRequired:
        return TOKEN_REFUSED
    except (ProviderError, ConfigurationError) as problem:
        return problem
    return ACCEPTED


def _by_token(provider: Provider, endpoints: Endpoints, *, request_token: bool) -> Finding:
    if not request_token:
        return unchecked(
            CREDENTIALS,
            "They can only be tried by having a token issued.",
            "Run with --request-token to do that; the token is revoked where that can be done.",
        )
    if not set(provider.token_request_inputs) & set(provider.connect_fields) <= set(
        provider.inputs
    ):
        names = " ".join(f"--input {name}=…" for name in provider.token_request_inputs)
        return unchecked(CREDENTIALS, "A token request needs more here.", names)
    try:
        token = exchange_client_credentials(provider, endpoints, provider.scopes)
    except ClientRejected:
        return error(CREDENTIALS, "The provider refuses the client id or secret.", CHECK_CLIENT)
    except (ProviderError, ConfigurationError, ReauthorizationRequired) as problem:
        return _no_answer(CREDENTIALS, problem)
    try:
        gone = revoke_token(provider, endpoints, token_document(token)) is Outcome.REVOKED
    except ProviderError:
        gone = False
    what = "has been revoked" if gone else "was not kept, and lives until it expires"
    return ok(CREDENTIALS, f"The provider accepts the client; the token that it issued {what}.")


def revocation_finding(provider: Provider, endpoints: Endpoints) -> Finding:
    """Whether a disconnect can withdraw what was granted, tried with a token that is nobody's: for
    an unknown one the answer is a yes too (RFC 7009 2.2)."""
    if not endpoints.revocation_endpoint:
        where = provider.manage_url_for(provider.inputs)
        by_hand = f" People withdraw it at {where}." if where else ""
        return unchecked(REVOCATION, f"The provider has no revocation endpoint.{by_hand}")
    open_to_all = provider.revocation_auth_method == "bare"
    if not provider.client.client_id and not open_to_all:
        return unchecked(REVOCATION, "There is no client to try it with.")
    try:
        outcome = revoke_token(provider, endpoints, {provider.revoke_token_type_hint: made_up()})
    except ClientRejected:
        return error(REVOCATION, "The provider refuses the client there.", CHECK_CLIENT)
    except (ProviderError, ConfigurationError) as problem:
        return _no_answer(REVOCATION, problem)
    if outcome is Outcome.UNSUPPORTED:
        return error(
            REVOCATION,
            "The revocation endpoint does not revoke.",
            "Correct revocation_endpoint, or leave it empty; then nothing is withdrawn.",
        )
    return ok(REVOCATION, "Tokens can be revoked.")


def _no_answer(check: str, problem: ConnectedAccountsError) -> Finding:
    if isinstance(problem, ConfigurationError):
        return error(check, problem.message)
    status = getattr(problem, "status", None)
    reply = f"{problem.code}, status {status}" if status else problem.code
    return unchecked(check, f"The provider's answer does not tell ({reply}).")
