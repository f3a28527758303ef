"""Looking at one provider from here: settings, addresses, client, and what it says of itself.

Changes nothing, here or there. A check that could not be made is a finding too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from connected_accounts.connect.authorization import address_of_host, known_client
from connected_accounts.exceptions import ConfigurationError, ProviderError, Undecryptable
from connected_accounts.oauth2.discovery import server_metadata
from connected_accounts.operations.doctor.credentials import (
    asks_token_endpoint,
    credentials_findings,
)
from connected_accounts.operations.doctor.findings import Finding, error, ok, unchecked, warning
from connected_accounts.operations.doctor.metadata import metadata_findings, undiscovered
from connected_accounts.operations.doctor.named_server import (
    UNDECRYPTABLE,
    client_metadata_findings,
    client_there,
    in_use_at,
    is_named,
    server_findings,
)
from connected_accounts.operations.doctor.pushed_request import pushed_request_findings
from connected_accounts.operations.doctor.reachability import (
    Knock,
    clock_finding,
    endpoint_findings,
    knock,
    refused_everywhere,
    tls_finding,
)
from connected_accounts.operations.doctor.revocation import (
    asks_revocation_endpoint,
    revocation_finding,
)
from connected_accounts.operations.doctor.tries import Call, watched
from connected_accounts.owners import SITE_OWNER
from connected_accounts.providers.base import CERTIFICATE_METHODS, Client, Endpoints, Provider
from connected_accounts.providers.client.keys import signing_keys
from connected_accounts.providers.inputs import CREDENTIALS, ConnectField
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import MASK, Secret

LATER: Final = (
    "discovery",
    "metadata",
    "pkce",
    "endpoints",
    "tls",
    "clock",
    "credentials",
    "refresh",
    "revocation",
    "pushed_request",
)
CALLS: Final = "calls"


def input_fields(provider: Provider) -> list[ConnectField]:
    """The inputs that may be given for one connection: those that addresses need, and no
    credentials."""
    return [provider.connect_field(n) for n in provider.connect_fields if n not in CREDENTIALS]


def diagnose(
    alias: str,
    *,
    inputs: Mapping[str, str] | None = None,
    redirect_uri: str = "",
    host_redirect_uri: str = "",
    request_token: bool = False,
) -> Iterator[Finding]:
    """Look at everything, in the order in which one thing needs another.

    ``inputs`` stand for what ``connect_fields`` ask of a person; ``request_token`` lets a provider
    of client credentials issue a token. The addresses are those of ``start_authorization``. Raises
    ConfigurationError (``inputs``).
    """
    with watched() as calls:
        found = list(
            _diagnose(alias, inputs or {}, (redirect_uri, host_redirect_uri), request_token, calls)
        )
    yield from found


def _diagnose(
    alias: str,
    inputs: Mapping[str, str],
    redirect_uris: tuple[str, str],
    request_token: bool,
    calls: list[Call],
) -> Iterator[Finding]:
    try:
        provider = get_provider(alias)
    except ConfigurationError as problem:
        yield error("settings", problem.message)
        yield from _not_looked_at(LATER, "Settings must be in order first.")
        return
    provider = provider.bound(inputs=_known_inputs(provider, inputs))
    yield from client_metadata_findings(provider, redirect_uris[0])
    later: tuple[str, ...] = LATER[1:]
    if is_named(provider):  # it depends on the server
        later = ("client", *later)
        found = _endpoints(provider, calls)
    else:
        client, finding = _client(provider, redirect_uris)
        provider = provider.bound(client=client or Client("", Secret("")))
        found = _endpoints(provider, calls)
        yield _with_proof(provider, finding)  # which the server's metadata may have chosen
    if isinstance(found, Finding):
        yield found
        yield from _not_looked_at(later, "The addresses are not known.")
        return
    endpoints = found
    if is_named(provider):
        yield from server_findings(provider, endpoints)
        client, finding = client_there(provider, endpoints, redirect_uris)
        provider = provider.bound(client=client or Client("", Secret("")))
        yield _with_proof(provider, finding)
    metadata, finding = _discovery(provider, endpoints, calls)
    yield finding
    yield from metadata_findings(provider, endpoints, metadata)
    yield _pkce(provider, metadata)
    apart = provider.callback_per_host or (client is not None and client.registered)
    address = address_of_host(provider, *redirect_uris) if apart else redirect_uris[0]
    yield from _at_endpoints(provider, endpoints, address, request_token, calls)


def _endpoints(provider: Provider, calls: Sequence[Call]) -> Endpoints | Finding:
    asked = {field.name for field in input_fields(provider)}
    try:
        if not asked.intersection(provider.places) <= {*provider.inputs}:
            raise ConfigurationError("inputs")
        return provider.endpoints()
    except ConfigurationError:
        names = " ".join(f"--input {field.name}=…" for field in input_fields(provider))
        said = "The addresses depend on what a person enters."
        return unchecked("discovery", said, f"Add {names}")
    except ProviderError as problem:
        return undiscovered(problem, error, calls)


def _with_proof(provider: Provider, finding: Finding) -> Finding:
    """The finding on a client, with the proof that it has in place of a secret."""
    method, client_id = provider.token_endpoint_auth_method, provider.client.client_id
    if client_id and method in CERTIFICATE_METHODS:
        return ok(finding.check, f"{client_id}, which shows its certificate.")
    if not client_id or method != "private_key_jwt":
        return finding
    for key in signing_keys(provider.config)[:1]:
        return ok(finding.check, f"{client_id}, which signs with {key.algorithms[0]} as {key.kid}.")
    return error(finding.check, f"{client_id} is to sign, and has no key.", "Write CLIENT_KEY.")


def _at_endpoints(
    provider: Provider,
    endpoints: Endpoints,
    redirect_uri: str,
    request_token: bool,
    calls: list[Call],
) -> Iterator[Finding]:
    """An endpoint that is tried with made-up values is not knocked at besides: servers that count
    failures count each of them."""
    first = len(calls)
    tried = ["token_endpoint"] * asks_token_endpoint(provider)
    tried += ["revocation_endpoint"] * asks_revocation_endpoint(provider, endpoints)
    knocks = knock(endpoints, provider.grant_type, provider.client.client_id, leave_out=tried)
    if refused_everywhere(knocks):
        yield from endpoint_findings(knocks)
        yield error(
            "endpoints",
            "Everything there is refused with 403: it does not let this machine's address in.",
            "Ask its operator to, or run this from the machine that runs the workers.",
        )
        yield from _not_looked_at(LATER[4:], "It refuses everything from here.")
        yield _calls_made(calls[first:])
        return
    said = [
        *credentials_findings(
            provider, endpoints, calls, redirect_uri=redirect_uri, request_token=request_token
        ),
        revocation_finding(provider, endpoints, calls),
        *pushed_request_findings(provider, endpoints, calls, redirect_uri=redirect_uri),
    ]
    for name in tried:
        url = getattr(endpoints, name)
        knocks += [Knock.of(name, call) for call in calls[first:] if call.url == url][:1]
    yield from endpoint_findings(knocks)
    yield tls_finding(knocks)
    yield clock_finding(knocks)
    yield from said
    yield _calls_made(calls[first:])


def _calls_made(calls: Sequence[Call]) -> Finding:
    """For whoever runs this often: some servers lock an address out after a few refusals."""
    refused = sum(call.was_refused for call in calls)
    return ok(CALLS, f"{len(calls)} calls were made to the endpoints; {refused} were refused.")


def _not_looked_at(checks: tuple[str, ...], why: str) -> Iterator[Finding]:
    for check in checks:
        yield unchecked(check, why)


def _known_inputs(provider: Provider, given: Mapping[str, str]) -> dict[str, str]:
    fields = {field.name: field for field in input_fields(provider)}
    for name, value in given.items():
        if name not in fields:
            known = ", ".join(fields) or "nothing"
            raise ConfigurationError("inputs", f"{provider.alias} asks for {known}, not {name}.")
        if fields[name].fault(value) is not None:
            raise ConfigurationError("inputs", f"This cannot be the {name}.")
    one = {n: f for n, f in fields.items() if len(f.choices) == 1 and f.kind != "server"}
    only = {n: f.choices[0] for n, f in one.items()}
    return only | dict(given)


def _client(provider: Provider, redirect_uris: tuple[str, str]) -> tuple[Client | None, Finding]:
    check = "client"
    if provider.grant_type == "personal_token":
        return None, ok(check, "Needs none: people bring tokens of their own.")
    try:
        described = known_client(provider, redirect_uris[0], SITE_OWNER)
        client = described or in_use_at(provider, redirect_uris)
    except Undecryptable:
        return None, UNDECRYPTABLE
    if client is not None:
        if provider.public_client(client.client_id) is not None:
            return client, ok(check, f"{client.client_id}, the address of the site's metadata.")
        source = "registered" if client.registered else "entered in the admin"
        source = "from settings" if client.pk is None else source
        if client.client_secret.reveal():
            return client, ok(check, f"{client.client_id}, secret {MASK}, {source}.")
        if provider.config.options.get("token_endpoint_auth_method") == "none":
            return client, ok(check, f"{client.client_id}, without a secret, {source}.")
        hint = 'Write CLIENT_SECRET; for a public client, "token_endpoint_auth_method": "none".'
        return client, warning(check, f"{client.client_id} has no secret.", hint)
    if provider.grant_type == "client_credentials":
        return None, unchecked(check, "The site has none: each person enters their own.")
    if provider.known_endpoints().registration_endpoint:
        return None, unchecked(check, "The site registers itself when somebody first connects.")
    hint = "Write CLIENT_ID, or enter it in the admin under “Provider clients”."
    return None, error(check, "There is no client id: nobody can connect.", hint)


def _discovery(
    provider: Provider, endpoints: Endpoints, calls: list[Call]
) -> tuple[Mapping[str, Any], Finding]:
    check = "discovery"
    if not endpoints.issuer:
        if endpoints.public_only or "host" in provider.inputs:
            return {}, ok(check, f"{provider.inputs.get('host', 'The host')} names its endpoints.")
        return {}, unchecked(check, "No issuer is known: the endpoints are declared.")
    try:
        metadata = server_metadata(endpoints.issuer, public=endpoints.public_only)
    except ProviderError as problem:
        return {}, undiscovered(problem, warning, calls)
    names = ("authorization_endpoint", "token_endpoint", "revocation_endpoint")
    other = [n for n in names if metadata.get(n) and metadata[n] != getattr(endpoints, n)]
    if other:
        text = f"{endpoints.issuer} names another {' and '.join(other)} than is used."
        return metadata, warning(
            check, text, "Remove these from OPTIONS, or keep what you know better."
        )
    return metadata, ok(check, f"{endpoints.issuer} names itself and its endpoints.")


def _pkce(provider: Provider, metadata: Mapping[str, Any]) -> Finding:
    check, method = "pkce", provider.code_challenge_method
    if provider.grant_type != "authorization_code":
        return ok(check, "Needs none: there is no authorization code.")
    offered = metadata.get("code_challenge_methods_supported")
    if not isinstance(offered, list):
        sent = "S256 is sent" if method else "No challenge is sent, as the provider is declared"
        hint = 'If connecting fails, set "code_challenge_method": "".' if method else ""
        return unchecked(check, f"{sent}; the provider does not say whether it checks one.", hint)
    if method and "S256" in offered:
        return ok(check, "S256 is sent, and the provider says that it checks it.")
    if method:
        hint = 'If connecting fails, set "code_challenge_method": "".'
        return warning(check, "S256 is sent, but the provider does not offer it.", hint)
    if "S256" in offered:
        hint = 'Remove code_challenge_method from OPTIONS, or set it to "S256".'
        return warning(check, "The provider offers S256, and it is not used.", hint)
    return warning(check, "The provider offers no S256, so codes are not bound to this site.")
