"""A plain OpenID provider: the toolkit's own views, for the clients of this provider only."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.openid import Server

from .consent import ConsentView
from .dialects import OIDC
from .models import Tally
from .oauth import DialectTokenView, DialectValidator


class OidcValidator(DialectValidator):
    dialect = OIDC

    def get_additional_claims(self) -> dict[str, Any]:
        """The toolkit's documented way to more claims; each is given out under its scope."""
        return {
            "name": lambda request: request.user.get_full_name(),
            "preferred_username": lambda request: request.user.get_username(),
            "email": lambda request: request.user.email,
            "email_verified": lambda request: True,
        }


# The toolkit keeps its core on the class of a view, so these must not be the classes that the
# views of the other providers inherit from.


class OidcConsentView(ConsentView):
    server_class = Server
    validator_class = OidcValidator
    dialect = OIDC
    knows_response_types = True

    def word(self, answer: dict[str, list[str]]) -> None:
        """RFC 9207 wants the issuer with an error too; the toolkit 3.4.1 tells it with a code."""
        issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
        answer.setdefault("iss", [issuer])


class OidcTokenView(DialectTokenView):
    server_class = Server
    validator_class = OidcValidator
    dialect = OIDC


class OidcRevokeView(views.RevokeTokenView):  # type: ignore[misc]
    server_class = Server
    validator_class = OidcValidator


class OidcUserInfoView(views.UserInfoView):  # type: ignore[misc]
    server_class = Server
    validator_class = OidcValidator


class Counted:
    """Counts how often a discovery document is fetched: a client should remember it."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        Tally.add(OIDC.name, "discovery")
        response: HttpResponse = super().get(request, *args, **kwargs)  # type: ignore[misc]
        return response


class OidcDiscoveryView(Counted, views.ConnectDiscoveryInfoView):  # type: ignore[misc]
    pass


class OidcMetadataView(Counted, views.OAuthServerMetadataView):  # type: ignore[misc]
    pass


# The names are those by which the toolkit finds the addresses that it puts into its documents.
urlpatterns = [
    path(
        ".well-known/openid-configuration",
        OidcDiscoveryView.as_view(),
        name="oidc-connect-discovery-info",
    ),
    path(
        ".well-known/oauth-authorization-server",
        OidcMetadataView.as_view(),
        name="oauth-server-metadata",
    ),
    path(".well-known/jwks.json", views.JwksInfoView.as_view(), name="jwks-info"),
    path("authorize/", OidcConsentView.as_view(), name="authorize"),
    path("token/", OidcTokenView.as_view(), name="token"),
    path("revoke_token/", OidcRevokeView.as_view(), name="revoke-token"),
    path("userinfo/", OidcUserInfoView.as_view(), name="user-info"),
]
