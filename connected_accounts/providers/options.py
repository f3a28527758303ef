"""The checks of a provider's entry in settings: names, types, choices and addresses of OPTIONS."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final

from django.utils.functional import Promise

from connected_accounts.conf import SCOPES_HINT, Problem, ProviderConfig, is_safe_url, known_names
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.base import (
    CERTIFICATE_METHODS,
    DECLARED,
    NEEDED,
    SECRET_METHODS,
    Provider,
)
from connected_accounts.providers.client.certificate import certificate_problems
from connected_accounts.providers.client.keys import signing_keys
from connected_accounts.providers.endpoints import ENDPOINT_NAMES, Endpoints, as_origin

# Parameters of the authorization request that are ours alone (RFC 6749 4.1.1, RFC 7636, OIDC).
RESERVED_PARAMS: Final = frozenset(
    {
        "client_id",
        "redirect_uri",
        "state",
        "response_type",
        "response_mode",
        "scope",
        "nonce",
        "iss",
        "code_challenge",
        "code_challenge_method",
        "dpop_jkt",
        "request",
        "request_uri",
        "client_secret",
    }
)
AUTH_METHODS: Final = (*SECRET_METHODS, "private_key_jwt", *CERTIFICATE_METHODS, "none")
# Those of oauth2.jose, which is loaded where something is signed only.
SIGNING_ALGORITHMS: Final = (*("ES256", "ES384", "PS256", "RS256", "RS384", "EdDSA", "Ed25519"),)
CERTIFICATE: Final = "CLIENT_CERTIFICATE"
# Declared values that are sent, and so are texts.
TEXTS: Final = (
    *("authorization_params", "reconnect_params", "token_request_params", "refresh_request_params"),
    *("headers", "scope_aliases"),
)
HEADER: Final = re.compile(r"[!#$%&'*+.^`|~\w-]+", re.ASCII)  # RFC 9110 5.6.2
LIFE_UNITS: Final = ("seconds", "milliseconds", "timestamp", "timestamp_ms", "date")
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "grant_type": (
        *("authorization_code", "client_credentials", "personal_token", "identity_assertion"),
    ),
    "token_endpoint_auth_method": AUTH_METHODS,
    "token_endpoint_auth_signing_alg": ("", *SIGNING_ALGORITHMS),
    "client_assertion_audience": ("issuer", "token_endpoint"),
    "revocation_auth_method": ("", *AUTH_METHODS, "bearer", "bare"),
    "revocation_method": ("POST", "DELETE"),
    "userinfo_method": ("GET", "POST"),
    "basic_auth_encoding": ("form", "raw"),
    "expires_in_unit": LIFE_UNITS,
    "refresh_token_expires_in_unit": LIFE_UNITS,
    "token_request_format": ("form", "json"),
    "token_response_format": ("json", "form"),
    "revocation_request_format": ("form", "json"),
    "revoke_token_type_hint": ("refresh_token", "access_token"),
    "code_challenge_method": ("S256", ""),
    "identity_source": ("userinfo", "token_response", "id_token", "none"),
    "bearer_method": ("header", "query"),
    "default_refresh_policy": ("ahead", "on_use"),
}


def problems(backend: type[Provider], config: ProviderConfig) -> Iterator[Problem]:
    """Every fault of one entry in settings that shows without the network: names and types in
    OPTIONS; then, if the types are right, what the backend itself finds, and the values, whoever
    declared them."""
    yield from _unknown_options(backend, config)
    wrong_types = [*_wrong_declarations(backend, config), *_wrong_types(backend, config)]
    yield from wrong_types
    if wrong_types:
        return
    found_by_backend = list(backend.problems(config))
    yield from found_by_backend
    provider = backend(config)
    yield from _wrong_choices(provider)
    yield from _joined_scopes(provider)
    yield from _wrong_meanings(provider)
    yield from _wrong_texts(provider)
    yield from _reserved_params(provider)
    yield from _proof_problems(provider)
    yield from _means_problems(provider)
    yield from _address_problems(provider, is_explained=bool(found_by_backend))


def _where(config: ProviderConfig) -> str:
    return f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]"


def _unknown_options(backend: type[Provider], config: ProviderConfig) -> Iterator[Problem]:
    known = [*backend.own_options, *sorted(DECLARED - set(backend.own_options))]
    for key in sorted(set(config.options) - DECLARED - set(backend.own_options), key=str):
        yield Problem(
            "E011",
            f"{_where(config)}['OPTIONS'] has an unknown key {key!r}.",
            known_names(key, known),
        )


def _wrong_declarations(backend: type[Provider], config: ProviderConfig) -> Iterator[Problem]:
    """Values that the class itself declares. Where a comma is forgotten, a tuple of one is a text,
    of which each letter would count."""
    for name in sorted(DECLARED):
        default, declared = getattr(Provider, name), getattr(backend, name)
        computed = isinstance(declared, property | cached_property)
        translated = isinstance(default, str) and isinstance(declared, Promise)
        if not (computed or translated or _is_like(default, declared)):
            kind = type(default).__name__
            comma = ': a tuple of one text is ("…",), with a comma' if kind == "tuple" else ""
            yield Problem(
                "E008",
                f"{_where(config)}['BACKEND']: {backend.__name__}.{name} is "
                f"{type(declared).__name__}, not {kind}.",
                f"Declare a {kind}{comma}.",
            )


def _wrong_types(backend: type[Provider], config: ProviderConfig) -> Iterator[Problem]:
    for name, default in typed_options(backend).items():
        if name in config.options and not _is_like(default, config.options[name]):
            yield Problem(
                "E011",
                f"{_where(config)}['OPTIONS'][{name!r}] has the wrong type.",
                f"Write a {type(default).__name__}.",
            )


def typed_options(backend: type[Provider]) -> dict[str, Any]:
    """The options whose default shows the type, with that default."""
    return {name: getattr(backend, name) for name in DECLARED} | {
        name: default for name, default in backend.own_options.items() if default is not None
    }


def _wrong_choices(provider: Provider) -> Iterator[Problem]:
    for name, choices in CHOICES.items():
        allowed = choices
        if name == "grant_type" and "identity_provider" not in provider.own_options:
            allowed = tuple(choice for choice in choices if choice != "identity_assertion")
        if getattr(provider, name) not in allowed:
            yield Problem(
                "E011",
                f"{_where(provider.config)}['OPTIONS'][{name!r}] is {getattr(provider, name)!r}.",
                f"Write one of: {', '.join(map(repr, allowed))}.",
            )


def _joined_scopes(provider: Provider) -> Iterator[Problem]:
    """E010: several scopes in one text, which no answer would ever name so."""
    for scope in (*provider.scopes, *provider.config.optional_scopes):
        if provider.scope_separator and provider.scope_separator in scope:
            yield Problem(
                "E010", f"{_where(provider.config)}: {scope!r} is not one scope.", SCOPES_HINT
            )


def _wrong_meanings(provider: Provider) -> Iterator[Problem]:
    for scope, others in provider.scope_includes.items():
        texts = isinstance(others, list | tuple) and all(isinstance(o, str) for o in others)
        if not (isinstance(scope, str) and texts):
            yield Problem(
                "E011",
                f"{_where(provider.config)}['OPTIONS']['scope_includes'][{scope!r}] is not a list "
                "of scopes.",
                'Write what a granted scope stands for besides itself: {"user": ["user:email"]}.',
            )


def _wrong_texts(provider: Provider) -> Iterator[Problem]:
    """E011: values that are sent as they stand. Python's own words for yes and nothing, True and
    None, are never those that a provider reads. A value may be a secret: none is told."""
    where = _where(provider.config)
    for name in TEXTS:
        for key, value in getattr(provider, name).items():
            number = isinstance(value, int) and not isinstance(value, bool)
            if not (isinstance(key, str) and (isinstance(value, str) or number)):
                yield Problem(
                    "E011",
                    f"{where}: {name}[{key!r}] is {type(value).__name__}, not a text.",
                    'Write it as the provider wants to read it: "true", not True.',
                )
    for key, value in provider.headers.items():
        if isinstance(value, str) and not (HEADER.fullmatch(str(key)) and _fits_header(value)):
            yield Problem(
                "E011",
                f"{where}: headers[{key!r}] cannot be sent.",
                "Its name or value has a character that no header can hold: often it is the line "
                "break of the file that it was read from.",
            )


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _proof_problems(provider: Provider) -> Iterator[Problem]:
    """E038: tokens that are to be bound to a key, and cannot be."""
    if not provider.dpop:
        return
    where = f"{_where(provider.config)}['OPTIONS']['dpop']"
    if find_spec("joserfc") is None:
        yield Problem(
            "E038",
            f"{where} is True, and the library that signs is not installed.",
            "pip install 'django-connected-accounts[strong]'",
        )
    header = provider.bearer_method == "header" and not provider.access_token_header
    if not header or provider.revocation_auth_method == "bearer":
        yield Problem(
            "E038",
            f"{where} is True, and the token is to travel in a way that has no place for a proof.",
            "Remove bearer_method, access_token_header and a revocation_auth_method of bearer.",
        )


def _means_problems(provider: Provider) -> Iterator[Problem]:
    """E035, E036 and W029: what proves that the site is the client."""
    where, config = _where(provider.config), provider.config
    method, wanted = provider.token_endpoint_auth_method, provider.token_endpoint_auth_signing_alg
    try:
        keys = signing_keys(config)
    except ConfigurationError as error:
        yield Problem("E035", f"{where}['CLIENT_KEY'] is of no use.", error.message)
        return
    if keys and wanted and wanted not in keys[0].algorithms:
        yield Problem(
            "E035",
            f"{where}: the first CLIENT_KEY does not sign with {wanted}.",
            f"It signs with {', '.join(keys[0].algorithms)}; write one of these as "
            "token_endpoint_auth_signing_alg, or put another key first.",
        )
    needs = {"private_key_jwt": "CLIENT_KEY"} | dict.fromkeys(CERTIFICATE_METHODS, CERTIFICATE)
    needed = needs.get(method, "")
    has = {"CLIENT_KEY": keys, CERTIFICATE: config.client_certificate}
    if needed and not has[needed]:
        yield Problem(
            "E036",
            f"{where}: token_endpoint_auth_method is {method!r}, and there is no {needed}.",
            f"Write {needed}; see the how-to on strong clients.",
        )
    if config.client_certificate is not None:
        yield from certificate_problems(f"{where}['{CERTIFICATE}']", config.client_certificate)


def _reserved_params(provider: Provider) -> Iterator[Problem]:
    params = {*provider.authorization_params, *provider.reconnect_params}
    for name in sorted(RESERVED_PARAMS & params):
        yield Problem(
            "E013",
            f"{_where(provider.config)}: authorization_params may not set {name!r}.",
            "Remove it: this parameter is made by the flow itself.",
        )


def _address_problems(provider: Provider, *, is_explained: bool) -> Iterator[Problem]:
    """``is_explained``: the backend has said what is wrong, if its addresses cannot be told."""
    try:
        known = provider.known_endpoints()
    except ConfigurationError:
        if not is_explained:
            yield Problem(
                "E012",
                f"{_where(provider.config)}: an address holds a name in braces that nobody is "
                "asked for.",
                "Known are those of connect_fields: "
                + (", ".join(provider.connect_fields) or "none"),
            )
        return
    yield from _unsafe_addresses(provider, known)
    yield from _client_problems(provider)
    yield from _missing_identity_scopes(provider)
    yield from _missing_parts(provider, known)


def _missing_parts(provider: Provider, known: Endpoints) -> Iterator[Problem]:
    """E015 and W007: what a class has to say, where none above it says so itself."""
    backend = type(provider)
    needed = NEEDED.get(provider.grant_type, ())
    if backend.known_endpoints is Provider.known_endpoints:
        lacking = [name for name in needed if not getattr(known, name)]
        if lacking:
            yield Problem(
                "E015",
                f"{_where(provider.config)}: {backend.__name__} does not name all addresses of "
                "its grant.",
                f"Declare {' and '.join(lacking)}.",
            )
    if backend.fetch_identity is Provider.fetch_identity:
        yield Problem(
            "W007",
            f"{_where(provider.config)}: {backend.__name__} does not say whose an account is: "
            "nobody can connect.",
            "Write its hook fetch_identity.",
        )


def _unsafe_addresses(provider: Provider, known: Endpoints) -> Iterator[Problem]:
    named = [(name, getattr(known, name)) for name in ENDPOINT_NAMES]
    hosts = [("api_hosts", as_origin(host)) for host in provider.api_hosts]
    for name, url in [*named, *hosts]:
        if url and not is_safe_url(url):
            # Before an @ there may be a password.
            shown = repr(url) if "@" not in url else "an address with a user's name"
            yield Problem(
                "E012",
                f"{_where(provider.config)}: {name} is {shown}, which is neither https nor a "
                "loopback address.",
                "Write an https URL; plain http is for http://127.0.0.1 or http://[::1] only.",
            )
        elif "*" in url.partition("://")[2].partition("/")[0]:
            yield Problem(
                "E012",
                f"{_where(provider.config)}: {name} is {url!r}, and no host has such a name.",
                "Write each host by its own name.",
            )
    if provider.api_base_field and not provider.api_domains:
        yield Problem(
            "E011",
            f"{_where(provider.config)}['OPTIONS'] has api_base_field without api_domains.",
            "Write the domains that the API's address may be on: the token is sent there.",
        )


def _missing_identity_scopes(provider: Provider) -> Iterator[Problem]:
    missing = [scope for scope in provider.identity_scopes if scope not in provider.scopes]
    if missing:
        yield Problem(
            "W012",
            f"{_where(provider.config)}['SCOPES'] lacks {' and '.join(map(repr, missing))}: "
            f"{provider.name} would not say whose an account is, and nobody can connect.",
            "Add it, or name another userinfo_endpoint in OPTIONS that needs it not.",
        )


def _client_problems(provider: Provider) -> Iterator[Problem]:
    where = f"{_where(provider.config)}['CLIENT_ID']"
    if ":" in provider.config.client_id and provider.splits_client_at_colon:
        yield Problem(
            "E018",
            f"{where} holds a colon, which this provider's way of Basic cannot send.",
            'Set OPTIONS["basic_auth_encoding"] to "form", if the provider decodes it.',
        )
    # E009 was an error for the same; it is retired, since an admin may enter the client.
    needs_client = not provider.config.client_id and not provider.registers
    if needs_client and provider.grant_type == "authorization_code":
        yield Problem(
            "W004",
            f"{where} is empty.",
            "Write the client id that the provider gave the site; often an environment variable "
            "is missing. Nobody can connect until it stands there, or an admin has entered it "
            "under “Provider clients”.",
        )


def _is_like(default: Any, value: Any) -> bool:
    if isinstance(default, tuple):
        kind = type(default[0]) if default else str
        return isinstance(value, list | tuple) and all(type(item) is kind for item in value)
    if isinstance(default, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
