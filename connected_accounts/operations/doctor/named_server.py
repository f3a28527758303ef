"""Servers that people name: how the site describes itself to them, what one of them says of itself,
and who the site is there."""

from collections.abc import Iterator
from typing import Final

import requests

from connected_accounts.clients.credentials import client_in_use
from connected_accounts.connect.authorization import known_client
from connected_accounts.exceptions import ProviderError, Undecryptable
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.discovery import texts_of
from connected_accounts.oauth2.protected_resource import plain_name
from connected_accounts.oauth2.token import parse_json_object
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked, warning
from connected_accounts.operations.doctor.reachability import WORDS
from connected_accounts.owners import SITE_OWNER
from connected_accounts.providers.base import Client, Endpoints, Provider
from connected_accounts.secret import MASK

CLIENT: Final = "client"
CLIENT_METADATA: Final = "client_metadata"
SERVER: Final = "server"
UNDECRYPTABLE: Final = error(
    CLIENT,
    "The secret that was entered cannot be opened.",
    "Bring back the key in FIELD_ENCRYPTION_KEY, or enter the secret again.",
)


def is_named(provider: Provider) -> bool:
    return "server" in provider.connect_fields


def client_metadata_findings(provider: Provider, redirect_uri: str) -> Iterator[Finding]:
    """A look at the site's description of itself as a client, from outside as others see it."""
    document = provider.client_metadata(redirect_uri)
    if document is None:
        return
    address = document["client_id"]
    if not address:
        yield unchecked(
            CLIENT_METADATA,
            "The site has no https address to describe itself at.",
            "Set REDIRECT_BASE_URL to its public https address.",
        )
        return
    hint = "Authorization servers read it there, without signing in and without a redirect."
    try:
        answer = transport.fetch(requests.Request("GET", address), public=True)
    except ProviderError as problem:
        hidden = problem.code == "private_address"  # which it may be from in here alone
        level = unchecked if hidden else warning
        yield level(CLIENT_METADATA, f"{address}: {WORDS.get(problem.code, problem.code)}.", hint)
        return
    found = parse_json_object(answer.body) or {}
    said = ""
    if answer.status != 200:
        said = f"{address} answers with {answer.status}."
    elif not found:
        said = f"{address} answers with no client metadata."
    elif found.get("client_id") != address:
        said = f"{address} names another client_id than its own address."
    elif redirect_uri not in texts_of(found.get("redirect_uris")):
        said = f"{address} does not list {redirect_uri}."
    if said:
        yield warning(CLIENT_METADATA, said, hint)
    else:
        name = plain_name(found.get("client_name")) or "a site of no name"
        yield ok(CLIENT_METADATA, f"{address} describes {name}, with {redirect_uri}.")


def server_findings(provider: Provider, endpoints: Endpoints) -> Iterator[Finding]:
    """A line about the server that was named; its endpoints must be known."""
    scopes = ", ".join(provider.scopes_to_ask([])) or "no scope"
    name = f" ({provider.resource_name})" if provider.resource_name else ""
    yield ok(
        SERVER,
        f"{provider.inputs['server']}{name} is guarded by {endpoints.issuer}. "
        f"Tokens are for {provider.resource}; it wants {scopes}.",
    )


def in_use_at(provider: Provider, *redirect_uris: str) -> Client | None:
    """The site's client; a registered one where it has one of these addresses: that of its host,
    from the app's pages, or the alias's, from a site that calls the services. Raises
    Undecryptable."""
    found = (client_in_use(provider, redirect_uri=address) for address in redirect_uris)
    return next(filter(None, found), None)


def client_there(
    provider: Provider, endpoints: Endpoints, redirect_uri: str, of_host: str
) -> tuple[Client | None, Finding]:
    """The client that the site is at this server's authorization server, and what to say of it;
    ``of_host`` is the callback that it registers there."""
    try:
        client = (
            provider.settings_client()
            or known_client(provider, redirect_uri, SITE_OWNER)
            or in_use_at(provider, of_host, redirect_uri)
        )
    except Undecryptable:
        return None, UNDECRYPTABLE
    if client is not None:
        return client, ok(CLIENT, f"{client.client_id}, {_source(provider, client)}.")
    if endpoints.registration_endpoint:
        said = "The site registers itself when somebody first connects."
        return None, unchecked(CLIENT, said)
    return None, unchecked(
        CLIENT,
        "The site has no client id there and cannot register: each person has to enter theirs.",
        "Enter one in the admin under “Provider clients”, if it gives you one.",
    )


def _source(provider: Provider, client: Client) -> str:
    secret = f"secret {MASK}" if client.client_secret.reveal() else "without a secret"
    if client.pk is not None:
        return f"{secret}, {'registered' if client.registered else 'entered in the admin'}"
    public = provider.public_client(client.client_id) is not None
    return "the address of the site's metadata" if public else f"{secret}, from settings"
