"""The demands that a server has of every client, and whether settings meet them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.oauth2.discovery import texts_of
from connected_accounts.operations.doctor.findings import Finding, error, unchecked
from connected_accounts.providers.base import CERTIFICATE_METHODS, Endpoints, Provider
from connected_accounts.providers.client.keys import signing_keys
from connected_accounts.providers.options import AUTH_METHODS

METADATA: Final = "metadata"
PROOF_ALGORITHM: Final = "ES256"  # of oauth2.dpop, which is loaded where it is used only
PAR: Final = "require_pushed_authorization_requests"
# The ways of client authentication that need no key and no certificate are tried without a word.
NEEDS: Final[Mapping[str, str]] = {
    "private_key_jwt": "Write CLIENT_KEY (manage.py make_client_key makes one)",
    **dict.fromkeys(CERTIFICATE_METHODS, "Write CLIENT_CERTIFICATE"),
}


def demands(
    provider: Provider, endpoints: Endpoints, metadata: Mapping[str, Any]
) -> Iterator[Finding]:
    """One finding for each demand that is not met, and for what may be one."""
    if metadata.get("require_signed_request_object") is True:
        yield error(
            METADATA,
            "The server demands signed request objects (RFC 9101), which this app does not send.",
            "Ask its operator for a client that may do without.",
        )
    yield from _pushed_requests(provider, endpoints, metadata)
    yield from _authentication(provider, metadata)
    yield from _bound_tokens(provider, metadata)


def _pushed_requests(
    provider: Provider, endpoints: Endpoints, metadata: Mapping[str, Any]
) -> Iterator[Finding]:
    asked = provider.require_pushed_authorization_requests
    if metadata.get(PAR) is True and not asked:
        said = "The server demands pushed authorization requests (RFC 9126); they are switched off."
        yield error(METADATA, said, f"Remove {PAR} from OPTIONS.")
    elif asked and not endpoints.pushed_authorization_request_endpoint:
        yield error(
            METADATA,
            "Authorization requests are to be pushed (RFC 9126), and the server names no "
            "pushed_authorization_request_endpoint.",
            "Write it in OPTIONS, if the server has one; else nobody can connect.",
        )


def _authentication(provider: Provider, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    offered = metadata.get("token_endpoint_auth_methods_supported")
    used = provider.token_endpoint_auth_method
    if isinstance(offered, list) and used not in offered:
        listed = ", ".join(texts_of(offered)) or "no client authentication"
        yield error(
            METADATA, f"The server takes {listed}, and not {used}.", _way(provider, offered)
        )
    elif used == "private_key_jwt":
        yield from _algorithm(provider, metadata)


def _way(provider: Provider, offered: list[Any]) -> str:
    """The line to write for one of the ways that the server offers; best one that settings have the
    means for."""
    ways = [method for method in AUTH_METHODS if method in offered]
    ways.sort(key=lambda method: method not in provider.strong_auth_methods)
    if not ways:
        return "None of these is one that this app can do: nobody can connect."
    has_it = ways[0] in provider.strong_auth_methods or ways[0] not in NEEDS
    first = "" if has_it else f"{NEEDS[ways[0]]}, and "
    text = f'{first}set "token_endpoint_auth_method": "{ways[0]}".'
    return text[0].upper() + text[1:]


def _algorithm(provider: Provider, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    from connected_accounts.oauth2.jose import algorithm_for  # loads joserfc

    taken = texts_of(metadata.get("token_endpoint_auth_signing_alg_values_supported"))
    wanted = provider.token_endpoint_auth_signing_alg
    for key in signing_keys(provider.config)[:1]:
        try:
            algorithm = algorithm_for(key, wanted, taken)
        except ConfigurationError as problem:
            yield error(METADATA, problem.message)
            return
        if taken and algorithm not in taken:
            said = f"The server takes {', '.join(taken)}, and {algorithm} is signed with."
            yield error(METADATA, said, "Remove token_endpoint_auth_signing_alg from OPTIONS.")


def _bound_tokens(provider: Provider, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    """A server says what it can bind tokens to, and not whether it demands it."""
    proofs = texts_of(metadata.get("dpop_signing_alg_values_supported"))
    by_certificate = metadata.get("tls_client_certificate_bound_access_tokens") is True
    if provider.dpop and proofs and PROOF_ALGORITHM not in proofs:
        said = f"The server takes DPoP proofs by {', '.join(proofs)}, and not {PROOF_ALGORITHM}."
        yield error(METADATA, said, "Remove dpop from OPTIONS, if the server lets you do without.")
    if provider.dpop or provider.config.client_certificate is not None:
        return
    ways = ["a key (DPoP)"] * (PROOF_ALGORITHM in proofs)
    ways += ["a certificate (RFC 8705)"] * by_certificate
    if ways:
        yield unchecked(
            METADATA,
            f"The server can bind tokens to {' or '.join(ways)}; it does not say if it demands it.",
            'If it refuses the client or its tokens, set "dpop": True in OPTIONS, or write '
            "CLIENT_CERTIFICATE.",
        )
