"""Bime's dialects: that of Doorkeeper in 2013 and 2014, which is inferred, and draft 5."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.dialect import Dialect
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import Grant

DESCRIPTIONS = {
    "invalid_client": "Client authentication failed due to unknown client, no client "
    "authentication included, or unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not "
    "match the redirection URI used in the authorization request, or was issued to another client.",
    "invalid_request": "The request is missing a required parameter, includes an unsupported "
    "parameter value, or is otherwise malformed.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization "
    "server.",
}
GRANT_TYPES = {"web_server": "authorization_code", "refresh": "refresh_token"}
WORDS = {"code": "bad_authorization_code", "refresh_token": "authorization_expired"}


class BimeDialect(Dialect):
    @property
    def is_draft5(self) -> bool:
        return self.provider.options.get("dialect") == "draft5"

    def addresses(self) -> dict[str, tuple[str, ...]]:
        dashboards = f"{self.endpoints.api_base_url}/dashboards"
        of_token = f"{self.endpoints.token_endpoint}/info"
        return {**super().addresses(), "identity": (dashboards, of_token)}

    def authorization_fault(self, asked: Mapping[str, str]) -> str:
        no_flow = self.is_draft5 and asked.get("type") != "web_server"
        return "invalid_request" if no_flow else super().authorization_fault(asked)

    def denial(self, error: str, state: str | None) -> dict[str, str]:
        word = "user_denied" if self.is_draft5 and error == "access_denied" else error
        return super().denial(word, state)

    def token(self, request: RecordedRequest) -> Answer:
        """In draft 5 ``type`` for ``grant_type``, and every answer is a form."""
        if not self.is_draft5 or request.form is None:
            return super().token(request)
        flow = GRANT_TYPES.get(request.form.get("type", ""), "")
        answer = super().token(replace(request, form={**request.form, "grant_type": flow}))
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return Answer(answer.status, body=urlencode(answer.json), headers=kind)

    def request_refusal(self, request: RecordedRequest) -> Answer | None:
        refusal = super().request_refusal(request)
        return refusal and self.refusal("invalid_request")

    def refusal(self, error: str) -> Answer:
        """All of Doorkeeper's errors were 401 then."""
        if self.is_draft5:
            return Answer(400, {"error": error})
        return Answer(401, {"error": error, "error_description": DESCRIPTIONS[error]})

    def invalid_client(self, by_header: bool) -> Answer:
        return self.refusal("invalid_client_credentials" if self.is_draft5 else "invalid_client")

    def unsupported_grant_type(self) -> Answer:
        return self.refusal("unsupported_grant_type")

    def grant_refusal(self, why: str) -> Answer:
        dead = WORDS["refresh_token" if why in ("refresh_token", "half_revoked") else "code"]
        return self.refusal(dead if self.is_draft5 else "invalid_grant")

    def token_fields(self, grant: Grant) -> dict[str, Any]:
        fields = super().token_fields(grant)
        if self.is_draft5:
            return {n: fields[n] for n in ("access_token", "expires_in", "refresh_token")}
        return {**fields, "token_type": "bearer"}

    def identity(self, request: RecordedRequest) -> Answer:
        """The list of dashboards, or what Doorkeeper tells of a token."""
        grant = self.server.by_access_token(self.bearer_of(request))
        if grant is None:
            return self.bearer_refusal()
        if request.url.partition("?")[0].endswith("/oauth/token/info"):
            owner = int(grant.subject) if grant.subject.isdecimal() else grant.subject
            return Answer(200, {"resource_owner_id": owner, "scopes": []})
        return Answer(200, {"result": [{"id": 1, "name": grant.label}], "error": None})

    def bearer_refusal(self) -> Answer:
        challenge = {"WWW-Authenticate": 'Bearer realm="Bime", error="invalid_token"'}
        body = {"result": None, "error": "The access token is invalid."}
        return Answer(401, body, headers=challenge)
