"""Time that passes for what is stored, without a test that waits."""

from datetime import timedelta

from django.apps import apps
from django.db.models import DateTimeField, F, QuerySet


def move_back(alias: str, passed: timedelta) -> None:
    """Let every moment that is stored for a provider lie ``passed`` further back."""
    for model in apps.get_app_config("connected_accounts").get_models():
        fields = model._meta.get_fields()
        moments = [field.name for field in fields if isinstance(field, DateTimeField)]
        if moments and any(field.name == "provider" for field in fields):
            rows = model._base_manager.filter(provider=alias)
            # Past what an account refuses: no grant changes its place.
            QuerySet.update(rows.all(), **{name: F(name) - passed for name in moments})
