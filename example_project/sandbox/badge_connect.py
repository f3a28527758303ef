"""Badge Connect: consent page, token and revocation endpoints, for all three of its hosts.

Open Badges 2.1 and 3.0 (1EdTech, the API and security parts of 2020 and 2024) want the same of
them, with few differences; each host in badge_connect_hosts.py says which it has.
"""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from oauth2_provider.exceptions import OAuthToolkitError
from oauth2_provider.views import RevokeTokenView
from oauthlib.oauth2.rfc6749 import errors

from .consent import ConsentView
from .oauth import DialectTokenView, DialectValidator
from .translate import replace_form

TOKEN_TYPES = ("access_token", "refresh_token")


class BadgeConnectValidator(DialectValidator):
    def validate_code(
        self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """The scope, which must be sent again, must be among those that the person allowed."""
        if not super().validate_code(client_id, code, client, request):
            return False
        if not set(request.scope.split()) <= set(request.scopes):
            raise errors.InvalidScopeError(request=request)
        return True

    def _save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        """Without a refresh token, unless one was registered for and allowed.

        The toolkit asks that this method be overridden for what is to be done in its transaction.
        """
        offline = "offline_access"
        allowed = offline in request.scopes or offline not in self.dialect.scopes
        if not (allowed and request.client.registration.refreshes):
            token.pop("refresh_token", None)
        super()._save_bearer_token(token, request, *args, **kwargs)


class BadgeConnectConsentView(ConsentView):
    """Demands ``state`` and S256, which the toolkit leaves to the site."""

    knows_response_types = True
    tells_scope = False

    def validate_authorization_request(self, request: HttpRequest) -> Any:
        scopes, credentials = super().validate_authorization_request(request)
        problem = ""
        if not credentials.get("state"):
            problem = "Missing state parameter."
        elif credentials.get("code_challenge_method") != "S256":
            problem = "The code_challenge_method must be S256."
        if problem:
            error = errors.InvalidRequestError(problem, state=credentials.get("state"))
            raise OAuthToolkitError(error, redirect_uri=credentials["redirect_uri"])
        return scopes, credentials

    def word(self, answer: dict[str, list[str]]) -> None:
        if self.tells_scope and "code" in answer:
            answer["scope"] = [self.request.GET["scope"]]


def refused(error: str, description: str, status: int = 400) -> HttpResponse:
    return JsonResponse({"error": error, "error_description": description}, status=status)


def client_refusal(request: HttpRequest) -> HttpResponse | None:
    """The answer to a client that does not use Basic. What it put into the body is left out."""
    if not request.headers.get("Authorization", "").startswith("Basic "):
        response = refused("invalid_client", "The client must authenticate by HTTP Basic.", 401)
        response.headers["WWW-Authenticate"] = 'Basic realm="Badge Connect"'
        return response
    fields = request.POST.dict()
    replace_form(request, {k: v for k, v in fields.items() if not k.startswith("client_")})
    return None


class BadgeConnectTokenView(DialectTokenView):
    def answer(self, request: HttpRequest) -> HttpResponse:
        if (response := client_refusal(request)) is not None:
            return response
        if not request.POST.get("scope"):
            return refused("invalid_request", "Missing scope parameter.")
        response = self.ask_toolkit(request)
        if not self.dialect.rotates and request.POST.get("grant_type") == "refresh_token":
            return without_refresh_token(response)
        return response


def without_refresh_token(response: HttpResponse) -> HttpResponse:
    """The toolkit tells the one it keeps once more, where a host may as well be silent."""
    answer = json.loads(response.content)
    answer.pop("refresh_token", None)
    response.content = json.dumps(answer).encode()
    return response


class BadgeConnectRevokeView(RevokeTokenView):  # type: ignore[misc]
    wants_hint = False

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if (refusal := client_refusal(request)) is not None:
            return refusal
        hint = request.POST.get("token_type_hint")
        if self.wants_hint and not hint:
            return refused("invalid_request", "Missing token_type_hint parameter.")
        if self.wants_hint and hint not in TOKEN_TYPES:
            return refused("unsupported_token_type", "This type of token cannot be revoked.")
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response
