"""The checks of a provider's entry in settings: names, types, choices and addresses of OPTIONS."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from connected_accounts.conf import Problem, ProviderConfig, is_safe_url
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.endpoints import ENDPOINT_NAMES, as_origin

if TYPE_CHECKING:
    from connected_accounts.providers.base import Provider

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
    }
    | {"code_challenge", "code_challenge_method", "request", "request_uri", "client_secret"}
)
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "grant_type": ("authorization_code", "client_credentials", "personal_token"),
    "token_endpoint_auth_method": ("client_secret_post", "client_secret_basic", "none"),
    "revocation_auth_method": ("", "client_secret_post", "client_secret_basic", "none"),
    "basic_auth_encoding": ("form", "raw"),
    "token_request_format": ("form", "json"),
    "token_response_format": ("json", "form"),
    "revocation_request_format": ("form", "json"),
    "revoke_token_type_hint": ("refresh_token", "access_token"),
    "code_challenge_method": ("S256", ""),
    "identity_source": ("userinfo", "token_response", "id_token"),
    "bearer_method": ("header", "query"),
    "default_refresh_policy": ("ahead", "on_use"),
}


def option_problems(
    backend: "type[Provider]", config: ProviderConfig, declared: frozenset[str]
) -> Iterator[Problem]:
    """Every fault that shows without making the provider; its values are looked at after that."""
    where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]"
    for key in sorted(set(config.options) - declared - set(backend.own_options), key=str):
        own = ", ".join([*backend.own_options, "or a declared value of the provider"])
        yield Problem(
            "E011", f"{where}['OPTIONS'] has an unknown key {key!r}.", f"Known are: {own}."
        )
    for name in wrongly_typed(backend, config, declared):
        expected = type(typed_options(backend, declared)[name]).__name__
        yield Problem(
            "E011", f"{where}['OPTIONS'][{name!r}] has the wrong type.", f"Write a {expected}."
        )


def wrongly_typed(
    backend: "type[Provider]", config: ProviderConfig, declared: frozenset[str]
) -> list[str]:
    return [
        name
        for name, default in typed_options(backend, declared).items()
        if name in config.options and not _is_like(default, config.options[name])
    ]


def typed_options(backend: "type[Provider]", declared: frozenset[str]) -> dict[str, Any]:
    return {name: getattr(backend, name) for name in declared} | {
        name: default for name, default in backend.own_options.items() if default is not None
    }


def value_problems(provider: "Provider") -> Iterator[Problem]:
    """Faults of the values, whoever declared them."""
    where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{provider.alias!r}]"
    for name, allowed in CHOICES.items():
        if getattr(provider, name) not in allowed:
            yield Problem(
                "E011",
                f"{where}['OPTIONS'][{name!r}] is {getattr(provider, name)!r}.",
                f"Write one of: {', '.join(map(repr, allowed))}.",
            )
    params = {*provider.authorization_params, *provider.reconnect_params}
    for name in sorted(RESERVED_PARAMS & params):
        yield Problem(
            "E013",
            f"{where}: authorization_params may not set {name!r}.",
            "Remove it: this parameter is made by the flow itself.",
        )
    try:
        known = provider.known_endpoints()
    except ConfigurationError:
        yield Problem(
            "E012",
            f"{where}: an address holds a name in braces that nobody is asked for.",
            "Known are those of connect_fields: " + (", ".join(provider.connect_fields) or "none"),
        )
        return
    named = [(name, getattr(known, name)) for name in ENDPOINT_NAMES]
    hosts = [("api_hosts", as_origin(host)) for host in provider.api_hosts]
    for name, url in [*named, *hosts]:
        if url and not is_safe_url(url):
            yield Problem(
                "E012",
                f"{where}: {name} is {url!r}, which is neither https nor a loopback address.",
                "Write an https URL; plain http is for http://127.0.0.1 or http://[::1] only.",
            )
    if ":" in provider.config.client_id and provider.splits_client_at_colon:
        yield Problem(
            "E018",
            f"{where}['CLIENT_ID'] holds a colon, which this provider's way of Basic cannot send.",
            'Set OPTIONS["basic_auth_encoding"] to "form", if the provider decodes it.',
        )
    # E009 was an error for the same; it is retired, since an admin may enter the client.
    needs_client = not provider.config.client_id and not known.registration_endpoint
    if needs_client and provider.grant_type == "authorization_code":
        yield Problem(
            "W004",
            f"{where}['CLIENT_ID'] is empty.",
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
