"""A server's metadata, compared with what this app can do and settings ask for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from connected_accounts.exceptions import ProviderError
from connected_accounts.oauth2.discovery import with_whole_addresses
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.operations.doctor.demands import METADATA, demands
from connected_accounts.operations.doctor.findings import Finding, error, ok, warning
from connected_accounts.operations.doctor.tries import Call
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.generic import OAuth2

# Why nothing is known of a server, and what to do about it.
UNDISCOVERED: Final[Mapping[str, tuple[str, str]]] = {
    "no_metadata": ("There is no document that names the endpoints.", "Correct it."),
    "not_guarded": (
        "The server lets in a request without a token, and describes nothing.",
        "Name the very address of the MCP server, such as https://mcp.example.com/mcp.",
    ),
    "no_resource_metadata": (
        "The document that the server's challenge names is not there, or is none.",
        "Its operator must mend resource_metadata in WWW-Authenticate (RFC 9728).",
    ),
    "other_resource": (
        "The server's document speaks for another resource.",
        "Its operator must name this address, or a parent of it, as resource (RFC 9728).",
    ),
    "no_authorization_server": (
        "The server's document names nobody who could let anybody in.",
        "Its operator must list authorization_servers with https addresses (RFC 9728).",
    ),
    "no_pkce": (
        "The authorization server does not promise PKCE with S256.",
        "Its operator must list S256 in code_challenge_methods_supported.",
    ),
    "private_address": (
        "Its name leads to a private address, and nothing is sent there.",
        "If that is wanted, list it in OPTIONS.",
    ),
}


def metadata_findings(
    provider: Provider, endpoints: Endpoints, metadata: Mapping[str, Any]
) -> Iterator[Finding]:
    """One line for each thing that does not go together; one where all does."""
    if not metadata:
        return
    found = [
        *demands(provider, endpoints, metadata),
        *_code_flow(provider, metadata),
        *_identity(provider, endpoints, metadata),
        *_scopes(provider, metadata),
    ]
    yield from found or [ok(METADATA, "What it offers is what this app uses.")]


def _listed(metadata: Mapping[str, Any], name: str) -> list[str] | None:
    value = metadata.get(name)
    return [str(item) for item in value] if isinstance(value, list) else None


def _code_flow(provider: Provider, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    if provider.grant_type != "authorization_code":
        return
    for name, needed in (
        ("response_types_supported", "code"),
        ("grant_types_supported", "authorization_code"),
    ):
        offered = _listed(metadata, name)
        if offered is not None and needed not in offered:
            yield error(METADATA, f"The server's {name} lack {needed}: nobody can connect.")


def _identity(
    provider: Provider, endpoints: Endpoints, metadata: Mapping[str, Any]
) -> Iterator[Finding]:
    asks = provider.identity_source == "userinfo" and isinstance(provider, OAuth2)
    if not asks or endpoints.userinfo_endpoint:
        return
    offered = _listed(metadata, "scopes_supported")
    if "openid" in provider.scopes and (offered is None or "openid" in offered):
        return  # the id_token says whose it is
    yield error(
        METADATA,
        "Nothing there says whose an account is: no userinfo_endpoint, and no id_token without the "
        "scope openid.",
        "Name a userinfo_endpoint in OPTIONS, with its subject_path; else nobody can connect.",
    )


def _scopes(provider: Provider, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    offered = _listed(metadata, "scopes_supported")
    lacking = [scope for scope in provider.scopes if offered is not None and scope not in offered]
    if lacking:
        said = f"Not among the scopes that it lists: {', '.join(lacking)}."
        yield warning(METADATA, said, "If connecting fails with invalid_scope, change SCOPES.")


def undiscovered(problem: ProviderError, level: Any, calls: Sequence[Call]) -> Finding:
    """Why the endpoints are not known, by the documents among ``calls``."""
    said, hint = UNDISCOVERED.get(problem.code, (f"It cannot be had ({problem.code}).", ""))
    for call in reversed(calls):
        document = parse_json_object(call.answer.body) if call.answer is not None else None
        if not document or problem.code != "wrong_issuer":
            continue
        if document.get("issuer"):
            named = document["issuer"]
            said = f"{call.url} names another issuer: {named}."
            hint = f'Write "issuer": "{named}", if that is the server you mean.'
        else:
            said = f"{call.url} names no issuer, so it cannot be used as one."
            whole = with_whole_addresses(document, call.url)
            known = [f'"{n}": "{whole[n]}"' for n in whole if n.endswith("_endpoint")]
            hint = f"Leave issuer out, and write the endpoints: {', '.join(known)}."
        break
    found: Finding = level("discovery", said, hint)
    return found
