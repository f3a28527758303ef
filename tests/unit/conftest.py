"""People, browsers and fake providers for tests of the flows."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from connected_accounts.testing import FakeProvider
from tests.journeys import connect


@pytest.fixture
def ada(db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ada-lovelace", "ada@site.example", "password")


@pytest.fixture
def bob(db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("bob-builder", "bob@site.example", "password")


@pytest.fixture
def client_of_ada(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client


@pytest.fixture
def client_of_bob(bob: Any) -> Client:
    client = Client()
    client.force_login(bob)
    return client


@pytest.fixture
def badgr(fake_provider: Callable[..., FakeProvider]) -> FakeProvider:
    return fake_provider("badgr")


@pytest.fixture
def bitbadges(fake_provider: Callable[..., FakeProvider]) -> FakeProvider:
    return fake_provider("bitbadges")


@pytest.fixture
def account(client_of_ada: Client, badgr: FakeProvider) -> ConnectedAccount:
    """Ada's at Badgr, connected just now."""
    return connect(client_of_ada, badgr)


@pytest.fixture
def provider_settings(settings: Any) -> Callable[..., None]:
    """Change the settings of one provider: ``provider_settings("badgr", EXCLUSIVE=True)``."""

    def change(alias: str, **values: Any) -> None:
        whole = settings.CONNECTED_ACCOUNTS
        providers = whole["PROVIDERS"] | {alias: whole["PROVIDERS"][alias] | values}
        settings.CONNECTED_ACCOUNTS = whole | {"PROVIDERS": providers}

    return change


@pytest.fixture
def unlimited(settings: Any) -> None:
    """Without a cache nothing is counted, so that a test may fail as often as it likes."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


@pytest.fixture
def app_settings(settings: Any) -> Callable[..., None]:
    """Change top-level settings: ``app_settings(STATE_MAX_AGE=60)``."""

    def change(**values: Any) -> None:
        settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | values

    return change


@pytest.fixture
def account_at(settings: Any, make_account: Any) -> Callable[[str], ConnectedAccount]:
    """An account at a server of one's own, whose token endpoint is at ``url``."""

    def make(url: str) -> ConnectedAccount:
        options = {
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "identity_source": "token_response",
            "subject_path": "account",
        }
        entry = {"BACKEND": "connected_accounts.providers.generic.OAuth2", "CLIENT_ID": "client"}
        settings.CONNECTED_ACCOUNTS = settings.CONNECTED_ACCOUNTS | {
            "PROVIDERS": {"plain": entry | {"OPTIONS": options}}
        }
        account: ConnectedAccount = make_account(provider="plain", subject="ada-at-the-provider")
        return account

    return make
