"""The dialect of an MCP server and of the authorization server that guards it: the protocol's
revision 2025-06-18, chapters Authorization, Lifecycle and Transports."""

import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.protected_resource import WELL_KNOWN
from connected_accounts.oauth2.resource import canonical_url
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import RegisteredClient

GUARD: Final = "https://guard.example"  # where the site's options name none
KEPT: Final = {"Cache-Control": "max-age=300"}


class MCPDialect(Dialect):
    """The server of ``inputs["server"]``, guarded by the issuer of the option ``client_issuer``.
    The site registers itself, unless settings name a client."""

    def begin(self) -> None:
        discovery.clear_cache()  # what another server said of itself

    @classmethod
    def endpoints_of(cls, provider: Provider, inputs: Mapping[str, str]) -> Endpoints:
        server = canonical_url(inputs["server"])
        issuer = provider.options["client_issuer"] or GUARD
        return Endpoints(
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            revocation_endpoint=f"{issuer}/revoke",
            registration_endpoint=f"{issuer}/register",
            userinfo_endpoint=server,
            api_base_url=server,
            issuer=issuer,
        )

    # Addresses.

    @property
    def resource_metadata(self) -> str:
        parts = urlsplit(self.endpoints.api_base_url)
        return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}"

    def addresses(self) -> dict[str, tuple[str, ...]]:
        issuer = urlsplit(self.endpoints.issuer)
        about = f"{issuer.scheme}://{issuer.netloc}/{discovery.OAUTH_PATH}{issuer.path}"
        return super().addresses() | {
            "discovery": (self.resource_metadata, about),
            "registration": (self.endpoints.registration_endpoint,),
        }

    def endpoint_asked(self, request: RecordedRequest) -> str:
        """As elsewhere; but who knocks without a token asks for the challenge, and is nobody."""
        endpoint = super().endpoint_asked(request)
        return "discovery" if endpoint == "identity" and not request.bearer else endpoint

    # What the two say of themselves.

    def discovery(self, request: RecordedRequest) -> Answer:
        if request.url == self.endpoints.api_base_url:
            return self.bearer_refusal()
        if request.url == self.resource_metadata:
            return Answer(200, self.resource(), headers=KEPT)
        return Answer(200, self.metadata(), headers=KEPT)

    def resource(self) -> dict[str, Any]:
        issuers = [self.endpoints.issuer]
        return {"resource": self.endpoints.api_base_url, "authorization_servers": issuers}

    def metadata(self) -> dict[str, Any]:
        named = self.endpoints
        return {
            "issuer": named.issuer,
            "authorization_endpoint": named.authorization_endpoint,
            "token_endpoint": named.token_endpoint,
            "revocation_endpoint": named.revocation_endpoint,
            "registration_endpoint": named.registration_endpoint,
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def bearer_refusal(self) -> Answer:
        challenge = f'Bearer error="invalid_token", resource_metadata="{self.resource_metadata}"'
        return Answer(401, {"error": "invalid_token"}, headers={"WWW-Authenticate": challenge})

    # The authorization server.

    def authorization_fault(self, asked: Mapping[str, str]) -> str:
        fault = super().authorization_fault(asked)
        is_for_it = asked.get("resource") == self.endpoints.api_base_url
        return fault or ("" if is_for_it else "invalid_target")

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        refusal = super().request_refusal(request)
        if refusal is None and request.fields.get("resource") != self.endpoints.api_base_url:
            return Answer(400, {"error": "invalid_target"})  # RFC 8707 2
        return refusal

    def client_of(self, request: RecordedRequest, method: str = "") -> RegisteredClient | None:
        """The client, with its secret in the body where it has one."""
        named = (request.fields.get("client_id", ""), request.fields.get("client_secret", ""))
        return self.server.client(*named)

    def registration(self, request: RecordedRequest) -> Answer:
        told = request.json if isinstance(request.json, dict) else {}
        if not told.get("redirect_uris"):
            return Answer(400, {"error": "invalid_redirect_uri"})
        is_public = told.get("token_endpoint_auth_method") == "none"
        client_id = f"registered-{secrets.token_hex(8)}"
        secret = "" if is_public else self.server.new_secret("client-secret")
        uris = tuple(told["redirect_uris"])
        self.server.clients.append(RegisteredClient(client_id, secret, client_id, "", uris))
        given = {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}
        return Answer(201, told | {"client_id": client_id} | given)

    # The server itself.

    def identity(self, request: RecordedRequest) -> Answer:
        shown = self.grant_shown(request)
        if isinstance(shown, Answer):
            return shown
        asked = request.json if isinstance(request.json, dict) else {}
        about = {"jsonrpc": "2.0", "id": asked.get("id")}
        if asked.get("method") == "ping":
            return Answer(200, about | {"result": {}})
        if asked.get("method") != "initialize":
            return Answer(200, about | {"error": {"code": -32601, "message": "Method not found"}})
        told = {"protocolVersion": "2025-06-18", "capabilities": {}}
        return Answer(200, about | {"result": told | {"serverInfo": self.server_info()}})

    def server_info(self) -> dict[str, Any]:
        """The server's own name; whoever is connected is not told."""
        return {"name": "notes", "title": "Notes", "version": "1.0.0"}
