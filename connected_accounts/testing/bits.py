"""Bits' dialect: requests and answers after docs.bits.bi, errors inferred from a public client."""

from typing import Any
from urllib.parse import urlsplit

from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import Grant, RegisteredClient

SESSION = "application.session"
CLAIMS = ("application_id", "workflow_id", "redirect_url")


def refused(status: int, message: str) -> Answer:
    return Answer(status, {"message": message})


class BitsDialect(Dialect):
    def addresses(self) -> dict[str, tuple[str, ...]]:
        userinfo = self.endpoints.userinfo_endpoint
        return {
            "token": (self.endpoints.token_endpoint,),
            # The documents print the second, and the other addresses as the first.
            "identity": (userinfo, userinfo.replace("/v1/", "/", 1)),
        }

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        if request.method != "POST" or request.form is None or urlsplit(request.url).query:
            return refused(400, "Bad request")
        return None

    def client_of(self, request: RecordedRequest, method: str = "") -> RegisteredClient | None:
        by_header = request.basic(form_encoded=False)
        return None if by_header is None else self.server.client(*by_header)

    def client_refusal(self, request: RecordedRequest, method: str = "") -> Answer | None:
        if self.client_of(request) is None:
            return refused(401, "Invalid client credentials")
        scopes = set(request.fields.get("scope", "").split())
        if scopes - set(self.provider.scope_descriptions):
            return refused(400, "invalid_scope")
        missing = [name for name in CLAIMS if not request.fields.get(name)]
        if SESSION in scopes and missing:
            return refused(400, f"Missing claims for {SESSION}: {', '.join(missing)}")
        return None

    def unsupported_grant_type(self) -> Answer:
        return refused(400, "Unsupported grant type")

    def token_fields(self, grant: Grant) -> dict[str, Any]:
        return {
            "type": "Bearer",
            "access_token": grant.access_token,
            "expires_in": self.server.behaviour.expires_in,
            "scope": " ".join(grant.scopes),
        }

    def identity(self, request: RecordedRequest) -> Answer:
        grant = self.server.by_access_token(request.bearer)
        if grant is None:
            return self.bearer_refusal()
        return Answer(200, {"customerId": grant.subject})

    def bearer_refusal(self) -> Answer:
        return refused(401, "Unauthorized")
