"""Trying a pushed authorization request: the very one that a person's connect would begin with."""

from collections.abc import Iterator, Sequence
from typing import Final

from connected_accounts.connect.authorization import request_parameters
from connected_accounts.oauth2 import pkce
from connected_accounts.operations.doctor.credentials import no_answer
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked
from connected_accounts.operations.doctor.tries import Call, Kind, attempt, made_up
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.tokens.pushed_request import push_authorization_request

PUSHED: Final = "pushed_request"


def pushed_request_findings(
    provider: Provider, endpoints: Endpoints, calls: Sequence[Call], *, redirect_uri: str
) -> Iterator[Finding]:
    """Whether the server takes what this site asks for, where that is told to it beforehand. What
    it keeps of it ends within minutes. ``calls`` are those that are watched."""
    if not provider.require_pushed_authorization_requests:
        return
    if not provider.client.client_id or not endpoints.pushed_authorization_request_endpoint:
        yield unchecked(PUSHED, "There is no client to push a request for, or no place for it.")
        return
    offered = {
        "scope": provider.scope_separator.join(provider.scopes_to_ask(list(provider.scopes))),
        "redirect_uri": redirect_uri,
        "state": made_up(),
    }
    verifier = pkce.new_code_verifier() if provider.code_challenge_method else ""
    params = request_parameters(provider, None, verifier, offered)
    said = attempt(lambda: push_authorization_request(provider, endpoints, params), calls)
    if said.kind is Kind.ACCEPTED:
        yield ok(PUSHED, "The server takes the authorization request of this site.")
    elif said.kind in (Kind.NONE, Kind.NOT_SENT):
        yield no_answer(PUSHED, said.problem)
    else:
        yield error(
            PUSHED,
            f"The server refuses the authorization request ({said.word}): {said.text}.",
            f"Compare with its own page of the client: redirect URI {redirect_uri or 'unknown'}, "
            f"scopes {' '.join(provider.scopes) or 'none'}.",
        )
