"""The base of all providers: declared values in the words of RFC 6749 and its family, and hooks.

State, PKCE checking, redirect URI, TLS, timeouts, redirects, size limits, sealing, retries and
logging are never a provider's business.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from connected_accounts import conf
from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.oauth2.token import is_unavailable, value_at
from connected_accounts.providers.client.certificate import certificate_to_register
from connected_accounts.providers.client.keys import keys_to_register
from connected_accounts.providers.endpoints import (
    ENDPOINT_NAMES,
    Endpoints,
    Identity,
    api_base,
    fill,
    is_host_entered,
)
from connected_accounts.providers.inputs import OWN_CLIENT, ConnectField, field_named
from connected_accounts.secret import Secret

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["Endpoints", "Identity", "Provider"]

MAX_HOST: Final = 255  # characters of the column
# Ways of client authentication (RFC 7591 2, RFC 8705 2).
SECRET_METHODS: Final = ("client_secret_post", "client_secret_basic")
CERTIFICATE_METHODS: Final = ("tls_client_auth", "self_signed_tls_client_auth")

# The addresses that a grant type asks for a token by.
NEEDED: Final = {
    "authorization_code": ("authorization_endpoint", "token_endpoint"),
    "client_credentials": ("token_endpoint",),
}
# By grant type, the field that holds the grant itself.
GRANT_FIELDS: Final = {"personal_token": "personal_token", "identity_assertion": "id_token"}


@dataclass(frozen=True)
class Client:
    """The client credentials at the provider: the site's, or a person's own.

    ``pk`` is the row it came from; None: settings. ``registered``: the provider gave it to us by
    dynamic registration (RFC 7591).
    """

    client_id: str
    client_secret: Secret
    pk: int | None = None
    registered: bool = False
    owned: bool = False  # a person's own credentials
    scopes: tuple[str, ...] | None = None  # it is registered for; None: not told
    auth_method: str = ""  # that it is registered with; empty: not told


class Provider:
    """Base of all providers. Subclasses declare; every declared value may be set in OPTIONS too."""

    name: str = ""
    grant_type: str = "authorization_code"
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    refresh_endpoint: str = ""  # where refresh tokens are exchanged, where it is another
    revocation_endpoint: str = ""
    userinfo_endpoint: str = ""
    registration_endpoint: str = ""  # RFC 7591: where the site makes itself a client
    pushed_authorization_request_endpoint: str = ""  # RFC 9126
    api_base_url: str = ""
    issuer: str = ""
    resource: str = ""  # RFC 8707: sent with the authorization and with every token request
    default_scopes: tuple[str, ...] = ()
    identity_scopes: tuple[str, ...] = ()  # without these the provider does not say who it is
    scope_parameter: str = "scope"
    scope_separator: str = " "
    granted_scope_separator: str = ""  # in answers, where it differs
    scope_descriptions: Mapping[str, Any] = {}
    # What answers call a scope that was asked for under another name; what else a scope allows;
    # whether upper and lower case are one; what answers never name: it counts as granted when it
    # was asked for, and offline_access when a refresh token came.
    scope_aliases: Mapping[str, str] = {}
    scope_includes: Mapping[str, Any] = {}
    scopes_ignore_case: bool = False
    unnamed_scopes: tuple[str, ...] = ("offline_access",)
    client_id_parameter: str = "client_id"
    dpop: bool = False  # RFC 9449: tokens are bound to a key that each connection has of its own
    # client_secret_post, client_secret_basic, private_key_jwt, tls_client_auth,
    # self_signed_tls_client_auth or none
    token_endpoint_auth_method: str = "client_secret_post"
    # What private_key_jwt signs with; empty: the key's best that the server takes. Whom it is for:
    # issuer, or token_endpoint, as servers want it that are older than FAPI 2.0.
    token_endpoint_auth_signing_alg: str = ""
    client_assertion_audience: str = "issuer"
    # RFC 9126: the authorization request goes to the server directly, and not through the browser.
    require_pushed_authorization_requests: bool = False
    # form: as RFC 6749 2.3.1 says; raw: for servers that do not decode
    basic_auth_encoding: str = "form"
    token_request_format: str = "form"  # or json
    token_response_format: str = "json"  # or form, which is read where an answer is not JSON
    code_request_fields: tuple[str, ...] = ()  # scope, sent with the code besides
    refresh_request_fields: tuple[str, ...] = ()  # of redirect_uri, scope
    token_request_inputs: tuple[str, ...] = ()  # of what was asked: sent with each token request
    token_request_params: Mapping[str, str] = {}  # sent with each token request besides
    refresh_request_params: Mapping[str, str] = {}  # and with a refresh
    # Where an answer tells how long tokens live, what stands there (seconds, milliseconds,
    # timestamp, timestamp_ms, date), and the seconds where it does not tell; 0: for ever.
    expires_in_field: str = "expires_in"
    expires_in_unit: str = "seconds"
    default_expires_in: int = 0
    refresh_token_expires_in_field: str = "refresh_token_expires_in"
    refresh_token_expires_in_unit: str = "seconds"
    default_refresh_token_expires_in: int = 0
    # Seconds before an access token's end from which on a refresh is taken; less than 0: after it;
    # 0: at any time.
    refresh_margin: int = 0
    # Where a token answer names the address of the API, and the domains that it may be on: the
    # bearer goes there.
    api_base_field: str = ""
    api_domains: tuple[str, ...] = ()
    revocation_method: str = "POST"  # or DELETE
    revocation_request_format: str = "form"  # or json, which sends the token alone
    revocation_token_parameter: str = "token"  # or empty: the token goes as bearer only
    # Empty: as at the token endpoint; bearer: the token itself; bare: nothing names the client.
    revocation_auth_method: str = ""
    # Which token ends the grant when revoked, and the hint sent with it (RFC 7009 2.1)
    revoke_token_type_hint: str = "refresh_token"
    error_path: str = "error"  # where an answer holds its error code, such as errors.0.code
    # Errors of the token endpoint by which the person must connect again; "status_400" is an answer
    # of that status without any
    dead_grant_errors: tuple[str, ...] = ("invalid_grant",)
    dead_grant_text: tuple[str, ...] = ()  # parts of an answer's text that mean the same
    client_errors: tuple[str, ...] = ("invalid_client", "unauthorized_client")
    token_types: tuple[str, ...] = ("bearer",)  # that are a bearer
    # False: it says yes to whatever is sent there, so that nobody knows what was withdrawn.
    revocation_confirms: bool = True
    already_revoked_text: str = ""  # part of the error text that means: no such token any more
    # Whether revoking one token ends all that the person allowed the site, in every browser: then a
    # grant that nobody uses is not revoked while an account there goes on.
    revokes_whole_authorization: bool = False
    code_challenge_method: str = "S256"  # or empty: the provider does not take it
    authorization_params: Mapping[str, str] = {}
    reconnect_params: Mapping[str, str] = {}  # besides, on a reconnect; "{label}" is filled in
    connect_fields: tuple[str, ...] = ()  # what is asked of the person before
    iss_required: bool = False  # RFC 9207
    # A redirect URI for each of many hosts, also where settings have the client (RFC 9700 4.4.2.1).
    callback_per_host: bool = False
    identity_source: str = "userinfo"  # or token_response: the token answer itself says who
    userinfo_method: str = "GET"
    # For a userinfo_endpoint that does not identify: the method for testing a token, and the field
    # of its answer that must be true.
    status_method: str = "GET"
    status_field: str = ""
    reuse_window: int = 0  # seconds in which a spent refresh token may be replayed
    # Whether the refresh token is sent again whose answer was lost. False for a server that ends
    # more than this grant for it: then the grant ends with its access token.
    replay_lost_answer: bool = True
    # Statuses by which the API refuses a dead token. (A 403 of userinfo_endpoint means one anyway.)
    dead_token_statuses: tuple[int, ...] = (401,)
    api_hosts: tuple[str, ...] = ()  # further origins that may be sent the bearer
    access_token_header: str = ""  # that takes the token alone, in place of Authorization
    headers: Mapping[str, str] = {}  # of every call; "{client_id}" is filled in
    # A 401 of the API without WWW-Authenticate is about something else than the token.
    requires_challenge: bool = False
    # Whether a call that is refused for want of scopes raises InsufficientScope.
    raises_insufficient_scope: bool = False
    bearer_method: str = "header"  # or query (RFC 6750 2.3), for a server that takes nothing else
    default_refresh_policy: str = "ahead"  # where settings have no REFRESH_POLICY; or on_use
    docs_url: str = ""
    manage_url: str = ""  # where a person can withdraw it by hand; "{account}" is filled in

    # OPTIONS of a subclass besides the declared values and those of its bases, with their defaults.
    own_options: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        named = [vars(base).get("own_options", {}) for base in reversed(cls.__mro__)]
        cls.own_options = {n: default for options in named for n, default in options.items()}

    def __init__(self, config: ProviderConfig) -> None:
        self.alias = config.alias
        self.config = config
        self.client = Client(config.client_id, config.client_secret)
        self.inputs: Mapping[str, str] = {}
        self.options = {**self.own_options, **config.options}
        for name in DECLARED & set(config.options):
            setattr(self, name, _like(getattr(type(self), name), config.options[name]))
        self.places = self.fields_of_host()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alias}>"

    def bound(
        self, *, client: Client | None = None, inputs: Mapping[str, str] | None = None
    ) -> Self:
        """The same provider for one connection: its client, and what its addresses need."""
        one = copy(self)
        one.client = self.client if client is None else client
        one.inputs = self.inputs if inputs is None else dict(inputs)
        return one

    def fields_of_host(self) -> tuple[str, ...]:
        """Those of ``connect_fields`` that say which of many hosts a connection is at: they stand
        in an address."""
        addresses = [getattr(self, name) for name in ENDPOINT_NAMES]
        return tuple(
            name for name in self.connect_fields if any(f"{{{name}}}" in a for a in addresses)
        )

    @property
    def host(self) -> str:
        """The key of this connection's host, where its alias has many: what is known of one, such
        as a pause or a registration, is of no other. Empty where the alias has one."""
        key = ":".join(self.inputs[name] for name in self.places if self.inputs.get(name))
        return key if len(key) <= MAX_HOST else hashlib.sha256(key.encode()).hexdigest()

    @property
    def client_host(self) -> str:
        """The ``host`` that the site's client credentials are for. Empty: one service has all the
        hosts, such as those of its customers, and one client serves them."""
        return self.host if "host" in self.places else ""

    @property
    def resource_name(self) -> str:
        """The name that a server gives itself in its description; its endpoints must be known."""
        return ""

    def client_host_field(self) -> ConnectField | None:
        """The field of the ``client_host`` that a client is entered for; None: one client serves
        all."""
        is_asked = "host" in self.connect_fields and "host" in self.places
        return self.connect_field("host") if is_asked else None

    def settings_client(self) -> Client | None:
        """The pair in settings, if it is for this connection."""
        config = self.config
        return Client(config.client_id, config.client_secret) if config.client_id else None

    def public_client(self, client_id: str) -> Client | None:
        """The client of an id that needs no secret and was entered by nobody, such as the address
        of the site's own metadata; None: there is no such client."""
        return None

    def client_for(self, redirect_uri: str) -> Client | None:
        """The client that the site is at this server without registering; its endpoints must be
        known. None: it has to register, or be entered."""
        return None

    @property
    def server_metadata(self) -> Mapping[str, Any]:
        """The server's description of itself (RFC 8414), as far as it was asked."""
        return {}

    @property
    def strong_auth_methods(self) -> tuple[str, ...]:
        """The ways of client authentication besides a secret that settings have the means for."""
        if self.config.client_keys:
            return ("private_key_jwt",)
        by_certificate = self.config.client_certificate and not self.config.client_secret.reveal()
        return CERTIFICATE_METHODS if by_certificate else ()

    def client_metadata(self, redirect_uri: str) -> dict[str, Any] | None:
        """The document that the site is known by as a client, where servers read it at its address
        (draft-ietf-oauth-client-id-metadata-document-00); None: it has none."""
        return None

    def inputs_to_keep(self) -> dict[str, str]:
        """The inputs that a connection is stored with; its endpoints must be known."""
        return dict(self.inputs)

    def scopes_before(self, account: Any) -> list[str]:
        """The scopes besides SCOPES that are asked for again for an account."""
        optional = self.config.optional_scopes
        return [scope for scope in account.scopes_wanted if scope in optional]

    def may_ask_for(self, scope: str) -> bool:
        """Whether a request of this site may name the scope."""
        return scope in self.scopes or scope in self.config.optional_scopes

    def scopes_to_register(self, wanted: list[str]) -> list[str]:
        """The scopes to register the site for; ``wanted`` are those of this connection."""
        may_ask = dict.fromkeys([*self.scopes, *self.config.optional_scopes])
        return self.scopes_to_ask(list(may_ask))

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes to ask for: the site's SCOPES, else the backend's default."""
        return self.default_scopes if self.config.scopes is None else self.config.scopes

    @property
    def refresh_at(self) -> float:
        """The share of a token's life after which it is due: the provider's own, else the site's
        REFRESH_AT."""
        own = self.config.refresh_at
        return float(conf.get("REFRESH_AT") if own is None else own)

    @property
    def refresh_policy(self) -> str:
        """The site's REFRESH_POLICY, else the backend's default."""
        return self.config.refresh_policy or self.default_refresh_policy

    def asked_fields(self, *, for_site: bool = False) -> list[ConnectField]:
        """The fields to ask for before a connection; for the site's own account no client is asked
        for, since its client is in settings or entered by an admin."""
        names = list(self.connect_fields)
        if self.grant_type == "client_credentials":
            names = [n for n in names if n not in ("client_id", "client_secret")]
            by_secret = self.token_endpoint_auth_method in SECRET_METHODS
            own = OWN_CLIENT if by_secret else OWN_CLIENT[:1]
            names = names if for_site else [*own, *names]
        if self.grant_type in GRANT_FIELDS:
            names = [*names, GRANT_FIELDS[self.grant_type]]
        return [self._in_this_way(self.connect_field(name)) for name in dict.fromkeys(names)]

    @property
    def splits_client_at_colon(self) -> bool:
        """Whether a client id with a colon could not be sent: see ``basic_auth_encoding``."""
        basic = self.token_endpoint_auth_method == "client_secret_basic"
        return basic and self.basic_auth_encoding == "raw"

    def _in_this_way(self, field: ConnectField) -> ConnectField:
        splits = field.name == "client_id" and self.splits_client_at_colon
        return field._replace(kind="basic_client_id") if splits else field

    def connect_field(self, name: str) -> ConnectField:
        """One of ``connect_fields``, in words; a subclass says more of its own."""
        return field_named(name)

    def endpoints(self, inputs: Mapping[str, str] | None = None) -> Endpoints:
        """The addresses for one connection; those named in OPTIONS win."""
        inputs = self.inputs if inputs is None else inputs
        named: dict[str, Any] = {
            name: self.filled(self.config.options[name], inputs)
            for name in ENDPOINT_NAMES
            if name in self.options
        }
        return replace(self.resolve_endpoints(inputs), **named)

    def filled(self, template: str, inputs: Mapping[str, str]) -> str:
        """An address with what was entered in its places. Raises ConfigurationError."""
        return fill(template, inputs)

    def known_endpoints(self) -> Endpoints:
        """The addresses as far as settings tell them: for the checks, which call nobody."""
        return self.endpoints({name: name.replace("_", "-") for name in self.connect_fields})

    @property
    def registers(self) -> bool:
        """Whether the site makes itself a client there (RFC 7591). Raises ConfigurationError."""
        by_code = self.grant_type == "authorization_code" and not self.config.client_id
        return by_code and bool(self.known_endpoints().registration_endpoint)

    def offers_revocation(self) -> bool | None:
        """Whether a grant can be withdrawn, as far as is known without asking; None: not known."""
        try:
            known = self.known_endpoints()
        except ConfigurationError:
            return False
        described = bool(self.issuer) or "host" in self.connect_fields
        return True if known.revocation_endpoint else None if described else False

    def manage_url_for(self, inputs: Mapping[str, str]) -> str:
        """``manage_url`` for one connection; empty where settings want more than was asked then."""
        try:
            return self.filled(self.manage_url, inputs)
        except ConfigurationError:
            return ""

    def scopes_granted(self, answered: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The scopes that an answer grants, under the names that the site asks for them by. None
        where the answer does not say."""
        if answered is None:
            return None
        named = [str(self.scope_aliases.get(scope, scope)) for scope in answered]
        for scope in named:  # what is added is looked at too
            named += [s for s in self.scope_includes.get(scope, ()) if s not in named]
        return tuple(dict.fromkeys(named))

    @property
    def has_api_of_grant(self) -> bool:
        """Whether each grant has the address of its own API, which is sealed with its token."""
        return bool(self.api_base_field)

    def endpoints_of_grant(self, endpoints: Endpoints, told: Any) -> Endpoints:
        """The addresses for a grant whose token answer told an API's address, or told none. Raises
        UnexpectedResponse for one that the token must not go to."""
        if not self.api_base_field or told in (None, ""):
            return endpoints
        return replace(endpoints, api_base_url=api_base(told, self.api_domains))

    def request_params(self, scopes: Collection[str]) -> Mapping[str, str]:
        """The parameters of the authorization request besides, with these scopes."""
        return self.authorization_params

    def scopes_to_ask(self, wanted: list[str]) -> list[str]:
        """The wanted scopes that the provider offers. Called after ``endpoints``, which may ask
        it."""
        return wanted

    def scopes_by_choice(self, wanted: list[str]) -> dict[str, list[str] | None]:
        """Where it depends on what the person chooses: for each choice what is asked for there, as
        far as that is known without asking; None: not known yet."""
        return {}

    def registration(self, redirect_uri: str, scopes: list[str]) -> dict[str, Any]:
        """The client metadata to register the site with (RFC 7591 2)."""
        method = self.token_endpoint_auth_method
        metadata: dict[str, Any] = {
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
        metadata |= {"dpop_bound_access_tokens": True} if self.dpop else {}
        if method == "private_key_jwt":
            metadata |= keys_to_register(self.config, redirect_uri)
        if method == "tls_client_auth" and self.config.client_certificate is not None:
            metadata |= certificate_to_register(self.config.client_certificate)
        return metadata | ({"scope": " ".join(scopes)} if scopes else {})

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        """Faults of its settings that only this backend knows, for the system checks: the names,
        types and values that all backends share are checked by ``options``. Its options have the
        right types. Touches no network."""
        return iter(())

    # The hooks.

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        """The addresses, from declared values and what ``connect_fields`` asked of the person."""
        templates = {n: getattr(self, n) for n in ENDPOINT_NAMES}
        named: dict[str, Any] = {n: self.filled(t, inputs) for n, t in templates.items()}
        return Endpoints(**named, public_only=any(map(is_host_entered, templates.values())))

    def request_headers(self) -> dict[str, str]:
        """Headers for every call to the provider, such as an API key."""
        client_id = self.client.client_id
        return {n: str(v).replace("{client_id}", client_id) for n, v in self.headers.items()}

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
        error = value_at(payload, self.error_path)
        if is_unavailable(status):
            return ProviderUnavailable(f"status_{status}", status=status)
        known = ("invalid_request", "invalid_scope", "unsupported_grant_type")
        code = str(error) if error in known else f"status_{status}"
        if self._means_dead_grant(status, payload):
            return ReauthorizationRequired("revoked")
        if error in self.client_errors:
            return ClientRejected(str(error), status=status)
        if error in ("temporarily_unavailable", "server_error"):
            return ProviderUnavailable(str(error), status=status)
        if status == 401 and not payload.get(self.error_path.split(".")[0]):
            # Without a word: that of the client (RFC 6749 5.2).
            return ClientRejected("invalid_client", status=status)
        return UnexpectedResponse(code, status=status)

    def _means_dead_grant(self, status: int, payload: Mapping[str, Any]) -> bool:
        """By a declared word: an error code, the status where the answer has none, or part of what
        a refusal says."""
        error = value_at(payload, self.error_path)
        if error in self.dead_grant_errors:
            return True
        if not 400 <= status < 500:
            return False
        if not error and f"status_{status}" in self.dead_grant_errors:
            return True
        said = str(dict(payload)).lower()
        return any(text.lower() in said for text in self.dead_grant_text if text)

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        """Ask who the account is. Raises ProviderError where the provider does not say.

        With ``identity_source`` ``token_response`` it is asked of each refresh's answer too, and
        then ``session`` is None.
        """
        raise UnexpectedResponse("no_identity")


DECLARED: Final = frozenset(name for name in Provider.__annotations__ if name != "own_options")


def _like(default: Any, value: Any) -> Any:
    return tuple(value) if isinstance(default, tuple) else value
