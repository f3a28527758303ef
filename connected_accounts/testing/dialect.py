"""The dialect of a server: plain RFC 6749 here, for every backend without a dialect of its own."""

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from connected_accounts.providers.base import Endpoints, Provider
from connected_accounts.providers.endpoints import with_client_id
from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import (
    OMITTED,
    PUSHED_LIFE,
    AuthorizationServer,
    Grant,
    Refused,
    RegisteredClient,
)

# What an answer can be scripted for.
ENDPOINTS: Final = (
    *("token", "revocation", "identity", "api", "discovery", "registration"),
    *("authorization", "pushed_request"),
)
MAX_PROOF_AGE: Final = 300.0  # seconds that the clock of a proof may be away from this one


def without_omitted(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not OMITTED}


class Dialect:
    """RFC 6749 for tokens, 7009 for revocation, OpenID Connect's ``sub`` and ``email`` at the
    userinfo endpoint. The site is registered as settings had it when the fake was made."""

    def __init__(
        self, provider: Provider, endpoints: Endpoints, server: AuthorizationServer
    ) -> None:
        self.provider = provider
        self.endpoints = endpoints
        self.server = server
        self.played_below = ""  # an address that the hosts of others are played below
        self._proofs: set[str] = set()  # each is good once, and so is each assertion
        config = provider.config
        if config.client_id:
            secret = config.client_secret.reveal()
            server.clients.append(RegisteredClient(config.client_id, secret, config.client_id))

    def begin(self) -> None:
        """Called when the fake is entered, and when it is left."""

    @classmethod
    def usual_behaviour(cls, provider: Provider) -> dict[str, Any]:
        """The way this server issues tokens where a test does not say otherwise."""
        return {}

    @classmethod
    def endpoints_of(cls, provider: Provider, inputs: Mapping[str, str]) -> Endpoints:
        """The addresses of this server; one whose clients ask it for them needs none here."""
        return provider.endpoints(inputs)

    # Addresses.

    def endpoint_of(self, url: str, method: str = "POST") -> str | None:
        """``token``, ``revocation``, ``identity``, ``authorization``, ``api`` for the rest of the
        provider's hosts, or None for any other host."""
        address = url.partition("?")[0]
        known = self.addresses()
        if method == self.provider.revocation_method != "POST" and address in known["revocation"]:
            return "revocation"  # it may be at the token endpoint
        for name, ones in known.items():
            if address in ones:
                return name
        if address == self.endpoints.authorization_endpoint.partition("?")[0]:
            return "authorization"
        urls = (self.endpoints.token_endpoint, *self.endpoints.api_urls(), *self.provider.api_hosts)
        parts = urlsplit(url)
        hosts = {(urlsplit(one).scheme, urlsplit(one).netloc) for one in urls}
        return "api" if (parts.scheme, parts.netloc) in hosts else None

    def endpoint_asked(self, request: RecordedRequest) -> str:
        """The endpoint that a request to this server is for."""
        return self.endpoint_of(request.url, request.method) or ""

    def addresses(self) -> dict[str, tuple[str, ...]]:
        renewal, revocation = self.endpoints.refresh_endpoint, self.endpoints.revocation_endpoint
        userinfo = self.endpoints.userinfo_endpoint.partition("?")[0]
        pushed = self.endpoints.pushed_authorization_request_endpoint
        ids = ["", *(client.client_id for client in self.server.clients)]
        return {
            "token": tuple(filter(None, (self.endpoints.token_endpoint, renewal))),
            "revocation": tuple(with_client_id(revocation, one) for one in ids),
            "identity": tuple(with_client_id(userinfo, one) for one in ids),
            "pushed_request": tuple(filter(None, (pushed,))),
        }

    # The redirect back to the site.

    def callback(self, code: str, state: str | None, grant: Grant) -> dict[str, str]:
        return {"code": code, **self._about(state)}

    def denial(self, error: str, state: str | None) -> dict[str, str]:
        return {"error": error, **self._about(state)}

    def _about(self, state: str | None) -> dict[str, str]:
        issuer = {"iss": self.endpoints.issuer} if self.endpoints.issuer else {}
        return issuer if state is None else {"state": state, **issuer}

    def authorization_fault(self, asked: Mapping[str, str]) -> str:
        """The fault of an authorization request's parameters; empty: none."""
        if asked.get("response_type") != "code":
            return "unsupported_response_type" if asked.get("response_type") else "invalid_request"
        wants_pkce = self.provider.code_challenge_method == "S256"
        challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
        if (wants_pkce or challenge or method) and (len(challenge or "") != 43 or method != "S256"):
            return "invalid_request"
        return ""

    def pushed_request(self, request: RecordedRequest) -> Answer:
        """RFC 9126: what comes back by its name as the authorization request."""
        asked = request.form or {}
        if request.method != "POST" or not asked or "request_uri" in asked:
            return Answer(400, {"error": "invalid_request"})
        refusal = self.client_refusal(request)
        fault = self.authorization_fault(asked)
        if refusal is None and fault:
            refusal = Answer(400, {"error": fault})
        if refusal is not None:
            return refusal
        told = {"request_uri": self.server.push(asked), "expires_in": PUSHED_LIFE}
        return Answer(201, told, headers=self.no_store())

    # The token endpoint.

    def token(self, request: RecordedRequest) -> Answer:
        fields = request.fields
        refusal = self.request_refusal(request) or self.client_refusal(request)
        if refusal is not None:
            return refusal
        thumbprint, error = self.key_proved(request)
        if error or (self.provider.dpop and not thumbprint):
            return self.proof_refusal(400, error or "invalid_dpop_proof")
        try:
            if fields.get("grant_type") == "authorization_code":
                grant = self.server.redeem(
                    fields.get("code", ""),
                    redirect_uri=fields.get("redirect_uri", ""),
                    verifier=fields.get("code_verifier", ""),
                    thumbprint=thumbprint,
                )
            elif fields.get("grant_type") == "refresh_token":
                self.check_refresh(fields)
                grant = self.server.refresh(fields.get("refresh_token", ""), thumbprint)
            elif fields.get("grant_type") == self.provider.grant_type == "client_credentials":
                grant = self.own_grant(request)
                grant.thumbprint = thumbprint
            else:
                return self.unsupported_grant_type()
        except Refused as refused:
            return self.grant_refusal(refused.why)
        return Answer(200, without_omitted(self.token_fields(grant)), headers=self.no_store())

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        wants_json = self.provider.token_request_format == "json"  # noqa: S105
        body = request.json if wants_json else request.form
        if request.method != "POST" or body is None or urlsplit(request.url).query:
            return Answer(400, {"error": "invalid_request"})
        return None

    def client_refusal(self, request: RecordedRequest, method: str = "") -> Answer | None:
        """The answer to a client that did not authenticate in exactly one way, or None. ``method``
        is the endpoint's, where it is not that of the token endpoint."""
        by_header = request.basic(form_encoded=False) is not None
        assertion = request.fields.get("client_assertion")
        if by_header + ("client_secret" in request.fields) + (assertion is not None) > 1:
            return Answer(400, {"error": "invalid_request"})
        client = None if assertion in self._proofs else self.client_of(request, method)
        if client is not None and assertion:
            self._proofs.add(assertion)
        return None if client else self.invalid_client(by_header)

    def client_of(self, request: RecordedRequest, method: str = "") -> RegisteredClient | None:
        """The client that the request is of, if it proves so."""
        method = method or self.provider.token_endpoint_auth_method
        if method == "private_key_jwt":
            audiences = tuple(filter(None, (self.endpoints.issuer, self.endpoints.token_endpoint)))
            proved = request.asserted_client(self.provider.config, audiences)
            return self.server.client(proved, None)
        by_header = request.basic(form_encoded=self.provider.basic_auth_encoding == "form")
        named = self.provider.client_id_parameter
        in_body = (request.fields.get(named, ""), request.fields.get("client_secret", ""))
        client, secret = by_header or in_body
        return self.server.client(client, None if method == "none" else secret)

    def own_grant(self, request: RecordedRequest) -> Grant:
        """The grant for the client's own credentials (RFC 6749 4.4)."""
        client = self.client_of(request)
        if client is None:
            raise Refused("client")
        asked = request.fields.get("scope", "").split(self.provider.scope_separator)
        scopes = tuple(filter(None, asked)) or self.provider.default_scopes
        return self.server.issue_to(client, scopes)

    def invalid_client(self, by_header: bool) -> Answer:
        challenge = {"WWW-Authenticate": 'Basic realm="fake"'} if by_header else {}
        return Answer(401, {"error": "invalid_client"}, headers=challenge)

    def check_refresh(self, fields: Mapping[str, Any]) -> None:
        """Compare what this server checks besides the refresh token. Raises Refused."""

    def unsupported_grant_type(self) -> Answer:
        return Answer(400, {"error": "unsupported_grant_type"})

    def grant_refusal(self, why: str) -> Answer:
        return Answer(400, {"error": "invalid_grant"})

    def token_fields(self, grant: Grant) -> dict[str, Any]:
        behaviour = self.server.behaviour
        return {
            "access_token": grant.access_token,
            "token_type": "DPoP" if grant.thumbprint else "Bearer",
            "expires_in": behaviour.expires_in,
            "refresh_token": self.shown_refresh_token(grant),
            "refresh_token_expires_in": behaviour.refresh_token_expires_in,
            "scope": self.provider.scope_separator.join(grant.scopes),
        }

    def shown_refresh_token(self, grant: Grant) -> Any:
        omit = self.server.behaviour.omit_refresh_token or grant.refresh_token is None
        return OMITTED if omit else grant.refresh_token

    def no_store(self) -> dict[str, str]:
        return {"Cache-Control": "no-store"}

    # The others.

    def authorization(self, request: RecordedRequest) -> Answer:
        """The page that people are sent to, as a machine sees it; ``authorize`` is their way."""
        return Answer(200, body="<h1>Sign in</h1>")

    def revocation(self, request: RecordedRequest) -> Answer:
        """RFC 7009: 200 for a token that is unknown too; either token ends the grant."""
        named, method = self.provider.revocation_token_parameter, self.provider.revocation_method
        if request.method != method or (named and named not in request.fields):
            return Answer(400, {"error": "invalid_request"})
        method = self.provider.revocation_auth_method
        if method == "bearer" and self.server.by_access_token(request.bearer) is None:
            return self.bearer_refusal()
        if method not in ("bearer", "bare"):
            refusal = self.client_refusal(request, method)
            if refusal is not None:
                return refusal
        token = request.fields[named] if named else request.bearer
        grant = self.server.by_refresh_token(token) or self.server.by_access_token(token)
        if grant is not None:
            grant.revoke()
        return Answer(200)

    def bearer_of(self, request: RecordedRequest) -> str:
        """The access token, from where this backend's settings have it travel."""
        if self.provider.bearer_method == "query":
            return parse_qs(urlsplit(request.url).query).get("access_token", [""])[0]
        own = self.provider.access_token_header
        return request.headers.get(own, "") if own else request.bearer

    def grant_shown(self, request: RecordedRequest) -> Grant | Answer:
        """The grant whose access token a call of the API shows, as it must be shown; else the
        refusal."""
        grant = self.server.by_access_token(self.bearer_of(request))
        if grant is None:
            return self.bearer_refusal()
        if not grant.thumbprint:
            return grant
        thumbprint, error = self.key_proved(request, request.bearer)
        as_bearer = not request.headers.get("Authorization", "").startswith("DPoP ")
        if not error and (as_bearer or thumbprint != grant.thumbprint):
            error = "invalid_token"
        return self.proof_refusal(401, error) if error else grant

    def key_proved(self, request: RecordedRequest, token: str = "") -> tuple[str, str]:
        """The thumbprint of the key that a request proves, and what is wrong with the proof (RFC
        9449 4.3); each may be empty. At an API it is of the ``token`` too."""
        try:
            claims, thumbprint = request.proof()
        except ValueError:
            return "", "invalid_dpop_proof"
        if not thumbprint:
            return "", ""
        address = urlsplit(request.url)._replace(query="", fragment="").geturl()
        if self.played_below:
            address = f"{self.played_below}/{address.removeprefix('https://')}"
        digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode()
        wanted = (request.method, address, digest.rstrip("=") if token else None)
        told = (claims.get("htm"), claims.get("htu"), claims.get("ath"))
        is_old = abs(time.time() - claims.get("iat", 0)) > MAX_PROOF_AGE
        if told != wanted or is_old or claims.get("jti") in (None, *self._proofs):
            return "", "invalid_dpop_proof"
        self._proofs.add(claims["jti"])
        is_current = claims.get("nonce", "") == self.server.behaviour.proof_nonce
        wants_nonce = self.server.behaviour.proof_nonce and not is_current
        return thumbprint, "use_dpop_nonce" if wants_nonce else ""

    def proof_refusal(self, status: int, error: str) -> Answer:
        """The answer to a bad proof, or to a token that is not shown with its own (RFC 9449 5, 7.1,
        8)."""
        nonce = self.server.behaviour.proof_nonce
        headers = {"DPoP-Nonce": nonce} if nonce else {}
        if status == 401:
            headers["WWW-Authenticate"] = f'DPoP error="{error}", algs="ES256"'
        return Answer(status, {"error": error}, headers=headers)

    def identity(self, request: RecordedRequest) -> Answer:
        grant = self.grant_shown(request)
        return grant if isinstance(grant, Answer) else Answer(200, self.identity_fields(grant))

    def identity_fields(self, grant: Grant) -> dict[str, Any]:
        """The fields of the userinfo endpoint for a person."""
        return {"sub": grant.subject, "email": grant.label}

    def api(self, request: RecordedRequest) -> Answer:
        """The rest of the API is the test's to script; it knows only whom it refuses."""
        grant = self.grant_shown(request)
        return grant if isinstance(grant, Answer) else Answer(404, {"error": "not_found"})

    def bearer_refusal(self) -> Answer:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return Answer(401, {"error": "invalid_token"}, headers=challenge)
