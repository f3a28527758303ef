"""The authorization request, handed to the server before the browser goes there (RFC 9126)."""

from collections.abc import Mapping

from django.views.decorators.debug import sensitive_variables

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.tokens.endpoint import failure_of, post


@sensitive_variables()
def push_authorization_request(
    provider: Provider, endpoints: Endpoints, params: Mapping[str, str]
) -> str:
    """Send the request's parameters, as the client, and return the ``request_uri`` that stands for
    them in the browser.

    Raises ProviderUnavailable, ClientRejected, or UnexpectedResponse: ``request_refused`` where the
    server does not take it, ``no_par_endpoint`` where it has no place for it.
    """
    url = endpoints.pushed_authorization_request_endpoint
    if not url:
        raise UnexpectedResponse("no_par_endpoint", sent=False)
    method = provider.token_endpoint_auth_method
    # Always a form, whatever the token endpoint takes (RFC 9126 2.1).
    answer = post(provider, endpoints, url, dict(params), body_format="form", auth_method=method)
    payload = parse_json_object(answer.body)
    if answer.status in (200, 201):
        found = (payload or {}).get("request_uri")
        if isinstance(found, str) and found.isascii() and found.isprintable() and found:
            return found
        raise UnexpectedResponse("request_refused", status=answer.status)
    error = failure_of(provider, answer, payload)
    if isinstance(error, ClientRejected | ProviderUnavailable):
        raise error
    raise UnexpectedResponse("request_refused", status=answer.status)
