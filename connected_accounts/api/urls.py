"""``path("api/connections/", include("connected_accounts.api.urls"))``, beside
``connected_accounts.urls`` or, for a site without our pages, ``connected_accounts.callback_urls``:
the provider sends people back to a page in any case."""

from django.urls import path

from connected_accounts.api import views

# Any text between slashes is ours to answer, so that a wrong one gets a problem and not a page.
app_name = "connected_accounts_api"

urlpatterns = [
    path("accounts/", views.AccountsEndpoint.as_view(), name="accounts"),
    path("accounts/<str:pk>/", views.AccountEndpoint.as_view(), name="account"),
    path("accounts/<str:pk>/reconnect/", views.ReconnectEndpoint.as_view(), name="reconnect"),
    path("accounts/<str:pk>/test/", views.TestEndpoint.as_view(), name="test"),
    path("accounts/<str:pk>/history/", views.HistoryEndpoint.as_view(), name="history"),
    path("providers/", views.ProvidersEndpoint.as_view(), name="providers"),
    path("providers/<str:provider>/connect/", views.ConnectEndpoint.as_view(), name="connect"),
    path("revocations/", views.RevocationsEndpoint.as_view(), name="revocations"),
]
