"""Badgr's dialect, as seen on a running badgr-server 3.14.1."""

import json
from typing import Any
from urllib.parse import urlsplit

from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import Grant


def labelled_html(status: int, payload: dict[str, Any]) -> Answer:
    """The errors that Badgr writes itself are JSON under the content type of a page."""
    return Answer(status, body=json.dumps(payload))


class BadgrDialect(Dialect):
    def addresses(self) -> dict[str, tuple[str, ...]]:
        named = self.endpoints
        api = named.api_base_url
        revocation = named.revocation_endpoint
        return {
            "token": (named.token_endpoint, f"{named.token_endpoint}/"),
            "revocation": (revocation, revocation.rstrip("/")),
            "identity": (
                named.userinfo_endpoint,
                f"{api}/v2/user/profile",
                f"{api}/v1/user/profile",
            ),
        }

    def callback(self, code: str, state: str | None, grant: Grant) -> dict[str, str]:
        # Its page writes "null" where it was given no state, and tells what was granted.
        return {"code": code, "state": state or "null", "scope": " ".join(grant.scopes)}

    def denial(self, error: str, state: str | None) -> dict[str, str]:
        reasons = {
            "error_code": "200",
            "error_description": "Permissions error",
            "error_reason": "user_denied",
        }
        said_no = reasons if error == "access_denied" else {}
        return {"error": error, **said_no, "state": state or "null"}

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        if urlsplit(request.url).query:
            text = "Token grant parameters must be sent in post body, not query parameters"
            return labelled_html(400, {"error": text})
        if request.method != "POST" or request.form is None:
            # JSON is not read: what is missing then is a parameter of the password grant.
            return self.unsupported_grant_type()
        return None

    def unsupported_grant_type(self) -> Answer:
        text = "Request is missing username parameter."
        return Answer(400, {"error": "invalid_request", "error_description": text})

    def client_refusal(self, request: RecordedRequest, method: str = "") -> Answer | None:
        by_header = request.basic(form_encoded=False)
        client = by_header[0] if by_header else request.fields.get("client_id")
        if client is None:
            return self.grant_refusal("code")  # taken for its default client, which has no grants
        if self.server.client(client, None) is None:
            return labelled_html(400, {"error": "invalid client_id"})
        return super().client_refusal(request)

    def invalid_client(self, by_header: bool) -> Answer:
        if by_header:
            return labelled_html(400, {"error": "invalid client_secret"})
        challenge = {"WWW-Authenticate": 'Bearer, error="invalid_client"'}
        return Answer(401, {"error": "invalid_client"}, headers=challenge)

    def grant_refusal(self, why: str) -> Answer:
        if why == "half_revoked":
            return Answer(500, body="<h1>Server Error (500)</h1>")
        if why == "redirect_uri":
            text = "Mismatching redirect URI."
            return Answer(400, {"error": "invalid_request", "error_description": text})
        return Answer(400, {"error": "invalid_grant"})

    def revocation(self, request: RecordedRequest) -> Answer:
        """An empty page, whether or not the token was known. The real server takes a wrong secret
        in the body too; this one does not, since that would hide a mistake."""
        if not request.url.endswith("/"):
            return Answer(301, body="", headers={"Location": self.endpoints.revocation_endpoint})
        if Dialect.client_refusal(self, request) is not None:
            return Answer(401, {"error": "invalid_client"})
        token = request.fields.get("token", "")
        grant = self.server.by_refresh_token(token)
        half = self.server.by_access_token(token)
        if grant is not None:
            grant.revoke()
        elif half is not None:
            half.access_token = None  # its refresh token stays behind, half alive
        return Answer(200, body="")

    def identity(self, request: RecordedRequest) -> Answer:
        if request.url.endswith("/v2/user/profile"):
            return Answer(404, body="<h1>Not Found</h1>")
        grant = self.server.by_access_token(request.bearer)
        if grant is None:
            return self.bearer_refusal()
        if request.url.endswith("/v1/user/profile"):
            return Answer(200, {"slug": grant.subject, "email": grant.label})
        email = {"email": grant.label, "verified": True, "primary": True, "caseVariants": []}
        person = {"entityType": "BadgeUser", "entityId": grant.subject, "emails": [email]}
        status = {"success": True, "description": "ok"}
        return Answer(200, {"status": status, "result": [person]})

    def bearer_refusal(self) -> Answer:
        status = {"success": False, "description": "no valid auth token found"}
        payload = {"status": status, "result": [], "fieldErrors": {}, "validationErrors": []}
        return Answer(401, payload, headers={"Content-Type": "application/ld+json"})
