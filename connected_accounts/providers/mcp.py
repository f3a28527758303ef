"""MCP: any server of the Model Context Protocol that a person names. The server says who guards it,
and the site becomes a client there.

After the protocol's revision 2026-07-28, chapter Authorization (read 2026-11), and RFC 9728, 8414,
7591, 8707 and draft-ietf-oauth-client-id-metadata-document-00.
"""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from django.utils.translation import gettext_lazy as _

from connected_accounts import conf
from connected_accounts.conf import Problem, ProviderConfig, is_safe_url
from connected_accounts.exceptions import ConfigurationError, ProviderError, UnexpectedResponse
from connected_accounts.oauth2.challenge import sound_scopes
from connected_accounts.oauth2.resource import canonical_url, is_at_or_below, origin_url
from connected_accounts.providers import base
from connected_accounts.providers.base import MAX_HOST, Client, Endpoints, Identity, Provider
from connected_accounts.providers.client import metadata_document
from connected_accounts.providers.client.metadata_document import (
    address_problems,
    document,
    document_auth_method,
    document_problems,
    document_url,
    names,
)
from connected_accounts.providers.endpoints import as_origin
from connected_accounts.providers.inputs import ConnectField
from connected_accounts.secret import Secret

if TYPE_CHECKING:
    import requests

    from connected_accounts.oauth2.protected_resource import ProtectedResource
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["MCP"]

OFFLINE: Final = "offline_access"
POST: Final = "client_secret_post"
# By grant type: with client credentials the site connects an account of its own.
NEEDED: Final = {**base.NEEDED, "identity_assertion": ("token_endpoint",)}
EXAMPLE: Final = "https://server.example"
MAX_ISSUERS: Final = 3  # of those that guard one server, that are asked
ACCEPT: Final = "application/json, text/event-stream"
# A message that is answered at any time, and that a server with a guard refuses.
PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "django-connected-accounts", "version": "1"},
    },
}


class MCP(Provider):
    """Any MCP server that a person names, or those that the site lists."""

    name = "MCP"
    connect_fields = ("server",)
    token_endpoint_auth_method = "none"  # until the server has said what it takes
    unnamed_scopes = (OFFLINE,)
    raises_insufficient_scope = True
    docs_url = "https://modelcontextprotocol.io"
    own_options: ClassVar[Mapping[str, Any]] = {
        # Hosts, or URLs that a server is at or below; none: any public one.
        "servers": (),
        # "server": ask for what a server names; "listed": for SCOPES and OPTIONAL_SCOPES alone.
        "scopes": "server",
        "offline_access": True,
        # The authorization server that CLIENT_ID and CLIENT_SECRET are for.
        "client_issuer": "",
        **metadata_document.OPTIONS,
        # With grant_type identity_assertion: the alias of the organisation's sign-in, with the
        # client that the site is there.
        "identity_provider": "",
    }

    _metadata: Mapping[str, Any] | None = None  # of the authorization server, once it was asked
    _resource: "ProtectedResource | None" = None

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        self.client = Client("", Secret(""))  # that of settings is for one issuer only

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]"
        options = {**cls.own_options, **config.options}
        bases = [as_origin(str(server)) for server in options["servers"]]
        if not all(is_safe_url(base) for base in bases):
            yield Problem(
                "E027",
                f"{where}['OPTIONS']['servers'] does not name servers.",
                'Write hosts or URLs: ["mcp.example.com", "https://example.com/mcp"]; plain http '
                "is for http://127.0.0.1 or http://[::1] only.",
            )
        if config.client_id and not options["client_issuer"]:
            yield Problem(
                "E027",
                f"{where}['CLIENT_ID'] would be for every authorization server.",
                "Write OPTIONS['client_issuer'], the one that it is for.",
            )
        yield from cls._grant_problems(where, config.alias, options)
        if config.exclusive:
            yield Problem(
                "E027",
                f"{where} is EXCLUSIVE, but an MCP server does not say whose an account is.",
                'Remove "EXCLUSIVE".',
            )
        if options["scopes"] not in ("server", "listed"):
            yield Problem(
                "E027",
                f"{where}['OPTIONS']['scopes'] is unknown.",
                "Write 'server' to ask for what a server names, or 'listed' for SCOPES and "
                "OPTIONAL_SCOPES alone.",
            )
        yield from cls._client_problems(where, options, bases)

    @classmethod
    def _grant_problems(
        cls, where: str, alias: str, options: Mapping[str, Any]
    ) -> Iterator[Problem]:
        if options.get("grant_type", cls.grant_type) not in NEEDED:
            yield Problem(
                "E027",
                f"{where}['OPTIONS']['grant_type'] is not one that an MCP server has.",
                'Write "authorization_code", "client_credentials" for an account of the site, or '
                '"identity_assertion".',
            )
        by_assertion = options.get("grant_type") == "identity_assertion"
        named = options["identity_provider"]
        if by_assertion and (named == alias or named not in conf.provider_aliases()):
            yield Problem(
                "E027",
                f"{where}['OPTIONS']['identity_provider'] names no other provider.",
                "Write the alias of the organisation's sign-in, an entry of PROVIDERS with the "
                "client that identity tokens are issued to.",
            )

    @classmethod
    def _client_problems(
        cls, where: str, options: Mapping[str, Any], bases: list[str]
    ) -> Iterator[Problem]:
        yield from document_problems(where, options)
        at_home = bool(bases) and all(base.startswith("http:") for base in bases)
        given = options.get("grant_type", cls.grant_type) != "authorization_code"
        if not (at_home or given):
            yield from address_problems(where, options)

    @property
    def server_metadata(self) -> Mapping[str, Any]:
        return self._metadata or {}

    # The server that a person names.

    def connect_field(self, name: str) -> ConnectField:
        if name != "server":
            return super().connect_field(name)
        listed = tuple(canonical_url(as_origin(s)) for s in self.options["servers"])
        help_text = _("Its address, as its documentation has it: https://mcp.example.com/mcp.")
        return ConnectField("server", _("Server"), "server", help_text, listed)

    def _is_listed(self, server: str) -> bool:
        return any(is_at_or_below(server, as_origin(one)) for one in self.options["servers"])

    def known_endpoints(self) -> Endpoints:
        return Endpoints(token_endpoint=EXAMPLE, registration_endpoint=EXAMPLE)

    def offers_revocation(self) -> bool | None:
        return None

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        server = canonical_url(inputs.get("server", ""))
        if self.connect_field("server").fault(server) is not None:
            raise ConfigurationError("inputs", "This server cannot be connected here.")
        public = not self._is_listed(server)
        ends = time.monotonic() + float(conf.get("HTTP_DEADLINE"))
        issuers = self._issuers(server, inputs, public)
        failure: ProviderError = UnexpectedResponse("no_metadata", sent=False)
        for issuer in issuers[:MAX_ISSUERS]:
            try:
                return self._endpoints_of(issuer, server, inputs, public)
            except ProviderError as error:
                failure = error
            if time.monotonic() > ends:  # a server may be slow, and name others that are
                break
        raise failure

    def _issuers(self, server: str, inputs: Mapping[str, str], public: bool) -> tuple[str, ...]:
        """Those who guard the server, with the one that a connection was made at first. It stays
        where the server is not there to say otherwise: then its guard has not changed."""
        from connected_accounts.oauth2.protected_resource import (  # loads requests
            protected_resource,
        )

        known = inputs.get("issuer", "")
        try:
            self._resource = found = protected_resource(server, lambda: ping(server), public=public)
        except ProviderError:
            if not known:
                raise
            return (known,)
        self.dpop = self.dpop or found.needs_proofs
        if known in found.issuers or (known and not found.is_described):
            return (known,)
        return found.issuers

    def _endpoints_of(
        self, issuer: str, server: str, inputs: Mapping[str, str], public: bool
    ) -> Endpoints:
        # Loads requests.
        from connected_accounts.oauth2.discovery import endpoint_named, with_certificate

        metadata = self._metadata_of(issuer, server, public)
        if self.config.client_certificate is not None:
            metadata = with_certificate(metadata)
        needed = NEEDED[self.grant_type]
        named: dict[str, Any] = {name: endpoint_named(metadata, name, issuer) for name in needed}
        issuer = str(metadata.get("issuer", issuer))
        if not all(named.values()) or len(issuer) > MAX_HOST:
            raise UnexpectedResponse("no_metadata", sent=False)
        methods = metadata.get("code_challenge_methods_supported")
        by_code = self.grant_type == "authorization_code"
        if by_code and (not isinstance(methods, list) or "S256" not in methods):
            raise UnexpectedResponse("no_pkce", sent=False)
        self._metadata = metadata
        self.iss_required = metadata.get("authorization_response_iss_parameter_supported") is True
        demanded = metadata.get("require_pushed_authorization_requests") is True
        self.require_pushed_authorization_requests = demanded
        own_name = self._resource.resource if self._resource else server
        self.resource = inputs.get("resource") or own_name
        self.inputs = {**self.inputs, "server": server, "issuer": issuer, "resource": self.resource}
        self._choose_auth_method()
        return Endpoints(
            **named,
            revocation_endpoint=endpoint_named(metadata, "revocation_endpoint", issuer),
            registration_endpoint=endpoint_named(metadata, "registration_endpoint", issuer),
            pushed_authorization_request_endpoint=endpoint_named(
                metadata, "pushed_authorization_request_endpoint", issuer
            ),
            userinfo_endpoint=server,
            api_base_url=server,
            issuer=issuer,
            public_only=public,
            only_below=self.resource,
        )

    def _metadata_of(self, issuer: str, server: str, public: bool) -> Mapping[str, Any]:
        from connected_accounts.oauth2 import discovery  # loads requests

        undescribed = self._resource is not None and not self._resource.is_described
        if not undescribed:
            return discovery.server_metadata(issuer, public=public)
        origin = origin_url(server)
        try:
            return discovery.origin_metadata(origin, public=public)
        except UnexpectedResponse as error:
            if error.code != "no_metadata":
                raise
        # The places of revision 2025-03-26, which demands PKCE of everybody.
        return {
            "issuer": origin,
            "authorization_endpoint": f"{origin}/authorize",
            "token_endpoint": f"{origin}/token",
            "registration_endpoint": f"{origin}/register",
            "code_challenge_methods_supported": ["S256"],
        }

    # The client that the site is there.

    @property
    def resource_name(self) -> str:
        return self._resource.name if self._resource else ""

    def fields_of_host(self) -> tuple[str, ...]:
        return self.connect_fields

    @property
    def registers(self) -> bool:
        return True  # a client of settings is for one issuer only

    @property
    def host(self) -> str:
        return self.inputs.get("issuer", "")

    @property
    def client_host(self) -> str:
        return self.host

    def client_host_field(self) -> ConnectField:
        return ConnectField("host", _("Host or issuer"), "issuer")

    def settings_client(self) -> Client | None:
        is_for_it = bool(self.host) and self.host == self.options["client_issuer"]
        return super().settings_client() if is_for_it else None

    def public_client(self, client_id: str) -> Client | None:
        return Client(client_id, Secret("")) if client_id.startswith("https://") else None

    def client_for(self, redirect_uri: str) -> Client | None:
        told = self.server_metadata.get("client_id_metadata_document_supported") is True
        methods = self.server_metadata.get("token_endpoint_auth_methods_supported")
        method = document_auth_method(self.config)
        if method != "none" and isinstance(methods, list):
            told = told and method in methods  # it is what the document says
        address = self.client_metadata_url(redirect_uri) if told else ""
        return Client(address, Secret("")) if address else None

    def client_metadata_url(self, redirect_uri: str) -> str:
        """The address that the site is known by as a client; empty where it has none that others
        can reach."""
        return document_url(self.alias, self.options, redirect_uri)

    def client_metadata(self, redirect_uri: str) -> dict[str, Any] | None:
        # With keys, a server may take the site's assertion; it says so itself.
        metadata = self.registration(redirect_uri, [])
        address = self.client_metadata_url(redirect_uri)
        return document(self.config, address, redirect_uri, metadata)

    def registration(self, redirect_uri: str, scopes: list[str]) -> dict[str, Any]:
        # OpenID Connect Dynamic Client Registration 1.0, 2: http is for a loopback address.
        kind = "native" if redirect_uri.startswith("http:") else "web"
        described = {"application_type": kind, **names(self.options, redirect_uri)}
        return super().registration(redirect_uri, scopes) | described

    def bound(
        self, *, client: Client | None = None, inputs: Mapping[str, str] | None = None
    ) -> Self:
        one = super().bound(client=client, inputs=inputs)
        if one._metadata is not None:
            one._choose_auth_method()
        return one

    def _choose_auth_method(self) -> None:
        from connected_accounts.oauth2.request import best_auth_method  # loads requests

        told = (self._metadata or {}).get("token_endpoint_auth_methods_supported")
        # The servers of mcp and fastmcp list Basic and refuse it unless the body names the client
        # too (2.3.0 and 4.2.3, seen 2026-11); in the body all is named.
        told = [POST] if isinstance(told, list) and POST in told else told
        self.token_endpoint_auth_method = self.client.auth_method or best_auth_method(
            told,
            client_id=self.client.client_id,
            client_secret=self.client.client_secret,
            registered=self.client.registered,
            registers=not self.client.client_id,
            strong=() if self.client.owned else self.strong_auth_methods,
        )

    def inputs_to_keep(self) -> dict[str, str]:
        return {name: self.inputs[name] for name in ("server", "issuer", "resource")}

    # What is asked for.

    def may_ask_for(self, scope: str) -> bool:
        if self.options["scopes"] == "listed":
            return super().may_ask_for(scope)
        return bool(sound_scopes((scope,)))

    def scopes_before(self, account: Any) -> list[str]:
        kept = [scope for scope in account.scopes_requested if scope != OFFLINE]
        return [scope for scope in kept if self.may_ask_for(scope)]

    def scopes_to_ask(self, wanted: list[str]) -> list[str]:
        by_server = self._resource.scopes if self._resource else ()
        named = by_server if self.config.scopes is None else self.config.scopes
        named = tuple(scope for scope in named if self.config.scopes or self.may_ask_for(scope))
        known = (self._metadata or {}).get("scopes_supported")
        offline = self.options["offline_access"] and self.config.scopes != ()
        asks = offline and isinstance(known, list) and OFFLINE in known
        return list(dict.fromkeys([*named, *wanted, *([OFFLINE] if asks else [])]))

    def scopes_to_register(self, wanted: list[str]) -> list[str]:
        known = self._resource.known_scopes if self._resource else ()
        others = known if self.config.scopes is None else self.config.optional_scopes
        others = tuple(scope for scope in others if self.may_ask_for(scope))
        return list(dict.fromkeys([*self.scopes_to_ask(wanted), *others]))

    # The account that a connection is.

    def fetch_identity(self, session: "ProviderSession", token: "TokenResponse") -> Identity:
        server = self.inputs["server"]
        shown = server.partition("://")[2]
        name = self._own_name(session) or self.resource_name
        return Identity(server, f"{shown} ({name})" if name else shown)

    def _own_name(self, session: "ProviderSession") -> str:
        """The name that the server gives itself when it is first spoken to. Raises ProviderError
        where it does not take the token, or where its answer is no message of the protocol."""
        from connected_accounts.oauth2.protected_resource import plain_name  # loads requests

        try:
            answer = session.answer("POST", self.inputs["server"], json=INITIALIZE, accept=ACCEPT)
        except UnexpectedResponse as error:
            if error.code in ("status_401", "status_403"):
                raise
            return ""
        message = message_in(answer.body)
        if message is None:
            raise UnexpectedResponse("no_identity", status=answer.status)
        told = message.get("result")
        about = told.get("serverInfo") if isinstance(told, Mapping) else None
        about = about if isinstance(about, Mapping) else {}
        return plain_name(about.get("title")) or plain_name(about.get("name"))


def ping(server: str) -> "requests.Request":
    """A request without a token, which a server that is guarded refuses."""
    import requests  # kept out of start-up

    return requests.Request("POST", server, json=PING, headers={"Accept": ACCEPT})


def message_in(body: bytes) -> Mapping[str, Any] | None:
    """The answer of JSON-RPC in a body, plain or the first that a stream has; None: none."""
    from connected_accounts.oauth2.token import parse_json_object

    events = [line[5:] for line in body.splitlines() if line.startswith(b"data:")]
    for text in events or [body]:
        found = parse_json_object(text.strip())
        if found is not None and ("result" in found or "error" in found):
            return found
    return None
