"""``path("connections/", include("connected_accounts.urls"))``"""

from django.urls import path

from connected_accounts.pages import views
from connected_accounts.pages.client_metadata import ClientMetadataView, KeysView

__all__ = ["app_name", "urlpatterns"]

app_name = "connected_accounts"

urlpatterns = [
    path("", views.ListView.as_view(), name="list"),
    path("done/", views.DoneView.as_view(), name="done"),
    path("<slug:provider>/connect/", views.ConnectView.as_view(), name="connect"),
    path("jwks/", KeysView.as_view(), name="jwks"),
    path("<slug:provider>/callback/", views.CallbackView.as_view(), name="callback"),
    path("<slug:provider>/callback/<slug:host>/", views.CallbackView.as_view(), name="callback"),
    path("<slug:provider>/client.json", ClientMetadataView.as_view(), name="client_metadata"),
    path("<int:pk>/reconnect/", views.ReconnectView.as_view(), name="reconnect"),
    path("<int:pk>/disconnect/", views.DisconnectView.as_view(), name="disconnect"),
    path("<int:pk>/history/", views.HistoryView.as_view(), name="history"),
    path("<int:pk>/test/", views.TestView.as_view(), name="test"),
]
