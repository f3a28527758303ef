"""The pages of the example site."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from example_project import views

urlpatterns = [
    path("", views.home, name="home"),
    path("accounts/<int:pk>/", views.account, name="account"),
    path("teams/", include("example_project.teams.urls")),
    path("connections/", include("connected_accounts.urls")),
    path("api/connections/", include("connected_accounts.api.urls")),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]
