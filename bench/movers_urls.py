"""The pages of the site that moves."""

from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("connections/", include("connected_accounts.urls")),
    path("allauth/", include("allauth.urls")),
    path("social/", include("social_django.urls", namespace="social")),
    path("done/", lambda request: HttpResponse("done")),
    path("login/", lambda request: HttpResponse("sign in"), name="login"),
]
