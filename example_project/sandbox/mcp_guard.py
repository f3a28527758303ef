"""The authorization server that guards the sandbox's MCP server: sites register themselves there
(RFC 7591), and it describes itself (RFC 8414). The server itself is in mcp_server.py."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.views import RevokeTokenView

from .badge_connect_registration import Refused, create_client, is_list_of_texts, read_metadata
from .consent import ConsentView
from .dialects import MCP
from .models import Tally
from .oauth import DialectTokenView, DialectValidator


class McpValidator(DialectValidator):
    dialect = MCP


class McpConsentView(ConsentView):
    validator_class = McpValidator
    dialect = MCP
    knows_response_types = True


class McpTokenView(DialectTokenView):
    validator_class = McpValidator
    dialect = MCP


class McpRevokeView(RevokeTokenView):  # type: ignore[misc]
    validator_class = McpValidator


@method_decorator(csrf_exempt, name="dispatch")
class McpRegistrationView(View):
    """Open to all, as most such servers are."""

    def post(self, request: HttpRequest) -> HttpResponse:
        secret = generate_client_secret()
        try:
            metadata = read_metadata(request.body)
            if not is_list_of_texts(metadata.get("redirect_uris")):
                raise Refused("redirect_uris", "This field is required.")
            metadata = {"client_name": "", **metadata}
            registration = create_client(MCP, metadata, secret)
        except Refused as refused:
            told = {"error": refused.error, "error_description": f"{refused.field}: {refused.text}"}
            return JsonResponse(told, status=400)
        Tally.add(MCP.name, "registration")
        given = {"client_id": registration.application.client_id, "client_secret": secret}
        return JsonResponse(metadata | given | {"client_secret_expires_at": 0}, status=201)


def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414."""
    issuer = request.build_absolute_uri("/mcp")
    Tally.add(MCP.name, "discovery")
    document: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "registration_endpoint": f"{issuer}/register",
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(MCP.scopes),
    }
    return JsonResponse(document)


urlpatterns = [
    path("authorize", McpConsentView.as_view()),
    path("token", McpTokenView.as_view()),
    path("revoke", McpRevokeView.as_view()),
    path("register", McpRegistrationView.as_view()),
]
