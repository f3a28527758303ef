"""Bime: consent page and token endpoint of an account, and the same in draft 5 of OAuth 2.0.

Bime has answered nothing for years. That it ran on Doorkeeper is inferred from its addresses, so
answers and errors are those of Doorkeeper in 2013 and 2014. Its own text says draft 5: what that
draft wants lies under ``draft5/``, with the draft's own words for errors.
"""

import json
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict

from .consent import ConsentView
from .dialects import BIME
from .models import Quota
from .oauth import DialectTokenView, DialectValidator
from .translate import FORM, query_into_form, replace_form, replace_query

GRANT = (
    "The provided authorization grant is invalid, expired, revoked, does not match the "
    "redirection URI used in the authorization request, or was issued to another client."
)
CLIENT = (
    "Client authentication failed due to unknown client, no client authentication included, "
    "or unsupported authentication method."
)
GRANT_TYPE = "The authorization grant type is not supported by the authorization server."
REQUEST = (
    "The request is missing a required parameter, includes an unsupported parameter value, "
    "or is otherwise malformed."
)
DESCRIPTIONS = {
    "invalid_grant": GRANT,
    "invalid_client": CLIENT,
    "unsupported_grant_type": GRANT_TYPE,
    "invalid_request": REQUEST,
}
DRAFT5_GRANT_TYPES = {"web_server": "authorization_code", "refresh": "refresh_token"}


class BimeValidator(DialectValidator):
    dialect = BIME

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """A code of one account is worth nothing at another."""
        if not super().validate_code(client_id, code, client, request):
            return False
        return bool(request.scopes == [request.scope])


def is_account(name: str) -> bool:
    return name in BIME.scopes


def too_many(request: HttpRequest, account: str) -> int:
    """The seconds to wait, if the address has asked this account too often."""
    if not settings.SANDBOX_THROTTLE:  # type: ignore[misc]
        return 0
    return Quota.seconds_to_wait(f"{request.META['REMOTE_ADDR']} {account}")


class BimeConsentView(ConsentView):
    validator_class = BimeValidator
    dialect = BIME
    knows_response_types = True

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        if not is_account(kwargs["account"]):
            raise Http404

    def asked_scopes(self, query: QueryDict) -> list[str]:
        return [self.kwargs["account"]]


class Draft5ConsentView(BimeConsentView):
    """``type=web_server`` for ``response_type=code``, and "user_denied" for a refusal."""

    def translate(self, request: HttpRequest) -> bool:
        query = request.GET.copy()
        query["response_type"] = "code" if query.get("type") == "web_server" else ""
        replace_query(request, query)
        return super().translate(request)

    def word(self, answer: dict[str, list[str]]) -> None:
        if answer.get("error") == ["access_denied"]:
            answer["error"] = ["user_denied"]


class BimeTokenView(DialectTokenView):
    """The parameters in the body or, as Bime's text of 2013 has it, in the query."""

    validator_class = BimeValidator
    dialect = BIME

    def answer(self, request: HttpRequest) -> HttpResponse:
        account = self.kwargs["account"]
        if not is_account(account):
            raise Http404
        if seconds := too_many(request, account):
            return self.refusal("too_many_requests", 429, {"Retry-After": str(seconds)})
        query_into_form(request)
        # An account is what a scope is to the toolkit: see dialects.py.
        replace_form(request, self.translate(request.POST.dict()) | {"scope": account})
        if request.POST.get("grant_type") not in DRAFT5_GRANT_TYPES.values():
            return self.refusal("unsupported_grant_type", 401)
        response = self.ask_toolkit(request)
        answer = json.loads(response.content)
        if response.status_code == 200:
            return self.success(answer)
        return self.refusal(cause(answer), 401)

    def translate(self, fields: dict[str, str]) -> dict[str, str]:
        """The fields in the words of the final RFC."""
        return fields

    def success(self, answer: dict[str, Any]) -> HttpResponse:
        return JsonResponse(answer | {"token_type": "bearer", "scope": ""})

    def refusal(
        self, error: str, status: int, headers: dict[str, str] | None = None
    ) -> HttpResponse:
        text = DESCRIPTIONS.get(error, REQUEST)
        body = {"error": error, "error_description": text}
        return JsonResponse(body, status=status, headers=headers)


def cause(answer: dict[str, str]) -> str:
    """Why the toolkit said no, as Doorkeeper would put it."""
    error = answer["error"]
    # To Doorkeeper a redirect URI that differs, and an account that does, are a wrong grant.
    if error == "invalid_scope" or "redirect" in answer.get("error_description", "").lower():
        return "invalid_grant"
    return error


class Draft5TokenView(BimeTokenView):
    """``type`` for ``grant_type``, answers as a form, and no ``token_type``."""

    is_refresh = False

    def translate(self, fields: dict[str, str]) -> dict[str, str]:
        self.is_refresh = fields.get("type") == "refresh"
        fields["grant_type"] = DRAFT5_GRANT_TYPES.get(fields.get("type", ""), "")
        return fields

    def success(self, answer: dict[str, Any]) -> HttpResponse:
        names = ("access_token", "expires_in", "refresh_token")
        return form_encoded({name: answer[name] for name in names})

    def refusal(
        self, error: str, status: int, headers: dict[str, str] | None = None
    ) -> HttpResponse:
        dead = "authorization_expired" if self.is_refresh else "bad_authorization_code"
        words = {"invalid_grant": dead, "invalid_client": "invalid_client_credentials"}
        status = 400 if status == 401 else status
        return form_encoded({"error": words.get(error, error)}, status, headers)


def form_encoded(
    fields: dict[str, str], status: int = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    return HttpResponse(urlencode(fields), status=status, content_type=FORM, headers=headers)
