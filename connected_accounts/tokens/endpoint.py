"""Talking to the token and revocation endpoints: network only, no database.

Safe to call from a pool thread. The meaning of an answer is decided here, once, for every provider.
"""

import logging
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import requests
from django.views.decorators.debug import sensitive_variables

from connected_accounts import conf
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderError,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import Outcome
from connected_accounts.oauth2 import dpop, transport
from connected_accounts.oauth2.request import build_request
from connected_accounts.oauth2.token import (
    LifeField,
    TokenResponse,
    parse_form,
    parse_json_object,
    read_token_response,
    value_at,
)
from connected_accounts.oauth2.transport import Answer
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.endpoints import with_client_id
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.tokens.client_assertion import client_assertion
from connected_accounts.tokens.document import proof_key_of
from connected_accounts.tokens.throttle import until_answered

logger = logging.getLogger("connected_accounts")

_NO_PROOF: Final[Mapping[str, str]] = {}
_NOWHERE: Final = Endpoints()
MAX_SAID: Final = 4096  # characters of a refused revocation that are looked at


@sensitive_variables()
def exchange_code(
    provider: Provider,
    endpoints: Endpoints,
    *,
    code: str,
    redirect_uri: str,
    code_verifier: str,
    scopes: Sequence[str] = (),
    proof_key: Secret | None = None,
) -> TokenResponse:
    """Spend an authorization code, once (RFC 6749 4.1.3); after a throttle that ends before the
    deadline, again. ``proof_key`` is that of the authorization request. Raises as
    ``request_token``."""
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if code_verifier:
        data["code_verifier"] = code_verifier
    if "scope" in provider.code_request_fields and scopes:
        data["scope"] = provider.scope_separator.join(scopes)
    ends = time.monotonic() + float(conf.get("HTTP_DEADLINE"))
    return until_answered(lambda: request_token(provider, endpoints, data, proof_key), ends=ends)


@sensitive_variables()
def exchange_client_credentials(
    provider: Provider,
    endpoints: Endpoints,
    scopes: Sequence[str],
    proof_key: Secret | None = None,
) -> TokenResponse:
    """Ask for a token with the client's own credentials (RFC 6749 4.4.2). ``scopes`` are sent where
    there are any. Raises as ``request_token``."""
    data = {"grant_type": "client_credentials"}
    if scopes:
        data["scope"] = provider.scope_separator.join(scopes)
    return request_token(provider, endpoints, data, proof_key)


@sensitive_variables()
def exchange_refresh_token(
    provider: Provider, endpoints: Endpoints, document: SecretFields, scopes: list[str]
) -> TokenResponse:
    """Spend a refresh token (RFC 6749 6). Raises as ``request_token``."""
    endpoints, data = _refresh_request(provider, endpoints, document, scopes)
    return request_token(provider, endpoints, data, proof_key_of(document))


@sensitive_variables()
def refresh_request(
    provider: Provider, endpoints: Endpoints, document: SecretFields, scopes: list[str]
) -> requests.Request:
    """The request that ``exchange_refresh_token`` sends, for a token that no key is bound to. Its
    answer is for ``read_token_answer``."""
    endpoints, data = _refresh_request(provider, endpoints, document, scopes)
    return _request(
        provider,
        endpoints,
        with_client_id(endpoints.token_endpoint, provider.client.client_id),
        _token_fields(provider, data),
        body_format=provider.token_request_format,
        auth_method=provider.token_endpoint_auth_method,
    )


def differs_by_token_alone(provider: Provider) -> bool:
    """Whether the ``refresh_request`` of any two grants differs in the refresh token alone: nothing
    else of a grant is in it, nothing is signed, and no hook has a say in it."""
    kind, hooks = type(provider), ("prepare_token_request", "request_headers")
    return (
        provider.token_request_format == "form"  # noqa: S105  # a format
        and provider.token_endpoint_auth_method != "private_key_jwt"  # noqa: S105
        and not (provider.inputs or provider.refresh_request_fields)
        and all(getattr(kind, hook) is getattr(Provider, hook) for hook in hooks)
    )


def _refresh_request(
    provider: Provider, endpoints: Endpoints, document: SecretFields, scopes: list[str]
) -> tuple[Endpoints, dict[str, str]]:
    data = {"grant_type": "refresh_token", "refresh_token": document["refresh_token"]}
    known = {
        "redirect_uri": document.get("redirect_uri", ""),
        "scope": provider.scope_separator.join(scopes),
    }
    data |= {name: known[name] for name in provider.refresh_request_fields if known[name]}
    data |= {str(name): str(value) for name, value in provider.refresh_request_params.items()}
    if endpoints.refresh_endpoint:
        endpoints = replace(endpoints, token_endpoint=endpoints.refresh_endpoint)
    return endpoints, data


@sensitive_variables()
def request_token(
    provider: Provider,
    endpoints: Endpoints,
    data: dict[str, str],
    proof_key: Secret | None = None,
) -> TokenResponse:
    """POST to the token endpoint, and check the answer. With ``proof_key``, or by a new key where
    the provider has ``dpop``, the token is to be bound to it (RFC 9449 5).

    Raises ReauthorizationRequired, ClientRejected, ProviderUnavailable or UnexpectedResponse;
    ``sent`` of the last two says whether the provider may have acted all the same.
    """
    if proof_key is None and provider.dpop:
        proof_key = dpop.new_proof_key()
    answer = post(
        provider,
        endpoints,
        endpoints.token_endpoint,
        _token_fields(provider, data),
        body_format=provider.token_request_format,
        auth_method=provider.token_endpoint_auth_method,
        proof_key=proof_key,
    )
    return read_token_answer(provider, answer, proof_key)


def _token_fields(provider: Provider, data: dict[str, str]) -> dict[str, str]:
    fixed = {str(k): str(v) for k, v in provider.token_request_params.items()}
    fixed |= {"resource": provider.resource} if provider.resource else {}
    asked = {n: provider.inputs[n] for n in provider.token_request_inputs if n in provider.inputs}
    return provider.prepare_token_request(fixed | data | asked)


@sensitive_variables()
def read_token_answer(
    provider: Provider, answer: Answer, proof_key: Secret | None = None
) -> TokenResponse:
    """Read what the token endpoint answered. Raises as ``request_token``."""
    payload = parse_json_object(answer.body)
    if payload is None and provider.token_response_format == "form":  # noqa: S105  # a format
        payload = parse_form(answer.body)
    if 200 <= answer.status < 300 and payload is not None:
        try:
            return token_response_of(provider, provider.parse_token_response(payload), proof_key)
        except UnexpectedResponse as error:
            # Some providers report errors with status 200.
            meant = failure_of(provider, answer, payload)
            if error.code == "access_token" and not isinstance(meant, UnexpectedResponse):
                raise meant from None
            error.status = answer.status
            raise
    raise failure_of(provider, answer, payload)


@sensitive_variables()
def token_response_of(
    provider: Provider, payload: Mapping[str, Any], proof_key: Secret | None = None
) -> TokenResponse:
    """Read a token answer in RFC 6749's words, or nearly, and complete it by what the provider
    declares about such answers. Raises UnexpectedResponse; that is ``not_bound`` where a token
    bound to ``proof_key`` was asked for, and it is none (RFC 9449 5)."""
    if proof_key is not None and str(payload.get("token_type")).lower() != "dpop":
        raise UnexpectedResponse("not_bound")
    token = read_token_response(
        payload,
        scope_separator=provider.granted_scope_separator or provider.scope_separator,
        token_types=provider.token_types if proof_key is None else ("dpop",),
        access_token_life=LifeField(
            (provider.expires_in_field,), provider.expires_in_unit, provider.default_expires_in
        ),
        refresh_token_life=LifeField(
            (provider.refresh_token_expires_in_field,),
            provider.refresh_token_expires_in_unit,
            provider.default_refresh_token_expires_in,
        ),
    )
    if proof_key is not None:
        bound = dpop.BoundToken(token.access_token.reveal(), proof_key)
        token = replace(token, access_token=bound, token_type=dpop.TOKEN_TYPE)
    told = value_at(payload, provider.api_base_field) if provider.api_base_field else None
    scope = provider.scopes_granted(token.scope)
    api_base = provider.endpoints_of_grant(_NOWHERE, told).api_base_url
    is_whole = (scope, api_base) == (token.scope, token.api_base)
    return token if is_whole else replace(token, scope=scope, api_base=api_base)


@sensitive_variables()
def post(
    provider: Provider,
    endpoints: Endpoints,
    url: str,
    data: dict[str, str],
    *,
    body_format: str,
    auth_method: str,
    method: str = "POST",
    bearer: Secret | None = None,
    proof_key: Secret | None = None,
) -> Answer:
    """Call an endpoint at which the client authenticates, with a proof of ``proof_key``. Raises
    ProviderUnavailable, UnexpectedResponse or ClientRejected (``client_key``)."""
    address = with_client_id(url, provider.client.client_id)

    def send(seconds: float | None = None) -> Answer:
        # What proves the client and the key is made anew for each try: it is good once.
        request = _request(
            provider,
            endpoints,
            address,
            data,
            body_format=body_format,
            auth_method=auth_method,
            method=method,
            bearer=bearer,
            proof=dpop.proof_header(proof_key, method, address),
        )
        return transport.fetch(
            request,
            public=endpoints.public_only,
            certificate=provider.config.client_certificate,
            seconds=seconds,
        )

    if proof_key is None:
        return send()
    return dpop.answered_with_nonce(send, address, seconds=float(conf.get("HTTP_DEADLINE")))


def _request(
    provider: Provider,
    endpoints: Endpoints,
    address: str,
    data: dict[str, str],
    *,
    body_format: str,
    auth_method: str,
    method: str = "POST",
    bearer: Secret | None = None,
    proof: Mapping[str, str] = _NO_PROOF,
) -> requests.Request:
    signs = auth_method == "private_key_jwt"
    return build_request(
        address,
        data,
        body_format=body_format,
        auth_method=auth_method,
        basic_auth_encoding=provider.basic_auth_encoding,
        client_id=provider.client.client_id,
        client_secret=provider.client.client_secret,
        headers={**provider.request_headers(), **proof},
        client_id_parameter=provider.client_id_parameter,
        method=method,
        bearer=bearer,
        client_assertion=client_assertion(provider, endpoints) if signs else None,
    )


def failure_of(
    provider: Provider, answer: Answer, payload: dict[str, Any] | None
) -> ConnectedAccountsError:
    """The error that an unsuccessful answer means, by the provider's reading, and the wait."""
    if 300 <= answer.status < 400:
        return UnexpectedResponse("redirect", status=answer.status, sent=False)
    if 200 <= answer.status < 300 and payload is None:
        return UnexpectedResponse("not_json", status=answer.status)
    error = provider.classify_error(answer.status, payload or {})
    if isinstance(error, ProviderError):
        error.status = answer.status
        error.retry_after = error.retry_after or answer.retry_after()
        # A 4xx is a refusal, and 503 says that nothing was done (RFC 9110 15.6.4); nor is anything
        # done for a client that is refused, by whatever status. Behind another 5xx, or a 2xx, the
        # token may have been rotated.
        refused = isinstance(error, ClientRejected) or 400 <= answer.status < 500
        error.sent = not (refused or answer.status == 503)
    return error


def revoke_token(provider: Provider, endpoints: Endpoints, document: SecretFields) -> Outcome:
    """Withdraw a grant at the provider (RFC 7009), once.

    Returns ``revoked``, ``already_gone``, ``unconfirmed`` or ``unsupported``. Raises ProviderError
    where it must be tried again.
    """
    if not endpoints.revocation_endpoint:
        return Outcome.UNSUPPORTED
    if provider.revocation_auth_method == "bearer":
        return _revoke_by_itself(provider, endpoints, document)
    first = provider.revoke_token_type_hint
    other = "access_token" if first == "refresh_token" else "refresh_token"
    hints = [hint for hint in (first, other) if document.get(hint)]
    outcomes = []
    for hint in hints:
        outcomes.append(_revoke_one(provider, endpoints, hint, document[hint]))
        if outcomes[-1] is not Outcome.UNSUPPORTED:
            break
    if hints[: len(outcomes)] == ["refresh_token", "access_token"]:
        return Outcome.UNSUPPORTED  # whatever became of the latter, the former goes on
    return outcomes[-1] if outcomes else Outcome.UNSUPPORTED


@sensitive_variables()
def _revoke_by_itself(provider: Provider, endpoints: Endpoints, document: SecretFields) -> Outcome:
    """Let an access token end its own grant. One that has run out cannot: then the grant is renewed
    for it, once. Raises ProviderError."""
    try:
        return _revoke_one(provider, endpoints, "access_token", document["access_token"])
    except ProviderError as error:
        if error.status not in provider.dead_token_statuses:
            raise
    if not document.get("refresh_token"):
        return Outcome.ALREADY_GONE
    try:
        token = exchange_refresh_token(provider, endpoints, document, [])
    except ReauthorizationRequired:
        return Outcome.ALREADY_GONE
    return _revoke_one(provider, endpoints, "access_token", token.access_token.reveal())


def _revoke_one(provider: Provider, endpoints: Endpoints, hint: str, token: str) -> Outcome:
    answer = _send_revocation(provider, endpoints, hint, token)
    if 200 <= answer.status < 300:
        # Whatever the body says (RFC 7009 2.2)
        return Outcome.REVOKED if provider.revocation_confirms else Outcome.UNCONFIRMED
    payload = parse_json_object(answer.body) or {}
    if provider.already_revoked_text and provider.already_revoked_text in str(payload).lower():
        return Outcome.ALREADY_GONE
    error = failure_of(provider, answer, payload)
    if isinstance(error, ReauthorizationRequired):
        return Outcome.ALREADY_GONE
    refused = 400 <= answer.status < 500 and not isinstance(error, ClientRejected)
    # A bearer that has run out is unknown, and says nothing of the grant.
    refused = refused and provider.revocation_auth_method != "bearer"
    said = _said(answer, token)
    if refused and answer.status != 429 and _NO_SUCH_TOKEN.search(said):
        # Many say so, and none says it alike: what is said of a token that never was is the proof.
        made_up = secrets.token_urlsafe(32)
        other = _send_revocation(provider, endpoints, hint, made_up)
        if (other.status, _said(other, made_up)) == (answer.status, said):
            return Outcome.ALREADY_GONE
    # No such endpoint after all, or not for this kind of token (RFC 7009 2.2.1).
    if answer.status in (404, 405) or payload.get("error") == "unsupported_token_type":
        return Outcome.UNSUPPORTED
    if isinstance(error, ProviderError):
        raise error
    raise ProviderUnavailable(f"status_{answer.status}", status=answer.status)


def _send_revocation(provider: Provider, endpoints: Endpoints, hint: str, token: str) -> Answer:
    named = provider.revocation_token_parameter
    data = {named: token} if named else {}
    if provider.revocation_request_format == "form" and named == "token":
        data["token_type_hint"] = hint
    return post(
        provider,
        endpoints,
        endpoints.revocation_endpoint,
        data,
        body_format=provider.revocation_request_format,
        auth_method=provider.revocation_auth_method or provider.token_endpoint_auth_method,
        method=provider.revocation_method,
        bearer=Secret(token),
    )


# Words for a token that is not there (any more), as servers write them; "token type" is not meant.
_GONE: Final = (
    r"(?:not found|not exist|no such|no longer|unknown|invalid|expired|revoked|not valid|not active"
    r"|inactive|not recogni[sz]ed)"
)
_NO_SUCH_TOKEN: Final = re.compile(
    rf"{_GONE}.{{0,40}}(?:token|grant)\b(?! type)|(?:token|grant)\b(?! type).{{0,40}}{_GONE}"
)


def _said(answer: Answer, token: str) -> str:
    """The text of an answer, in lower case and in words, without the token that it may quote."""
    text = answer.body[:MAX_SAID].decode(errors="replace").replace(token, "")
    return " ".join(re.split(r"[\s_-]+", text.lower()))
