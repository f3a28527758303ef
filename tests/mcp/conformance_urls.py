"""The addresses of the site that goes through the conformance suite."""

from django.urls import include, path

urlpatterns = [path("connections/", include("connected_accounts.urls"))]
