"""BitBadges' dialects: ``siwbb``, today's, and ``oauth``, that of May 2024.

After the public API server (2024) and the documentation (2026-06).
"""

import time
from collections.abc import Mapping
from typing import Any

from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect, without_omitted
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import OMITTED, Grant, Refused, same_secret

MONTH = 30 * 86400
TODAY = {
    "code": (500, "Invalid code."),
    "code_expired": (500, "Expired."),
    "redirect_uri": (500, "Invalid redirect URI."),
    "verifier": (500, "Invalid code."),
    "refresh_token": (500, "Invalid refresh token."),
    "client": (500, "Invalid client secret."),
    "grant_type": (500, "Invalid grant type."),
}
FIRST = {
    "code": (500, "Error in mustGetFromDB(): Could not find doc w/ id code"),
    "code_expired": (400, "Authorization code has expired"),
    "redirect_uri": (400, "Invalid redirect URI"),
    "verifier": (400, "Invalid code"),
    "refresh_token": (400, "Invalid refresh token"),
    "client": (400, "Invalid client credentials"),
    "grant_type": (400, "Unsupported grant type"),
}


def moment(life: Any) -> Any:
    """Seconds from now as milliseconds since 1970, in the type they came in; else as given."""
    if isinstance(life, str):
        try:
            return str(moment(float(life)))
        except ValueError:
            return life
    if isinstance(life, bool) or not isinstance(life, int | float):
        return life
    return int((time.time() + life) * 1000)


class BitBadgesDialect(Dialect):
    @property
    def is_first(self) -> bool:
        return self.provider.options.get("dialect") == "oauth"

    def _refusal(self, why: str) -> Answer:
        status, text = (FIRST if self.is_first else TODAY)[why]
        prose = "error" if self.is_first and status == 400 else "errorMessage"
        return Answer(status, {prose: text})

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        if request.method != "POST" or not request.fields:
            return Answer(400, {"errorMessage": "Invalid request payload. [...]"})
        return self._key_refusal(request)

    def _key_refusal(self, request: RecordedRequest) -> Answer | None:
        wanted = str(self.provider.options.get("api_key", ""))
        if same_secret(request.headers.get("x-api-key", ""), wanted):
            return None
        text = "Unauthorized request. Error validating API key."
        return Answer(401, {"errorMessage": text})

    def client_refusal(self, request: RecordedRequest, method: str = "") -> Answer | None:
        if self.is_first and request.basic(form_encoded=False) is not None:
            return self._refusal("client")  # read in the body only, then
        return super().client_refusal(request)

    def invalid_client(self, by_header: bool) -> Answer:
        return self._refusal("client")

    def check_refresh(self, fields: Mapping[str, Any]) -> None:
        grant = self.server.by_refresh_token(fields.get("refresh_token", ""))
        given = fields.get("redirect_uri")
        if grant is not None and given is not None and given != grant.redirect_uri:
            raise Refused("redirect_uri")

    def unsupported_grant_type(self) -> Answer:
        return self._refusal("grant_type")

    def grant_refusal(self, why: str) -> Answer:
        return self._refusal("refresh_token" if why == "half_revoked" else why)

    def token_fields(self, grant: Grant) -> dict[str, Any]:
        behaviour = self.server.behaviour
        life = behaviour.refresh_token_expires_in
        refresh_token = self.shown_refresh_token(grant)
        refresh_ends = (
            OMITTED if refresh_token is OMITTED else moment(MONTH if life is OMITTED else life)
        )
        ends = moment(behaviour.expires_in)
        if self.is_first:
            return self._first_token_fields(grant, ends, refresh_token, refresh_ends)
        return {
            "access_token": grant.access_token,
            "token_type": "Bearer",
            "access_token_expires_at": ends,
            "refresh_token": refresh_token,
            "refresh_token_expires_at": refresh_ends,
            "address": grant.subject,
            "chain": "Cosmos",
            "bitbadgesAddress": grant.subject,
            "verificationResponse": {"success": True},
        }

    def _first_token_fields(
        self, grant: Grant, ends: Any, refresh_token: Any, refresh_ends: Any
    ) -> dict[str, Any]:
        about = {"cosmosAddress": grant.subject, "address": grant.subject}
        if not grant.scopes:
            # Without scopes the "token" of then is the public address: no credential.
            return {"accessToken": grant.subject, "tokenType": "bearer", **about}
        return {
            "_docId": grant.access_token,
            "accessToken": grant.access_token,
            "tokenType": "bearer",
            "accessTokenExpiresAt": ends,
            "refreshToken": refresh_token,
            "refreshTokenExpiresAt": refresh_ends,
            **about,
            "clientId": self.provider.config.client_id,
            "scopes": list(grant.scopes),
        }

    def revocation(self, request: RecordedRequest) -> Answer:
        """By the access token alone, without client authentication."""
        refusal = self.request_refusal(request)
        if refusal is not None:
            return refusal
        grant = self.server.by_access_token(request.fields.get("token", ""))
        if grant is None:
            text = "Error in mustGetFromDB(): Could not find doc w/ id token"
            return Answer(500, {"errorMessage": text})
        grant.revoke()
        return Answer(200, {"message": "Token revoked"})

    def identity(self, request: RecordedRequest) -> Answer:
        """``auth/status``: 200 for a dead token too, and no address in the first dialect."""
        refusal = self._key_refusal(request)
        if refusal is not None:
            return refusal
        grant = self.server.by_access_token(request.bearer)
        if grant is None:
            return Answer(200, {"signedIn": False})
        address = OMITTED if self.is_first else grant.subject
        scopes = [{"scopeName": scope, "scopeId": scope} for scope in grant.scopes]
        fields = {"signedIn": True, "scopes": scopes, "message": "", "bitbadgesAddress": address}
        return Answer(200, without_omitted(fields))

    def bearer_refusal(self) -> Answer:
        text = "Unauthorized. You must be signed in with the correct scopes."
        return Answer(401, {"errorMessage": text, "unauthorized": True})
