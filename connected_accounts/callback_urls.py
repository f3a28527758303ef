"""``path("connections/", include("connected_accounts.callback_urls"))``: for a site whose front end
is its own and which has none of our pages. In place of ``connected_accounts.urls``, not beside."""

from django.urls import path

from connected_accounts.pages import views
from connected_accounts.pages.client_metadata import ClientMetadataView, KeysView

app_name = "connected_accounts"

urlpatterns = [
    path("jwks/", KeysView.as_view(), name="jwks"),
    path("<slug:provider>/callback/", views.CallbackView.as_view(), name="callback"),
    path("<slug:provider>/callback/<slug:host>/", views.CallbackView.as_view(), name="callback"),
    path("<slug:provider>/client.json", ClientMetadataView.as_view(), name="client_metadata"),
]
