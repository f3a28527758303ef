"""``path("api/connections/", include("connected_accounts.api_urls"))``, beside
``connected_accounts.urls`` or, for a site without our pages, ``connected_accounts.callback_urls``:
the provider sends people back to a page in any case."""

from django.urls import path

from connected_accounts import api

# Any text between slashes is ours to answer, so that a wrong one gets a problem and not a page.
app_name = "connected_accounts_api"

urlpatterns = [
    path("accounts/", api.AccountsEndpoint.as_view(), name="accounts"),
    path("accounts/<str:pk>/", api.AccountEndpoint.as_view(), name="account"),
    path("accounts/<str:pk>/reconnect/", api.ReconnectEndpoint.as_view(), name="reconnect"),
    path("accounts/<str:pk>/test/", api.TestEndpoint.as_view(), name="test"),
    path("accounts/<str:pk>/history/", api.HistoryEndpoint.as_view(), name="history"),
    path("providers/", api.ProvidersEndpoint.as_view(), name="providers"),
    path("providers/<str:provider>/connect/", api.ConnectEndpoint.as_view(), name="connect"),
    path("revocations/", api.RevocationsEndpoint.as_view(), name="revocations"),
]
