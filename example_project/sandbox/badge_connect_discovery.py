"""Badge Connect: what each host publishes of itself, for clients that know only its name."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control
from django.views.decorators.http import conditional_page

from .dialects import Dialect
from .models import Tally


@method_decorator([conditional_page, cache_control(public=True, max_age=300)], name="dispatch")
class Description(View):
    """Counted, with an ETag, and with five minutes during which a client need not ask again."""

    dialect: Dialect

    def answer(self, document: dict[str, Any]) -> HttpResponse:
        Tally.add(self.dialect.name, "discovery")
        return JsonResponse(document)

    def url(self, route: str) -> str:
        return self.request.build_absolute_uri(f"/{self.dialect.name}/{route}")


class ManifestView(Description):
    """Open Badges 2.1."""

    def get(self, request: HttpRequest) -> HttpResponse:
        host = {
            "name": self.dialect.title,
            "image": self.url("logo.png"),
            "apiBase": self.url("ims/ob/v2p1"),
            "version": "v2p1",
            "termsOfServiceUrl": self.url("terms"),
            "privacyPolicyUrl": self.url("privacy"),
            "scopesOffered": list(self.dialect.scopes),
            "registrationUrl": self.url("oauth/register"),
            "authorizationUrl": self.url("oauth/authorize"),
            "tokenUrl": self.url("oauth/token"),
            "tokenRevocationUrl": self.url("oauth/revoke"),
        }
        context = "https://purl.imsglobal.org/spec/ob/v2p1/ob_v2p1.jsonld"
        return self.answer(
            {
                "@context": context,
                "id": self.url(".well-known/badgeconnect.json"),
                "badgeConnectAPI": [host],
            }
        )


class BadgrManifestView(Description):
    """badgr-server 3.14.1, observed 2026.

    Another version and another place for the API, no address for revocation though there is one,
    and two slashes in that of the image.
    """

    def get(self, request: HttpRequest, domain: str) -> HttpResponse:
        host = {
            "name": self.dialect.title,
            "image": self.url("/static/logo.png"),
            "apiBase": self.url("bcv1"),
            "version": "v1p0",
            "termsOfServiceUrl": self.url("terms"),
            "privacyPolicyUrl": self.url("privacy"),
            "scopesOffered": list(self.dialect.scopes),
            "registrationUrl": self.url("o/register"),
            "authorizationUrl": self.url("auth/oauth2/authorize"),
            "tokenUrl": self.url("o/token"),
        }
        return self.answer(
            {
                "@context": "https://w3id.org/openbadges/badgeconnect/v1",
                "id": self.url(f"bcv1/manifest/{domain}"),
                "badgeConnectAPI": [host],
            }
        )


class ServiceDescriptionView(Description):
    """Open Badges 3.0: an OpenAPI document. It has no place for an address for revocation."""

    def get(self, request: HttpRequest) -> HttpResponse:
        flow = {
            "authorizationUrl": self.url("oauth/authorize"),
            "tokenUrl": self.url("oauth/token"),
            "refreshUrl": self.url("oauth/refresh"),
            "scopes": self.dialect.scopes,
        }
        scheme = {
            "type": "oauth2",
            "description": "OAuth 2.0 authorization code grant",
            "x-imssf-registrationUrl": self.url("oauth/register"),
            "flows": {"authorizationCode": flow},
        }
        info = {
            "title": self.dialect.title,
            "version": "3.0",
            "termsOfService": self.url("terms"),
            "x-imssf-image": self.url("logo.png"),
            "x-imssf-privacyPolicyUrl": self.url("privacy"),
        }
        return self.answer(
            {
                "openapi": "3.0.1",
                "info": info,
                "paths": {},
                "components": {"securitySchemes": {"OAuth2ACG": scheme}},
            }
        )
