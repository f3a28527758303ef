"""Access by what an organisation's sign-in says of a person: its identity token is exchanged there
for an assertion (RFC 8693), which an authorization server takes in place of a code (RFC 7523 2.1).

After draft-ietf-oauth-identity-assertion-authz-grant (read 2026-11), which names the assertion
ID-JAG.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from django.views.decorators.debug import sensitive_variables

from connected_accounts.exceptions import ClientRejected, ProviderError, UnexpectedResponse
from connected_accounts.oauth2.id_token import claims_in
from connected_accounts.oauth2.token import LifeField, TokenResponse, parse_json_object
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.registry import known_provider
from connected_accounts.secret import Secret
from connected_accounts.tokens.endpoint import failure_of, post, request_token

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # a name
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105  # a name
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"


@sensitive_variables()
def exchange_id_token(
    provider: Provider,
    endpoints: Endpoints,
    id_token: Secret,
    scopes: Sequence[str],
    proof_key: Secret | None = None,
) -> TokenResponse:
    """Ask for a token with a fresh assertion of the provider's ``identity_provider``.

    The answer carries ``id_token``, by which the next one is asked for, as its refresh token would
    be: that ends when the identity token does. Raises as ``request_token``; UnexpectedResponse also
    where the identity provider gives no assertion: ``identity_provider`` where it does not take the
    site's client, or settings have it no more.
    """
    scope = {"scope": provider.scope_separator.join(scopes)} if scopes else {}
    try:
        assertion = _assertion(provider, endpoints, id_token, scope)
    except ProviderError as error:
        error.sent = False  # the provider itself has heard of nothing
        raise
    # Into no variable: a frame shows those.
    token = request_token(
        provider,
        endpoints,
        {"grant_type": JWT_BEARER, "assertion": assertion.reveal(), **scope},
        proof_key,
    )
    return replace(
        token,
        id_token=id_token,
        refresh_token=None,  # whether the person may still, the identity provider says each time
        refresh_token_expires_in=_life_of(id_token),
    )


@sensitive_variables()
def _assertion(
    provider: Provider, endpoints: Endpoints, id_token: Secret, scope: dict[str, str]
) -> Secret:
    identity_provider = known_provider(str(provider.options["identity_provider"]))
    if identity_provider is None:
        raise UnexpectedResponse("identity_provider", "Settings have no such identity provider.")
    its_endpoints = identity_provider.endpoints()
    data = {
        "grant_type": TOKEN_EXCHANGE,
        "requested_token_type": ID_JAG,
        "audience": endpoints.issuer,
        "resource": provider.resource,
        "subject_token_type": ID_TOKEN,
        **scope,
    }
    answer = post(
        identity_provider,
        its_endpoints,
        its_endpoints.token_endpoint,
        data | {"subject_token": id_token.reveal()},
        body_format="form",
        auth_method=identity_provider.token_endpoint_auth_method,
    )
    payload = parse_json_object(answer.body)
    if 200 <= answer.status < 300 and payload is not None:
        assertion = payload.get("access_token")
        if payload.get("issued_token_type") == ID_JAG and assertion and isinstance(assertion, str):
            return Secret(assertion)
        raise UnexpectedResponse("no_assertion", status=answer.status)
    error = failure_of(identity_provider, answer, payload)
    if isinstance(error, ClientRejected):  # else it would count against the provider's client
        said = "The identity provider does not take the site's client."
        raise UnexpectedResponse("identity_provider", said)
    raise error


def _life_of(id_token: Secret) -> int | None:
    """Seconds until it ends; None where that cannot be read: the identity provider knows."""
    try:
        return LifeField(("exp",), "timestamp").seconds_in(claims_in(id_token))
    except UnexpectedResponse:
        return None
