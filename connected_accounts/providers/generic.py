"""Any OAuth 2.0 server: endpoints and values from OPTIONS, or an ``issuer`` that tells them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from connected_accounts.conf import Problem, ProviderConfig
from connected_accounts.exceptions import ProviderError, ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2.token import value_at
from connected_accounts.providers import base
from connected_accounts.providers.base import Client, Endpoints, Identity, Provider
from connected_accounts.providers.client import metadata_document
from connected_accounts.providers.endpoints import ENDPOINT_NAMES, as_origin, with_client_id
from connected_accounts.providers.hosts import at_host, host_problems, place_field
from connected_accounts.providers.inputs import ConnectField
from connected_accounts.secret import Secret

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse

__all__ = ["OAuth2"]

# What must be known of a server, by grant type, where no issuer tells it.
NEEDED: Final = {**base.NEEDED, "personal_token": ("userinfo_endpoint",)}


OFFLINE: Final = "offline_access"
# Claims that people recognise themselves by, in this order, besides the address (OpenID Connect
# Core 5.1, and what others have).
LABELS: Final = ("preferred_username", "nickname", "name", "username", "login")


class OAuth2(Provider):
    """Any OAuth 2.0 server: by its ``issuer``, or by its endpoints in OPTIONS."""

    name = "OAuth 2.0"
    # Google answers so where the names of OpenID Connect were asked for; nobody else has these.
    scope_aliases: Mapping[str, str] = {
        "https://www.googleapis.com/auth/userinfo.email": "email",
        "https://www.googleapis.com/auth/userinfo.profile": "profile",
    }
    own_options: ClassVar[Mapping[str, Any]] = {
        "subject_path": "sub",
        "label_path": "email",
        # By issuer: whether a refresh token is asked for by a scope, where the server has one.
        "offline_access": True,
        # What "https://{host}" in an address may stand for: a host, or a URL that it is below.
        "hosts": (),
        # The site is known by the address of its metadata, without a client id or a registration.
        "client_id_metadata_document": False,
        **metadata_document.OPTIONS,
    }

    _metadata: Mapping[str, Any] = {}  # of the issuer, once it was asked

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config)
        if "name" not in config.options:
            address = self.issuer or self.authorization_endpoint
            self.name = (urlsplit(address).hostname if "{" not in address else "") or self.name
        if len(self.hosts) == 1:  # there is nothing to choose
            self.connect_fields = tuple(name for name in self.connect_fields if name != "host")

    @property
    def server_metadata(self) -> Mapping[str, Any]:
        return self._metadata

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self.options["hosts"])

    @property
    def scopes(self) -> tuple[str, ...]:
        if self.config.scopes is None and self.issuer and not self.default_scopes:
            return ("openid",) if not self._metadata or self._offers("openid") else ()
        return super().scopes

    def _offers(self, scope: str) -> bool:
        """Whether the server lists a scope, or has it by being one of OpenID Connect."""
        listed = self._metadata.get("scopes_supported")
        is_openid = scope == "openid" and self._metadata.get("connected_accounts.is_openid")
        return bool(is_openid or (isinstance(listed, list) and scope in listed))

    def scopes_to_ask(self, wanted: list[str]) -> list[str]:
        by_itself = self.options["offline_access"] and self.config.scopes != ()
        asks = by_itself and not self.config.service and self.grant_type == "authorization_code"
        if asks and OFFLINE not in wanted and self._offers(OFFLINE):
            return [*wanted, OFFLINE]
        return wanted

    def request_params(self, scopes: Collection[str]) -> Mapping[str, str]:
        params = {name: value for name, value in self.authorization_params.items() if value != ""}
        # OpenID Connect Core 11: else the scope is ignored.
        is_openid = self._metadata and {"openid", OFFLINE} <= set(scopes)
        if is_openid and not self.config.service and "prompt" not in self.authorization_params:
            return {"prompt": "consent", **params}
        return params

    def registration(self, redirect_uri: str, scopes: list[str]) -> dict[str, Any]:
        # OpenID Connect Dynamic Client Registration 1.0, 2: some refuse http to any but these.
        kind = "native" if redirect_uri.startswith("http:") else "web"
        return super().registration(redirect_uri, scopes) | {"application_type": kind}

    # The client that the site is by its own description.

    @property
    def describes_itself(self) -> bool:
        """Whether the site is a client by the address of its metadata."""
        by_code = self.grant_type == "authorization_code" and not self.config.client_id
        return by_code and bool(self.options.get("client_id_metadata_document"))

    @property
    def registers(self) -> bool:
        return self.describes_itself or super().registers

    def client_metadata_url(self, redirect_uri: str) -> str:
        """The address of the site's metadata; empty where it has none that others can reach."""
        return metadata_document.document_url(self.alias, self.options, redirect_uri)

    def client_for(self, redirect_uri: str) -> Client | None:
        address = self.client_metadata_url(redirect_uri) if self.describes_itself else ""
        return Client(address, Secret("")) if address else None

    def public_client(self, client_id: str) -> Client | None:
        is_address = self.describes_itself and client_id.startswith("https://")
        return Client(client_id, Secret("")) if is_address else None

    def client_metadata(self, redirect_uri: str) -> dict[str, Any] | None:
        if not self.describes_itself:
            return None
        metadata = self.registration(redirect_uri, self.scopes_to_register([]))
        metadata |= metadata_document.names(self.options, redirect_uri)
        address = self.client_metadata_url(redirect_uri)
        return metadata_document.document(self.config, address, redirect_uri, metadata)

    def bound(
        self, *, client: Client | None = None, inputs: Mapping[str, str] | None = None
    ) -> Self:
        one = super().bound(client=client, inputs=inputs)
        if one._metadata or one.describes_itself:
            one._choose_auth_method()
        return one

    @classmethod
    def problems(cls, config: ProviderConfig) -> Iterator[Problem]:
        where = f"CONNECTED_ACCOUNTS['PROVIDERS'][{config.alias!r}]['OPTIONS']"
        options = config.options
        issuer = options.get("issuer", cls.issuer)
        # Another check reports an unknown grant type.
        needed = NEEDED.get(str(options.get("grant_type", cls.grant_type)), ())
        if not issuer and not all(map(options.get, needed)):
            yield Problem(
                "E015",
                f"{where} names neither an issuer nor the server's endpoints.",
                f"Write the server's issuer, or {' and '.join(needed)}.",
            )
        elif not issuer and options.get("identity_source") == "id_token":
            yield Problem(
                "E015",
                f"{where} takes the identity from an id_token without naming its issuer.",
                "Write the server's issuer: an id_token of another one is not to be believed.",
            )
        elif not issuer and not options.get("userinfo_endpoint") and cls._asks_userinfo(options):
            yield Problem(
                "W007",
                f"{where} does not say where to ask whose an account is: nobody can connect.",
                'Write userinfo_endpoint, or "identity_source": "token_response".',
            )
        source = options.get("identity_source", cls.identity_source)
        if source == "none" and config.exclusive:
            yield Problem(
                "E015",
                f"{where} tells no person, and an account that nobody knows cannot be EXCLUSIVE.",
                'Remove "EXCLUSIVE", or say where the server tells whose an account is.',
            )
        path = str(options.get("subject_path", ""))
        if source != "none" and not config.service and "mail" in path.rpartition(".")[2].lower():
            yield Problem(
                "W013",
                f"{where}['subject_path'] is {path!r}: an address that people can change.",
                "Name an id that stays, if the server has one: after a change the account is "
                "another one, and cannot be connected again but as a new one.",
            )
        yield from host_problems(where, options)
        one = cls(config)
        if one.describes_itself:
            entry = where.removesuffix("['OPTIONS']")
            yield from metadata_document.document_problems(entry, one.options)
            yield from metadata_document.address_problems(entry, one.options)

    @classmethod
    def _asks_userinfo(cls, options: Mapping[str, Any]) -> bool:
        return bool(options.get("identity_source", cls.identity_source) == "userinfo")

    def known_endpoints(self) -> Endpoints:
        example = dict.fromkeys(self.connect_fields, "example")
        return super().resolve_endpoints(example | {"host": (*self.hosts, "host.example")[0]})

    def connect_field(self, name: str) -> ConnectField:
        return place_field(name, self.token_endpoint, self.hosts) or super().connect_field(name)

    def filled(self, template: str, inputs: Mapping[str, str]) -> str:
        return super().filled(at_host(template, self._host(inputs), self.hosts), inputs)

    def _host(self, inputs: Mapping[str, str]) -> str:
        """The host of one connection. Where nobody was asked, settings named a single one at the
        time: it is the first still when others come."""
        return inputs.get("host", "") or next(iter(self.hosts), "")

    def offers_revocation(self) -> bool | None:
        found = super().offers_revocation()
        if found is not None or not self.issuer:
            return found
        from connected_accounts.oauth2 import discovery  # loads requests

        told = discovery.known_metadata(self.issuer)
        if told is None:
            return None
        return bool(discovery.endpoint_named(told, "revocation_endpoint", self.issuer))

    def declared_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        """The addresses as far as they are known before an issuer is asked."""
        declared = super().resolve_endpoints(inputs)
        if "host" in self.places and not self.hosts:
            return replace(declared, public_only=True)  # a person named it
        return declared

    def resolve_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        declared = self.declared_endpoints(inputs)
        if not declared.issuer:
            return declared
        # Loads requests.
        from connected_accounts.oauth2.discovery import (
            endpoint_named,
            server_metadata,
            with_certificate,
        )

        needed = NEEDED[self.grant_type]
        enough = all(getattr(declared, name) for name in needed)
        try:
            metadata = server_metadata(declared.issuer, public=declared.public_only)
        except ProviderError as error:
            if not enough:
                raise
            return replace(declared, partial=isinstance(error, ProviderUnavailable))
        self._adopt_metadata(metadata)
        if self.config.client_certificate is not None:
            metadata = with_certificate(metadata)
        found: dict[str, Any] = {
            name: getattr(declared, name) or endpoint_named(metadata, name, declared.issuer)
            for name in ENDPOINT_NAMES
            # A site registers itself only where its settings say so.
            if name != "registration_endpoint"
        }
        if not all(found[name] for name in needed):
            raise UnexpectedResponse("no_metadata", sent=False)
        found["issuer"] = declared.issuer
        found["api_base_url"] = declared.api_base_url or declared.issuer
        found["registration_endpoint"] = declared.registration_endpoint
        if self.places:
            self._refuse_elsewhere(declared, found)
        # An issuer leads to no private address but on its own host, which settings name.
        inside = urlsplit(declared.issuer).hostname
        called = [u for n, u in found.items() if u and n != "authorization_endpoint"]
        told = [url for url in called if url not in vars(declared).values()]
        leads_on = any(urlsplit(url).hostname != inside for url in told)
        public = declared.public_only or leads_on
        partial = metadata.get("connected_accounts.is_partial") is True
        return Endpoints(**found, public_only=public, partial=partial)

    def _refuse_elsewhere(self, declared: Endpoints, found: Mapping[str, str]) -> None:
        """Where there are many hosts, one names its own origin alone, and ``api_hosts`` for its
        API: else it could send people to another one, and have their codes and tokens. Raises
        UnexpectedResponse (``unlisted_host``)."""
        from connected_accounts.oauth2.session import origin_of  # loads requests

        own = {origin_of(declared.issuer)}
        apis = own | {origin_of(as_origin(host)) for host in self.api_hosts}
        for name, url in found.items():
            trusted = apis if name == "userinfo_endpoint" else own
            if url and not getattr(declared, name) and origin_of(url) not in trusted:
                raise UnexpectedResponse("unlisted_host", sent=False)

    def _adopt_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Fill in what settings leave open from what the server says of itself (RFC 8414 2)."""
        options = self.config.options
        self._metadata = metadata
        self._choose_auth_method()
        if "iss_required" not in options:
            self.iss_required = (
                metadata.get("authorization_response_iss_parameter_supported") is True
            )
        if "require_pushed_authorization_requests" not in options:
            self.require_pushed_authorization_requests = (
                metadata.get("require_pushed_authorization_requests") is True
            )

    def _choose_auth_method(self) -> None:
        """Authenticate in the best way that the server offers for this client, where settings do
        not say how. Without a client yet, that is the way to register for."""
        if "token_endpoint_auth_method" in self.config.options:
            return
        if self.public_client(self.client.client_id) is not None:
            self.token_endpoint_auth_method = metadata_document.document_auth_method(self.config)
            return
        from connected_accounts.oauth2.request import best_auth_method  # loads requests

        self.token_endpoint_auth_method = self.client.auth_method or best_auth_method(
            self._metadata.get("token_endpoint_auth_methods_supported"),
            client_id=self.client.client_id,
            client_secret=self.client.client_secret,
            registered=self.client.registered,
            registers=not self.client.client_id and bool(self.registration_endpoint),
            strong=() if self.client.owned else self.strong_auth_methods,
        )

    def fetch_identity(self, session: "ProviderSession | None", token: "TokenResponse") -> Identity:
        if self.identity_source == "none":  # one account for each owner
            return Identity(urlsplit(self.endpoints().token_endpoint).hostname or self.alias)
        document: Any = token.claims
        if self.identity_source == "token_response":
            document = token.raw
        elif self.identity_source == "userinfo" and session is not None:
            document = self._userinfo(session, token)
        subject = self._first(document, token.claims, "subject_path", "id")
        label = self._first(document, token.claims, "label_path", *LABELS)
        if subject in (None, ""):
            raise UnexpectedResponse("no_identity")
        # Numbers of one host, or of one customer's part of it, say nothing about another's.
        places = {**self.inputs, "host": self._host(self.inputs)}
        named = [places[name] for name in self.places if places.get(name)]
        return Identity(":".join([*named, str(subject)]), "" if label is None else str(label))

    def _first(self, document: Any, claims: Mapping[str, Any], option: str, *others: str) -> Any:
        """The value at the path that settings name; where they name none, at the usual one, or at
        another that the server has, or in what the id_token claims."""
        paths = [self.options[option]]
        documents = [document]
        if option not in self.config.options:
            paths += others
            documents.append(claims)
        values = (value_at(one, path) for path in paths for one in documents)
        return next((value for value in values if value not in (None, "")), None)

    def _userinfo(self, session: "ProviderSession", token: "TokenResponse") -> Any:
        endpoint = self.endpoints().userinfo_endpoint
        if not endpoint:
            return token.claims
        address = with_client_id(endpoint, self.client.client_id)
        document = session.fetch(self.userinfo_method, address)
        claimed = token.claims.get("sub")
        answered = document.get("sub") if isinstance(document, dict) else None
        if claimed is not None and answered is not None and answered != claimed:
            # OpenID Connect Core 5.3.2: another person's answer must not be used.
            raise UnexpectedResponse("userinfo_sub")
        return document
