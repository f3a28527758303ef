"""A site that forgot the callback."""

from django.urls import include, path

urlpatterns = [path("api/connections/", include("connected_accounts.api.urls"))]
