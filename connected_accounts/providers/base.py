"""What a provider is: declared values in the words of RFC 6749 and its family, and six hooks.

State, PKCE checking, redirect URI, TLS, timeouts, redirects, size limits, sealing, retries and
logging are never a provider's business.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from connected_accounts.conf import Problem, ProviderConfig, is_safe_url
from connected_accounts.exceptions import (
    ClientRejected,
    ConnectedAccountsError,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

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


@dataclass(frozen=True)
class Identity:
    """Who the account is at the provider. ``subject`` is stable and unique there; ``label`` is what
    a person recognises; ``also`` are other spellings of the same subject."""

    subject: str
    label: str = ""
    also: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        text = self.subject + self.label
        # A NUL or half a surrogate pair, which JSON can carry and no database takes.
        if "\x00" in text or text.encode(errors="ignore").decode() != text:
            raise UnexpectedResponse("no_identity")


@dataclass(frozen=True)
class Endpoints:
    """The addresses of one provider, after regions and inputs are filled in."""

    authorization_endpoint: str = ""
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    userinfo_endpoint: str = ""
    api_base_url: str = ""
    issuer: str = ""
    # The issuer itself named the others: it may move them, within what it is trusted with.
    discovered: bool = False

    def token_hosts(self) -> str:
        """A fingerprint of the origins that tokens travel to; kept on the account."""
        urls = (self.token_endpoint, self.revocation_endpoint, *self.api_urls())
        if self.discovered:
            urls = (self.token_endpoint, self.issuer)
        origins = sorted({"/".join(url.split("/", 3)[:3]).lower() for url in urls if url})
        return hashlib.sha256(" ".join(origins).encode()).hexdigest()

    def exact(self) -> str:
        """A fingerprint of where an open authorization began and is to end."""
        ends = (self.authorization_endpoint, self.token_endpoint, self.issuer)
        return hashlib.sha256(repr(ends).encode()).hexdigest()

    def api_urls(self) -> tuple[str, ...]:
        """The addresses whose origins may be sent the bearer."""
        return tuple(u for u in (self.api_base_url, self.userinfo_endpoint, self.issuer) if u)


ENDPOINT_NAMES: Final = tuple(
    field.name for field in fields(Endpoints) if field.name != "discovered"
)


class Provider:
    """Base of all providers. Subclasses declare; every declared value may be set in OPTIONS too."""

    name: str = ""
    grant_type: str = "authorization_code"
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    userinfo_endpoint: str = ""
    api_base_url: str = ""
    issuer: str = ""
    default_scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    granted_scope_separator: str = ""  # in answers, where it differs
    scope_descriptions: Mapping[str, Any] = {}
    # client_secret_post, client_secret_basic or none
    token_endpoint_auth_method: str = "client_secret_post"
    # form: as RFC 6749 2.3.1 says; raw: for servers that do not decode
    basic_auth_encoding: str = "form"
    token_request_format: str = "form"  # or json
    refresh_request_fields: tuple[str, ...] = ()  # of redirect_uri, scope
    revocation_request_format: str = "form"  # or json, which sends the token alone
    revocation_auth_method: str = ""  # empty: as at the token endpoint
    # Which token ends the grant when revoked, and the hint sent with it (RFC 7009 2.1)
    revoke_token_type_hint: str = "refresh_token"
    dead_grant_errors: tuple[str, ...] = ("invalid_grant",)  # the person must connect again
    client_errors: tuple[str, ...] = ("invalid_client", "unauthorized_client")
    token_types: tuple[str, ...] = ("bearer",)  # that are a bearer, in lower case
    already_revoked_text: str = ""  # part of the error text that means: no such token any more
    # Whether revoking one token ends all that the person allowed the site: then the old grant is
    # not revoked when a new one takes its place.
    revokes_whole_authorization: bool = True
    code_challenge_method: str = "S256"  # or empty: the provider does not take it
    authorization_params: Mapping[str, str] = {}
    iss_required: bool = False  # RFC 9207
    identity_source: str = "userinfo"  # or token_response: the token answer itself says who
    reuse_window: int = 0  # seconds in which a spent refresh token may be replayed
    api_hosts: tuple[str, ...] = ()  # further origins that may be sent the bearer
    docs_url: str = ""
    manage_url: str = ""  # where a person can withdraw the permission by hand

    # OPTIONS of a subclass besides the declared values, with their defaults.
    own_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: ProviderConfig) -> None:
        self.alias = config.alias
        self.config = config
        self.options = {**self.own_options, **config.options}
        for name in DECLARED & set(config.options):
            setattr(self, name, _like(getattr(type(self), name), config.options[name]))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alias}>"

    @property
    def scopes(self) -> tuple[str, ...]:
        """What is asked for: the site's SCOPES, else the backend's default."""
        return self.default_scopes if self.config.scopes is None else self.config.scopes

    def endpoints(self, inputs: Mapping[str, str] | None = None) -> Endpoints:
        """The addresses for one connection; those named in OPTIONS win."""
        named = {name: self.config.options[name] for name in ENDPOINT_NAMES if name in self.options}
        return replace(self.resolve_endpoints(inputs or {}), **named)

    def known_endpoints(self) -> Endpoints:
        """The addresses as far as settings tell them: for the checks, which call nobody."""
        return self.endpoints()

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        """Faults of this provider's settings, for the system checks. Touches no network."""
        where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]"
        known = DECLARED | set(cls.own_options)
        for key in sorted(set(config.options) - known, key=str):
            own = ", ".join([*cls.own_options, "or a declared value of the provider"])
            yield Problem(
                "E011", f"{where}['OPTIONS'] has an unknown key {key!r}.", f"Known are: {own}."
            )
        wrong = [
            name
            for name, default in cls._typed_options().items()
            if name in config.options and not _is_like(default, config.options[name])
        ]
        for name in wrong:
            expected = type(cls._typed_options()[name]).__name__
            yield Problem(
                "E011", f"{where}['OPTIONS'][{name!r}] has the wrong type.", f"Write a {expected}."
            )
        if not config.client_id:
            yield Problem(
                "E009",
                f"{where}['CLIENT_ID'] is empty.",
                "Write the client id that the provider gave the site; read it from the "
                "environment if it must stay out of the code.",
            )
        if not wrong:
            yield from cls(config)._value_problems(where)

    @classmethod
    def _typed_options(cls) -> dict[str, Any]:
        return {name: getattr(cls, name) for name in DECLARED} | {
            name: default for name, default in cls.own_options.items() if default is not None
        }

    def _value_problems(self, where: str) -> Iterator[Problem]:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                yield Problem(
                    "E011",
                    f"{where}['OPTIONS'][{name!r}] is {getattr(self, name)!r}.",
                    f"Write one of: {', '.join(map(repr, allowed))}.",
                )
        for name in sorted(RESERVED_PARAMS & set(self.authorization_params)):
            yield Problem(
                "E013",
                f"{where}: authorization_params may not set {name!r}.",
                "Remove it: this parameter is made by the flow itself.",
            )
        known = self.known_endpoints()
        named = [(name, getattr(known, name)) for name in ENDPOINT_NAMES]
        hosts = [("api_hosts", as_origin(host)) for host in self.api_hosts]
        for name, url in [*named, *hosts]:
            if url and not is_safe_url(url):
                yield Problem(
                    "E012",
                    f"{where}: {name} is {url!r}, which is neither https nor a loopback address.",
                    "Write an https URL; plain http is for http://127.0.0.1 or http://[::1] only.",
                )

    # The hooks.

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        """The addresses, from declared values and what ``connect_fields`` asked of the person."""
        return Endpoints(**{name: getattr(self, name) for name in ENDPOINT_NAMES})

    def request_headers(self) -> dict[str, str]:
        """Headers for every call to the provider, such as an API key."""
        return {}

    def prepare_token_request(self, data: dict[str, str]) -> dict[str, str]:
        """Change the token request's parameters, before client authentication is added."""
        return data

    def parse_token_response(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Translate a token answer into RFC 6749's words, and ``refresh_token_expires_in``."""
        return payload

    def classify_error(self, status: int, payload: Mapping[str, Any]) -> ConnectedAccountsError:
        """The error that an answer of the token endpoint means (RFC 6749 5.2).

        Never put the provider's text into it.
        """
        error = payload.get("error")
        if status == 429 or status >= 500:
            return ProviderUnavailable(f"status_{status}", status=status)
        if error in self.dead_grant_errors:
            return ReauthorizationRequired("revoked")
        if error in self.client_errors:
            return ClientRejected(str(error), status=status)
        if error in ("temporarily_unavailable", "server_error"):
            return ProviderUnavailable(str(error), status=status)
        known = ("invalid_request", "invalid_scope", "unsupported_grant_type")
        return UnexpectedResponse(error if error in known else f"status_{status}", status=status)

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        """Ask who the account is. Raises ProviderError where the provider does not say.

        With ``identity_source`` ``token_response`` it is asked of each refresh's answer too, and
        then ``session`` is None.
        """
        raise UnexpectedResponse("no_identity")


DECLARED: Final = frozenset(name for name in Provider.__annotations__ if name != "own_options")
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "grant_type": ("authorization_code", "client_credentials", "personal_token"),
    "token_endpoint_auth_method": ("client_secret_post", "client_secret_basic", "none"),
    "revocation_auth_method": ("", "client_secret_post", "client_secret_basic", "none"),
    "basic_auth_encoding": ("form", "raw"),
    "token_request_format": ("form", "json"),
    "revocation_request_format": ("form", "json"),
    "revoke_token_type_hint": ("refresh_token", "access_token"),
    "code_challenge_method": ("S256", ""),
    "identity_source": ("userinfo", "token_response", "id_token"),
}


def as_origin(host: str) -> str:
    """An entry of ``api_hosts`` as a URL: a bare host name means https."""
    return host if "://" in host or not host else f"https://{host}"


def _is_like(default: Any, value: Any) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if isinstance(default, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)


def _like(default: Any, value: Any) -> Any:
    return tuple(value) if isinstance(default, tuple) else value
