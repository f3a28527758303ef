"""Every contender's pages."""

from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

from bench.plain import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("connections/", include("connected_accounts.urls")),
    path("allauth/", include("allauth.urls")),
    path("social/", include("social_django.urls", namespace="social")),
    path("authlib/connect/", views.connect, name="authlib_connect"),
    path("authlib/callback/", views.callback, name="authlib_callback"),
    path("done/", lambda request: HttpResponse("done")),
    path("login/", lambda request: HttpResponse("sign in"), name="login"),
]
