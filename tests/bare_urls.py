"""A site with a front end of its own: the API, and the callback alone."""

from django.urls import include, path

urlpatterns = [
    path("connections/", include("connected_accounts.callback_urls")),
    path("api/connections/", include("connected_accounts.api.urls")),
]
