"""Trying a site's credentials at a provider, with a code and a token that nobody ever had."""

import secrets
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderError,
    ReauthorizationRequired,
)
from connected_accounts.models import Outcome
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked, warning
from connected_accounts.operations.doctor.tries import Call, Kind, Said, attempt, made_up
from connected_accounts.providers.base import (
    CERTIFICATE_METHODS,
    SECRET_METHODS,
    Client,
    Endpoints,
    Provider,
)
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.tokens.document import token_document
from connected_accounts.tokens.endpoint import (
    exchange_client_credentials,
    exchange_code,
    exchange_refresh_token,
    revoke_token,
)

CREDENTIALS: Final = "credentials"
REFRESH: Final = "refresh"
REFUSES: Final = "The provider refuses the client id or secret."
CHECK_CLIENT: Final = "Compare client id and secret with the provider's own page."
# The ways of client authentication besides those without a secret, and how Basic encodes.
WAYS: Final = (
    ("client_secret_post", "form"),
    ("client_secret_basic", "form"),
    ("client_secret_basic", "raw"),
)
ASK_CERTIFICATE: Final = (
    "Compare the client id and the certificate in CLIENT_CERTIFICATE with the provider's own page."
)
STRONG_HINTS: Final = {
    "private_key_jwt": "Compare the client id with the provider's own page, and let it have the "
    "public keys: their address ends in /connections/jwks/ where the app's URLs are at "
    'connections/. An older server may want "client_assertion_audience": "token_endpoint".',
    **dict.fromkeys(CERTIFICATE_METHODS, ASK_CERTIFICATE),
}
DPOP: Final = ("invalid_dpop_proof", "use_dpop_nonce")  # RFC 9449 5, 8


def is_public(provider: Provider) -> bool:
    """Whether there is nothing by which the client proves itself, and so nothing to try."""
    method = provider.token_endpoint_auth_method
    no_secret = not provider.client.client_secret.reveal()
    return method == "none" or (method in SECRET_METHODS and no_secret)


def wrong_client(provider: Provider) -> Client:
    """The client with a secret that is surely wrong, or one without that is surely unknown."""
    if is_public(provider) or provider.token_endpoint_auth_method not in SECRET_METHODS:
        return replace(provider.client, client_id=made_up())
    return replace(provider.client, client_secret=Secret(made_up()))


def asks_token_endpoint(provider: Provider) -> bool:
    """Whether the credentials are tried there by a request that can only be refused."""
    return provider.grant_type == "authorization_code" and bool(provider.client.client_id)


def credentials_findings(
    provider: Provider,
    endpoints: Endpoints,
    calls: Sequence[Call],
    *,
    redirect_uri: str,
    request_token: bool,
) -> Iterator[Finding]:
    """Whether the provider takes the site's client, as far as that can be told, and what it says
    to a refresh token that it does not know. ``calls`` are those that are watched."""
    if provider.grant_type == "personal_token":
        yield unchecked(CREDENTIALS, "People bring tokens of their own; the site has none.")
    elif not provider.client.client_id:
        yield unchecked(CREDENTIALS, "There is no client to try.")
    elif provider.grant_type == "identity_assertion":
        yield unchecked(CREDENTIALS, "They can only be tried with a person's identity token.")
    elif provider.grant_type == "client_credentials":
        yield _by_token(provider, endpoints, request_token=request_token)
    elif is_public(provider):
        yield from _of_public_client(provider, _spend_refresh_token(provider, endpoints, calls))
    else:
        redirect_uri = redirect_uri or "https://made-up.invalid/callback/"
        finding = _by_code(provider, endpoints, calls, redirect_uri)
        yield finding
        if finding.level != "error" and calls[-1].answer is not None:
            yield _of_refresh_token(provider, _spend_refresh_token(provider, endpoints, calls))


def _by_code(
    provider: Provider, endpoints: Endpoints, calls: Sequence[Call], redirect_uri: str
) -> Finding:
    """A made-up code is refused, but the client is looked at before (RFC 6749 3.2.1). Whether it
    was is told by a second try, with a secret that is surely wrong."""
    said = _spend_code(provider, endpoints, calls, redirect_uri)
    if said.word in DPOP and not provider.dpop:
        hint = 'Set "dpop": True in OPTIONS; it needs the extra strong.'
        return error(CREDENTIALS, "The provider demands DPoP (RFC 9449).", hint)
    if said.kind is Kind.ACCEPTED:
        return error(CREDENTIALS, "The provider gave a token for a code that it never issued.")
    if said.kind is Kind.CLIENT_REFUSED:
        way = _another_way(provider, endpoints, calls, redirect_uri)
        if way:
            not_so = "The provider takes the client id and secret, but not in this way."
            return error(CREDENTIALS, not_so, f"Set {way}.")
        return _refused(provider)
    if said.kind is Kind.NONE and said.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _of_an_error_there(provider, endpoints, calls, redirect_uri, said)
    if said.kind in (Kind.NONE, Kind.NOT_SENT):
        return no_answer(CREDENTIALS, said.problem)
    wrong = provider.bound(client=wrong_client(provider))
    other = _spend_code(wrong, endpoints, calls, redirect_uri)
    if other.kind is Kind.CLIENT_REFUSED or (other.word, other.status) != (said.word, said.status):
        return ok(CREDENTIALS, "The provider accepts the client; it refused only a made-up code.")
    if said.kind is not Kind.GRANT_REFUSED:
        return no_answer(CREDENTIALS, said.problem)
    return unchecked(
        CREDENTIALS,
        "A made-up code is refused, but no less with wrong credentials: that tells nothing.",
        "Connect an account to find out.",
    )


def _refused(provider: Provider) -> Finding:
    hint = STRONG_HINTS.get(provider.token_endpoint_auth_method, "")
    said = "The provider refuses the client." if hint else REFUSES
    return error(CREDENTIALS, said, hint or CHECK_CLIENT)


def _another_way(
    provider: Provider,
    endpoints: Endpoints,
    calls: Sequence[Call],
    redirect_uri: str,
    let_in: Container[Kind] = (Kind.GRANT_REFUSED, Kind.REFUSED),
) -> str:
    """The options for another way of client authentication, by which the client is let in; empty:
    there is none. ``let_in`` are the answers to a made-up code that tell so."""
    used = provider.token_endpoint_auth_method, provider.basic_auth_encoding
    if not provider.client.client_secret.reveal():
        return ""
    for method, encoding in WAYS:
        if method == used[0] and (method == "client_secret_post" or encoding == used[1]):
            continue
        other = provider.bound(client=provider.client)
        other.token_endpoint_auth_method, other.basic_auth_encoding = method, encoding
        if _spend_code(other, endpoints, calls, redirect_uri).kind in let_in:
            way = f'"token_endpoint_auth_method": "{method}"'
            return way + (f', "basic_auth_encoding": "{encoding}"' if "basic" in method else "")
    return ""


def _of_an_error_there(
    provider: Provider,
    endpoints: Endpoints,
    calls: Sequence[Call],
    redirect_uri: str,
    said: Said,
) -> Finding:
    """A 500 is what canaille answers to a client that it refuses (0.3.6, tests/servers, November
    2026), and others to a made-up code."""
    way = _another_way(provider, endpoints, calls, redirect_uri, {Kind.GRANT_REFUSED})
    finding = no_answer(CREDENTIALS, said.problem)
    return replace(finding, hint=f"If connecting fails, set {way}.") if way else finding


def _spend_code(
    provider: Provider, endpoints: Endpoints, calls: Sequence[Call], redirect_uri: str
) -> Said:
    verifier = secrets.token_urlsafe(48) if provider.code_challenge_method else ""
    return attempt(
        lambda: exchange_code(
            provider,
            endpoints,
            code=made_up(),
            redirect_uri=redirect_uri,
            code_verifier=verifier,
            scopes=provider.scopes,
        ),
        calls,
    )


def _spend_refresh_token(provider: Provider, endpoints: Endpoints, calls: Sequence[Call]) -> Said:
    document = SecretFields({"refresh_token": made_up()})
    return attempt(lambda: exchange_refresh_token(provider, endpoints, document, []), calls)


def _of_public_client(provider: Provider, said: Said) -> Iterator[Finding]:
    """One request tells all: there is no secret to be wrong."""
    if said.kind is Kind.CLIENT_REFUSED:
        yield error(CREDENTIALS, "The provider refuses the client id.", CHECK_CLIENT)
    elif said.kind in (Kind.NONE, Kind.NOT_SENT):
        yield no_answer(CREDENTIALS, said.problem)
    else:
        yield ok(CREDENTIALS, "The provider does not refuse the client, which has no secret.")
        yield _of_refresh_token(provider, said)


def _of_refresh_token(provider: Provider, said: Said) -> Finding:
    """The provider speaks of dead refresh tokens as it does of one that is nobody's."""
    if said.kind is Kind.ACCEPTED:
        return error(REFRESH, "The provider gave a token for a refresh token it never issued.")
    if said.kind in (Kind.NONE, Kind.NOT_SENT):
        return no_answer(REFRESH, said.problem)
    if said.kind is Kind.GRANT_REFUSED:
        return ok(REFRESH, "A refresh token that the provider does not know is called dead.")
    if said.kind is Kind.CLIENT_REFUSED or said.word == "unsupported_grant_type":
        return warning(
            REFRESH,
            f"The provider does not let this client refresh ({said.word}).",
            "Allow it the grant type refresh_token there; else each connection ends with its "
            "access token.",
        )
    known = ", ".join(f'"{word}"' for word in (*provider.dead_grant_errors, said.word))
    return warning(
        REFRESH,
        f"A refresh token that the provider does not know is refused with {said.word}, which is "
        "not known to mean a dead grant.",
        f'Set "dead_grant_errors": [{known}], if that is its word for it. Else it takes hours '
        "until an account that ended there is shown so.",
    )


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
        return _refused(provider)
    except (ProviderError, ConfigurationError, ReauthorizationRequired) as problem:
        return no_answer(CREDENTIALS, problem)
    try:
        gone = revoke_token(provider, endpoints, token_document(token)) is Outcome.REVOKED
    except ProviderError:
        gone = False
    what = "has been revoked" if gone else "was not kept, and lives until it expires"
    return ok(CREDENTIALS, f"The provider accepts the client; the token that it issued {what}.")


def no_answer(check: str, problem: ConnectedAccountsError | None) -> Finding:
    if isinstance(problem, ConfigurationError):
        return error(check, problem.message)
    status, code = getattr(problem, "status", None), getattr(problem, "code", "")
    said = f"{code}, status {status}" if status else code
    return unchecked(check, f"The provider's answer does not tell ({said}).")
