from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from . import badgr, badgr_api, bitbadges, bitbadges_api, inspection

badgr_urls = [
    path("auth/oauth2/authorize", badgr.BadgrConsentView.as_view()),
    path("o/token", badgr.BadgrTokenView.as_view()),
    path("o/token/", badgr.BadgrTokenView.as_view()),
    path("o/revoke_token/", badgr.BadgrRevokeView.as_view()),
    # badgr-server 3.14.1, observed 2026: a client that follows it turns POST into GET.
    path(
        "o/revoke_token",
        csrf_exempt(RedirectView.as_view(url="/badgr/o/revoke_token/", permanent=True)),
    ),
    # The documented /v2/user/profile is a 404 there, and so it is here.
    path("v2/users/self", badgr_api.SelfView.as_view()),
    path("v1/user/profile", badgr_api.ProfileView.as_view()),
    path("v2/backpack/assertions", badgr_api.AssertionsView.as_view()),
]

bitbadges_api_urls = [
    path("siwbb/token", bitbadges.SiwbbTokenView.as_view()),
    path("siwbb/token/revoke", bitbadges_api.revoke),
    path("oauth/token", bitbadges.LegacyTokenView.as_view()),
    path("oauth/token/revoke", bitbadges_api.revoke),
    path("auth/status", bitbadges_api.StatusView.as_view()),
    path("claims/complete/<claim_id>/<address>", bitbadges_api.CompleteClaimView.as_view()),
]

bitbadges_urls = [
    path("siwbb/authorize", bitbadges.SiwbbConsentView.as_view()),
    path("oauth", bitbadges.SiwbbConsentView.as_view()),
    path("api/v0/", include(bitbadges_api_urls)),
]

urlpatterns = [
    path("accounts/login/", LoginView.as_view(template_name="sandbox/login.html"), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("badgr/", include(badgr_urls)),
    path("bitbadges/", include(bitbadges_urls)),
    path("sandbox/state", inspection.state),
    path("sandbox/users/<username>/revoke/<dialect_name>", inspection.revoke_user),
]
