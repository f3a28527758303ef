"""The app's pages, and the site's own."""

from django.urls import URLPattern, URLResolver, include, path
from typed_site import views

from connected_accounts import urls as connections

NAMESPACE: str = connections.app_name
COUNT: int = len(connections.urlpatterns)

urlpatterns: list[URLPattern | URLResolver] = [
    path("connections/", include("connected_accounts.urls")),
    path("badges/", views.badges),
    path("badges/later/", views.badges_later),
    path("badges/class/", views.Badges.as_view()),
]
