"""Who is there in the tests of the example site."""

from typing import Any

import pytest
from django.test import Client


@pytest.fixture
def ada(django_user_model: Any, db: None) -> Any:
    return django_user_model.objects.create_user("ada", "ada@site.example")


@pytest.fixture
def browser(ada: Any) -> Client:
    """Ada's, in which she is signed in."""
    browser = Client()
    browser.force_login(ada)
    return browser
