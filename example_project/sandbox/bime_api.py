"""Bime's API: one call, with a token of the OAuth workflow or with a personal one.

The envelope is that of API v2 and v3, by public client code; the words of a refusal are made up.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .bime import BimeValidator, too_many
from .people import digest_of_name
from .translate import query_token_into_header

DASHBOARDS = ("Sales by region", "Stock by warehouse")


def envelope(
    result: Any, error: str | None, status: int, headers: dict[str, str] | None = None
) -> HttpResponse:
    return JsonResponse({"result": result, "error": error}, status=status, headers=headers)


class DashboardsView(OAuthLibMixin, View):  # type: ignore[misc]
    validator_class = BimeValidator

    def get(self, request: HttpRequest) -> HttpResponse:
        query_token_into_header(request)
        valid, oauth_request = self.verify_request(request)
        if not valid:
            challenge = {"WWW-Authenticate": 'Bearer realm="Bime", error="invalid_token"'}
            return envelope(None, "The access token is invalid.", 401, challenge)
        (account,) = oauth_request.scopes
        if seconds := too_many(request, account):
            return envelope(None, "Too many requests.", 429, {"Retry-After": str(seconds)})
        return envelope([dashboard(account, name) for name in DASHBOARDS], None, 200)


def dashboard(account: str, name: str) -> dict[str, Any]:
    number = int.from_bytes(digest_of_name(f"dashboard {name}", account)[:3], "big")
    return {"id": number, "name": name, "account": account}
