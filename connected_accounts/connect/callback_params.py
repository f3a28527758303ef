"""Reading what a provider sends the person back with, without trusting any of it."""

from typing import Final

from connected_accounts.exceptions import (
    AuthorizationDenied,
    InvalidState,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.providers.base import Provider
from connected_accounts.secret import SecretFields

MAX_CODE: Final = 4096
# A no of the person's: in RFC 6749's word, in that of draft-ietf-oauth-v2-05, which some servers
# still speak, and in OpenID Connect's (Core 3.1.2.6), which lemonldap-ng uses for a consent that
# was not given.
REFUSALS: Final = (
    "access_denied",
    "user_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "login_required",
)
_SINGLE: Final = ("code", "state", "iss", "error", "error_description", "error_uri")


def read_params(params: SecretFields) -> SecretFields:
    """The parameters we read, each at most once, short, and visible ASCII as RFC 6749 A has them.
    Others are ignored, and so is one without a value (RFC 6749 3.1), but for ``iss``: a server that
    names no issuer is not the one that was asked."""
    response: dict[str, str] = {}
    for name in _SINGLE:
        values = params.getlist(name)
        if len(values) > 1 or any(not isinstance(value, str) for value in values):
            raise InvalidState("malformed")
        if any(values) or (values and name == "iss"):
            response[name] = values[0]
    if "code" in response and "error" in response:
        raise InvalidState("malformed")
    for name in ("code", "state", "iss", "error"):
        value = response.get(name, "")
        if len(value) > MAX_CODE or not (value.isascii() and value.isprintable()):
            raise InvalidState("malformed")
    return SecretFields(response)


def check_issuer(provider: Provider, iss: str | None) -> None:
    """RFC 9207 2.4: compare ``iss`` as a plain string; demand it where the server promises it."""
    issuer = provider.endpoints().issuer
    if (iss is None and provider.iss_required) or (iss is not None and issuer and iss != issuer):
        raise InvalidState("wrong_issuer")


def refusal_of(error: str) -> Exception:
    """The error that an error response means (RFC 6749 4.1.2.1). The provider's own words are not
    kept."""
    if error in REFUSALS:
        return AuthorizationDenied("access_denied")
    if error in ("server_error", "temporarily_unavailable"):
        return ProviderUnavailable(error)
    # Never ClientRejected, which pauses the provider: anybody can write this into the address.
    known = ("invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type")
    return UnexpectedResponse(error if error in known else "authorization_error")
