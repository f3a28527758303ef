"""The three Badge Connect hosts: which does what, and under which addresses.

One does what Open Badges 2.1 says, one what badgr-server 3.14.1 does (observed 2026), and one what
Open Badges 3.0 says.

The second keeps to the specification where badgr-server is looser, so that a site's mistake shows:
the client by Basic, `state`, S256 and the scope are demanded, and a wrong client is a 401. Left
out: its lock (the sandbox's Badgr has it), the fetching of the logo (a sandbox calls nobody), the
refusal of another port and of http (all here live on the loopback), its content types and words for
refusals (the app goes by the statuses), the 400 for an empty scope, and the echo of all three where
none was sent.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from . import badge_connect, badge_connect_api, badge_connect_discovery
from .badge_connect_registration import (
    Metadata,
    Narrow,
    Refused,
    narrow_to_offered,
    refuse_if_not_offered,
    register,
)
from .dialects import BADGE_CONNECT, BADGE_CONNECT_3, BADGE_CONNECT_BADGR, OB2, OB3, Dialect


@method_decorator(csrf_exempt, name="dispatch")
class RegistrationView(View):
    """Open to all, without an initial access token."""

    dialect: Dialect
    narrow: Narrow = staticmethod(narrow_to_offered)
    wants_scope = False

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            registered = register(self.dialect, request.body, self.narrow, self.wants_scope)
        except Refused as refused:
            return self.failure(refused)
        return self.success(registered)

    def success(self, registered: Metadata) -> HttpResponse:
        return JsonResponse(registered, status=201, headers={"Cache-Control": "no-store"})

    def failure(self, refused: Refused) -> HttpResponse:
        text = f"{refused.field}: {refused.text}"
        return JsonResponse({"error": refused.error, "error_description": text}, status=400)


class BadgrRegistrationView(RegistrationView):
    """badgr-server 3.14.1, observed 2026.

    It tells only of authorization_code, whatever was asked for and works; it keeps the logo
    itself; and its errors are prose.
    """

    narrow = staticmethod(refuse_if_not_offered)

    def success(self, registered: Metadata) -> HttpResponse:
        logo = self.request.build_absolute_uri(f"/{self.dialect.name}/media/logo.png")
        told = {"grant_types": ["authorization_code"], "logo_uri": logo}
        return JsonResponse(registered | told, status=201, content_type="application/ld+json")

    def failure(self, refused: Refused) -> HttpResponse:
        text = f"{refused.field}: {refused.text}"
        return JsonResponse({"error": text, "error_description": text}, status=400)


def bound(view: Any, dialect: Dialect, **values: Any) -> Any:
    """The view of one host: with a class of its own, since the toolkit keeps its core on that."""
    validator = type("Validator", (badge_connect.BadgeConnectValidator,), {"dialect": dialect})
    values |= {"dialect": dialect, "validator_class": validator}
    of_its_own: Any = type(view.__name__, (view,), values)
    return of_its_own.as_view()


manifest = bound(badge_connect_discovery.ManifestView, BADGE_CONNECT)
token = bound(badge_connect.BadgeConnectTokenView, BADGE_CONNECT)

badge_connect_urls = [
    path(".well-known/badgeconnect.json", manifest),
    path("oauth/register", bound(RegistrationView, BADGE_CONNECT)),
    path("oauth/authorize", bound(badge_connect.BadgeConnectConsentView, BADGE_CONNECT)),
    path("oauth/token", token),
    path("oauth/revoke", bound(badge_connect.BadgeConnectRevokeView, BADGE_CONNECT)),
    path(
        "ims/ob/v2p1/profile",
        bound(badge_connect_api.ProfileView, BADGE_CONNECT, scope=f"{OB2}profile.readonly"),
    ),
    path(
        "ims/ob/v2p1/assertions",
        bound(badge_connect_api.AssertionsView, BADGE_CONNECT, scope=f"{OB2}assertion.readonly"),
    ),
]

manifest_at_badgr = bound(badge_connect_discovery.BadgrManifestView, BADGE_CONNECT_BADGR)
DOMAIN = "badgr.sandbox.example"
moved = f"/{BADGE_CONNECT_BADGR.name}/bcv1/manifest/{DOMAIN}"

badge_connect_badgr_urls = [
    path(".well-known/badgeconnect.json", RedirectView.as_view(url=moved)),
    path(f"bcv1/manifest/{DOMAIN}", manifest_at_badgr, {"domain": DOMAIN}),
    path("o/register", bound(BadgrRegistrationView, BADGE_CONNECT_BADGR)),
    path(
        "auth/oauth2/authorize", bound(badge_connect.BadgeConnectConsentView, BADGE_CONNECT_BADGR)
    ),
    path("o/token", bound(badge_connect.BadgeConnectTokenView, BADGE_CONNECT_BADGR)),
    # Named in no manifest, and it works.
    path("o/revoke_token/", bound(badge_connect.BadgeConnectRevokeView, BADGE_CONNECT_BADGR)),
    path(
        "bcv1/profile",
        bound(
            badge_connect_api.BadgrProfileView,
            BADGE_CONNECT_BADGR,
            scope=f"{OB2}profile.readonly",
        ),
    ),
    path(
        "bcv1/assertions",
        bound(
            badge_connect_api.BadgrAssertionsView,
            BADGE_CONNECT_BADGR,
            scope=f"{OB2}assertion.readonly",
        ),
    ),
]

description = bound(badge_connect_discovery.ServiceDescriptionView, BADGE_CONNECT_3)
token_3 = bound(badge_connect.BadgeConnectTokenView, BADGE_CONNECT_3)

badge_connect_3_urls = [
    path("ims/ob/v3p0/discovery", description),
    path("oauth/register", bound(RegistrationView, BADGE_CONNECT_3, wants_scope=True)),
    path(
        "oauth/authorize",
        bound(badge_connect.BadgeConnectConsentView, BADGE_CONNECT_3, tells_scope=True),
    ),
    path("oauth/token", token_3),
    path("oauth/refresh", token_3),
    path(
        "oauth/revoke",
        bound(badge_connect.BadgeConnectRevokeView, BADGE_CONNECT_3, wants_hint=True),
    ),
    path(
        "ims/ob/v3p0/profile",
        bound(badge_connect_api.BareProfileView, BADGE_CONNECT_3, scope=f"{OB3}profile.readonly"),
    ),
    path(
        "ims/ob/v3p0/credentials",
        bound(
            badge_connect_api.CredentialsView, BADGE_CONNECT_3, scope=f"{OB3}credential.readonly"
        ),
    ),
]
