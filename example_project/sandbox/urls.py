from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from . import (
    badge_connect_hosts,
    badgr,
    badgr_api,
    badgr_issuers,
    bime,
    bime_api,
    bime_applications,
    bitbadges,
    bitbadges_api,
    bits,
    bits_api,
    bits_developer,
    github,
    inspection,
    mcp_guard,
    oidc,
)

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
    path("v2/backpack/collections", badgr_issuers.CollectionsView.as_view()),
    path("v2/issuers", badgr_issuers.IssuersView.as_view()),
    path("v2/issuers/<number>", badgr_issuers.IssuersView.as_view()),
    path("v2/issuers/<issuer>/badgeclasses", badgr_issuers.BadgeClassesView.as_view()),
    path("v2/badgeclasses", badgr_issuers.BadgeClassesView.as_view()),
    path("v2/badgeclasses/<number>", badgr_issuers.BadgeClassesView.as_view()),
    path("v2/badgeclasses/<number>/assertions", badgr_issuers.AwardsView.as_view()),
    path("public/badges/<number>", badgr_api.badge_class),
    path("public/issuers/<number>", badgr_api.issuer),
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

bits_urls = [
    path("v1/oauth2/token", bits.BitsTokenView.as_view()),
    # docs.bits.bi prints it without /v1, and all else with.
    path("oauth2/userinfo", bits_api.UserinfoView.as_view()),
    path("v1/oauth2/userinfo", bits_api.UserinfoView.as_view()),
    path("v1/applications", bits_api.ApplicationsView.as_view()),
    path("developer", bits_developer.DeveloperView.as_view()),
]

# Bime's accounts have a host name each, and the API one of its own. Here they are folders.
bime_urls = [
    path("api/v3/dashboards", bime_api.DashboardsView.as_view()),
    path("<account>/oauth/authorize", bime.BimeConsentView.as_view()),
    path("<account>/oauth/token", bime.BimeTokenView.as_view()),
    path("<account>/oauth/applications", bime_applications.ApplicationsView.as_view()),
    path("<account>/draft5/oauth/authorize", bime.Draft5ConsentView.as_view()),
    path("<account>/draft5/oauth/token", bime.Draft5TokenView.as_view()),
]

github_urls = [
    path("login/oauth/authorize", github.GithubConsentView.as_view()),
    path("login/oauth/access_token", github.GithubTokenView.as_view()),
    path("api/user", github.UserView.as_view()),
]

# Where a real host, which has no folder, has them.
root_urls = [
    path(".well-known/badgeconnect.json", badge_connect_hosts.manifest),
    path("ims/ob/v3p0/discovery", badge_connect_hosts.description),
    # RFC 8414 puts the path of the issuer last.
    path(".well-known/oauth-authorization-server/oidc", oidc.OidcMetadataView.as_view()),
    path(".well-known/oauth-authorization-server/mcp", mcp_guard.metadata),
]

urlpatterns = [
    path("accounts/login/", LoginView.as_view(template_name="sandbox/login.html"), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("badgr/", include(badgr_urls)),
    path("bitbadges/", include(bitbadges_urls)),
    path("bits/", include(bits_urls)),
    path("bime/", include(bime_urls)),
    path("badgeconnect/", include(badge_connect_hosts.badge_connect_urls)),
    path("badgeconnect-badgr/", include(badge_connect_hosts.badge_connect_badgr_urls)),
    path("badgeconnect3/", include(badge_connect_hosts.badge_connect_3_urls)),
    path("github/", include(github_urls)),
    # The toolkit finds its own addresses by this name.
    path("oidc/", include((oidc.urlpatterns, "oauth2_provider"))),
    path("mcp/", include(mcp_guard.urlpatterns)),
    path("", include(root_urls)),
    path("sandbox/state", inspection.state),
    path("sandbox/users/<username>/revoke/<dialect_name>", inspection.revoke_user),
]
