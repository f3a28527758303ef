"""Figures are counted each time, on a slow machine too; and somebody who may do everything."""

from typing import Any

import pytest
from django.test import Client

from connected_accounts.operations import cached_figures


@pytest.fixture(autouse=True)
def figures_counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_figures, "SLOW", 60.0)


@pytest.fixture
def client_of_admin(django_user_model: Any) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("root", "r@x.example", "root"))
    return client
