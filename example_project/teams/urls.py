"""The pages of teams."""

from django.urls import path

from example_project.teams import views

urlpatterns = [
    path("", views.teams, name="teams"),
    path("<int:team_id>/", views.team, name="team"),
    path("<int:team_id>/badges/", views.badges, name="team-badges"),
]
