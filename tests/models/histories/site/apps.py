"""The app of the site that tracks the accounts."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "tests.models.histories.site"
    label = "histories_site"
