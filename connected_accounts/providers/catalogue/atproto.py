"""Accounts of the AT Protocol, Bluesky's among them: at whatever server a person names.

The server that holds an account (PDS) names its authorization server, and what that says of an
account counts once the account itself names that server. After atproto.com/specs/oauth, read
2026-11.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2.resource import origin_url
from connected_accounts.providers.base import Endpoints, Identity
from connected_accounts.providers.endpoints import as_origin
from connected_accounts.providers.generic import OAuth2

if TYPE_CHECKING:
    from connected_accounts.oauth2.session import ProviderSession
    from connected_accounts.oauth2.token import TokenResponse


class ATProto(OAuth2):
    """Any public server that a person names, or those that the site lists."""

    name = "AT Protocol"
    issuer = "https://{host}"  # or the one that the host names
    own_options: ClassVar[Mapping[str, Any]] = {
        # Where the accounts whose id is a did:plc are looked up.
        "plc_directory": "https://plc.directory",
    }

    @property
    def has_api_of_grant(self) -> bool:
        return True

    def endpoints_of_grant(self, endpoints: Endpoints, told: Any) -> Endpoints:
        if told in (None, ""):
            return endpoints
        public = endpoints.public_only or not self._is_listed(told)
        return replace(endpoints, api_base_url=told, public_only=public)

    def declared_endpoints(self, inputs: Mapping[str, str]) -> Endpoints:
        """Those of the authorization server that the host names. A connection stays with the one
        that it was made at: its tokens are for nobody else."""
        from connected_accounts.oauth2.protected_resource import guard_of  # loads requests

        at_host = super().declared_endpoints(inputs)
        issuer = inputs.get("issuer") or guard_of(at_host.issuer, public=at_host.public_only)
        self.inputs = {**self.inputs, "issuer": issuer}
        public = at_host.public_only or not self._is_listed(issuer)
        return replace(at_host, issuer=issuer, public_only=public)

    def _is_listed(self, url: str) -> bool:
        return origin_url(url) in {origin_url(as_origin(host)) for host in self.hosts}

    def fetch_identity(self, session: "ProviderSession | None", token: "TokenResponse") -> Identity:
        did = token.raw.get("sub")
        if not isinstance(did, str):
            raise UnexpectedResponse("no_identity")
        if session is None:  # of a refresh, at the server that was looked at when connecting
            return Identity(did)
        # Load requests.
        from connected_accounts.oauth2.protected_resource import guard_of
        from connected_accounts.providers.catalogue.did import did_document, handle_of, server_in

        document = did_document(did, directory=self.options["plc_directory"])
        server = server_in(document)
        if guard_of(server, public=not self._is_listed(server)) != self.endpoints().issuer:
            # Else any server could give out a token for anybody's account.
            raise UnexpectedResponse("wrong_issuer")
        return Identity(did, handle_of(document) or did, api_base=server)
