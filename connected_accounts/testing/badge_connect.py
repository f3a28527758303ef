"""Badge Connect's dialects: a host of Open Badges 2.1, one of 3.0, and badgr-server 3.14.1."""

import json
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from connected_accounts.oauth2 import discovery
from connected_accounts.providers.badge_connect import OB2, OB3, OFFLINE
from connected_accounts.providers.badge_hosts import base_of
from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import Grant, RegisteredClient

REQUIRED = (
    "client_name",
    "client_uri",
    "logo_uri",
    "tos_uri",
    "policy_uri",
    "software_id",
    "software_version",
    "redirect_uris",
)
ADDRESSES = ("client_uri", "logo_uri", "tos_uri", "policy_uri")
KEPT = {"Cache-Control": "max-age=300"}


class BadgeConnectDialect(Dialect):
    """Open Badges 2.1, or 3.0 where the site's options say ``v3p0``. The site registers itself,
    unless settings name a client."""

    offered: ClassVar[tuple[str, ...]] = (
        *(f"{OB2}{name}" for name in ("assertion.readonly", "assertion.create")),
        *(f"{OB2}{name}" for name in ("profile.readonly", "profile.update")),
        OFFLINE,
    )
    offered_3: ClassVar[tuple[str, ...]] = (
        *(f"{OB3}{name}" for name in ("credential.readonly", "credential.upsert")),
        *(f"{OB3}{name}" for name in ("profile.readonly", "profile.update")),
        OFFLINE,
    )

    def begin(self) -> None:
        discovery.clear_cache()  # what another server said of itself

    @classmethod
    def endpoints_of(cls, provider: Provider, inputs: Mapping[str, str]) -> Endpoints:
        base = base_of(inputs["host"])
        version = provider.options["version"] or "v2p1"
        api = f"{base}/ims/ob/{version}"
        return Endpoints(
            authorization_endpoint=f"{base}/oauth/authorize",
            token_endpoint=f"{base}/oauth/token",
            revocation_endpoint=f"{base}/oauth/revoke",
            registration_endpoint=f"{base}/oauth/register",
            userinfo_endpoint=f"{api}/profile",
            api_base_url=api,
        )

    @property
    def base(self) -> str:
        return self.endpoints.registration_endpoint.rpartition("/oauth/")[0]

    @property
    def is_3(self) -> bool:
        return self.endpoints.api_base_url.endswith("/v3p0")

    def addresses(self) -> dict[str, tuple[str, ...]]:
        found = (f"{self.base}/.well-known/badgeconnect.json", f"{self.base}/ims/ob/v3p0/discovery")
        return super().addresses() | {
            "discovery": found,
            "registration": (self.endpoints.registration_endpoint,),
        }

    def callback(self, code: str, state: str | None, grant: Grant) -> dict[str, str]:
        scope = {"scope": " ".join(grant.scopes)} if self.is_3 else {}
        return super().callback(code, state, grant) | scope

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        refusal = super().request_refusal(request)
        if refusal is None and not request.fields.get("scope"):
            return Answer(400, {"error": "invalid_request"})
        return refusal

    # What it says of itself.

    def discovery(self, request: RecordedRequest) -> Answer:
        if request.url.endswith("/discovery") is not self.is_3:
            return Answer(404, body="<h1>Not Found</h1>")
        return Answer(200, self.service_description() if self.is_3 else self.manifest(), None, KEPT)

    def manifest(self) -> dict[str, Any]:
        named = self.endpoints
        host = {
            "name": "A fake host of badges",
            "apiBase": named.api_base_url,
            "version": "v2p1",
            "termsOfServiceUrl": f"{self.base}/terms",
            "privacyPolicyUrl": f"{self.base}/privacy",
            "scopesOffered": list(self.offered),
            "registrationUrl": named.registration_endpoint,
            "authorizationUrl": named.authorization_endpoint,
            "tokenUrl": named.token_endpoint,
            "tokenRevocationUrl": named.revocation_endpoint,
        }
        return {"id": f"{self.base}/.well-known/badgeconnect.json", "badgeConnectAPI": [host]}

    def service_description(self) -> dict[str, Any]:
        flow = {
            "authorizationUrl": self.endpoints.authorization_endpoint,
            "tokenUrl": self.endpoints.token_endpoint,
            "refreshUrl": self.endpoints.token_endpoint,
            "scopes": {scope: scope for scope in self.offered_3},
        }
        scheme = {
            "type": "oauth2",
            "x-imssf-registrationUrl": self.endpoints.registration_endpoint,
            "flows": {"authorizationCode": flow},
        }
        info = {"title": "A fake host of badges", "version": "3.0"}
        schemes = {"securitySchemes": {"OAuth2ACG": scheme}}
        return {"openapi": "3.0.1", "info": info, "paths": {}, "components": schemes}

    # Registration (RFC 7591, as 1EdTech narrows it).

    def registration(self, request: RecordedRequest) -> Answer:
        told = request.json if isinstance(request.json, dict) else {}
        field = self.faulty_field(told)
        asked = str(told.get("scope", "")).split()
        offered = self.offered_3 if self.is_3 else self.offered
        strange = [scope for scope in asked if scope not in offered]
        if field or (strange and self.refuses_strange_scopes):
            return self.registration_refusal(field or "scope")
        client_id = f"registered-{secrets.token_hex(8)}"
        secret = self.server.new_secret("client-secret")
        granted = tuple(scope for scope in asked if scope in offered)
        uris = tuple(told["redirect_uris"])
        self.server.clients.append(RegisteredClient(client_id, secret, client_id, "", uris))
        given = {"client_id": client_id, "client_secret": secret, "client_secret_expires_at": 0}
        return Answer(201, told | {"scope": " ".join(granted)} | given)

    refuses_strange_scopes: ClassVar[bool] = False

    def faulty_field(self, told: Mapping[str, Any]) -> str:
        missing = [name for name in REQUIRED if not told.get(name)]
        if missing:
            return missing[0]
        if told.get("token_endpoint_auth_method") != "client_secret_basic":
            return "token_endpoint_auth_method"
        hosts = {urlsplit(told[name]).hostname for name in ADDRESSES}
        hosts |= {urlsplit(uri).hostname for uri in told["redirect_uris"]}
        return "" if len(hosts) == 1 else "client_uri"

    def registration_refusal(self, field: str) -> Answer:
        uris = field == "redirect_uris"
        error = "invalid_redirect_uri" if uris else "invalid_client_metadata"
        return Answer(400, {"error": error, "error_description": f"{field} is not valid."})

    # Who it is.

    def identity(self, request: RecordedRequest) -> Answer:
        grant = self.server.by_access_token(request.bearer)
        if grant is None:
            return self.bearer_refusal()
        profile = self.profile(grant)
        status = {"error": None, "statusCode": 200, "statusText": "OK"}
        return Answer(200, profile if self.is_3 else {"status": status, "profile": profile})

    def profile(self, grant: Grant) -> dict[str, Any]:
        return {
            "id": f"{self.base}/profiles/{grant.subject}",
            "type": "Profile",
            "name": grant.label,
            "email": grant.label,
        }

    def bearer_refusal(self) -> Answer:
        if self.is_3:
            return Answer(401, {"imsx_codeMajor": "failure", "imsx_severity": "error"})
        status = {"error": None, "statusCode": 401, "statusText": "UNAUTHENTICATED"}
        return Answer(401, {"status": status})


class BadgrBadgeConnect(BadgeConnectDialect):
    """badgr-server 3.14.1 (seen): the manifest is elsewhere and names no revocation endpoint, one
    strange scope refuses a registration, whose errors are prose, and a profile has no id."""

    offered = (
        *(f"{OB2}{name}" for name in ("assertion.readonly", "assertion.create")),
        f"{OB2}profile.readonly",
    )
    refuses_strange_scopes = True

    @classmethod
    def endpoints_of(cls, provider: Provider, inputs: Mapping[str, str]) -> Endpoints:
        base = base_of(inputs["host"])
        api = f"{base}/bcv1"
        return Endpoints(
            authorization_endpoint=f"{base}/auth/oauth2/authorize",
            token_endpoint=f"{base}/o/token",
            revocation_endpoint=f"{base}/o/revoke_token/",
            registration_endpoint=f"{base}/o/register",
            userinfo_endpoint=f"{api}/profile",
            api_base_url=api,
        )

    @property
    def base(self) -> str:
        return self.endpoints.api_base_url.removesuffix("/bcv1")

    def addresses(self) -> dict[str, tuple[str, ...]]:
        found = super().addresses()
        return found | {"discovery": (*found["discovery"], f"{self.base}/bcv1/manifest/badgr")}

    def discovery(self, request: RecordedRequest) -> Answer:
        if request.url.endswith("/badgeconnect.json"):
            return Answer(302, None, "", {"Location": f"{self.base}/bcv1/manifest/badgr"})
        return super().discovery(request)

    def manifest(self) -> dict[str, Any]:
        document = super().manifest()
        [host] = document["badgeConnectAPI"]
        host |= {"version": "v1p0", "image": f"{self.base}//static/logo.png"}
        del host["tokenRevocationUrl"]
        return document

    def registration(self, request: RecordedRequest) -> Answer:
        answer = super().registration(request)
        if answer.status != 201:
            return answer
        # Whatever was asked for and works.
        told = answer.json | {"grant_types": ["authorization_code"]}
        return Answer(201, told, headers={"Content-Type": "application/ld+json"})

    def registration_refusal(self, field: str) -> Answer:
        text = f"{field}: Not valid."
        return Answer(400, {"error": text, "error_description": text})

    def invalid_client(self, by_header: bool) -> Answer:
        return Answer(400, body=json.dumps({"error": "invalid client_secret"}))

    def identity(self, request: RecordedRequest) -> Answer:
        answer = super().identity(request)
        if answer.status != 200:
            return answer
        person = {name: answer.json["profile"][name] for name in ("name", "email")}
        return Answer(200, {"status": answer.json["status"], "results": [person]})
