"""The provider contract: what every shipped backend must do with recorded answers.

A backend's test module has one class that derives from ProviderContract and says its alias, its
backend and what is in its recordings. All cases go through the app's own services.
"""

import json

from django.apps import apps
from django.db import connection

from connected_accounts.models import ConnectedAccount
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import disconnect, get_session, refresh
from connected_accounts.testing import FakeProvider
from tests.providers.cases_failures import FailureCases
from tests.providers.cases_identity import IdentityCases
from tests.providers.cases_revocation import RevocationCases
from tests.providers.harness import assert_hidden, leaks_in

# What each directory of recordings must hold. A backend adds what is special to it.
REQUIRED_RECORDINGS = frozenset(
    {
        "identity",
        "identity_refused",
        "revoke_done",
        "revoke_missing",
        "revoke_refused",
        "revoke_unknown",
        "token_dead_code",
        "token_dead_refresh_token",
        "token_empty_access_token",
        "token_error_in_success",
        "token_expires_in_missing",
        "token_expires_in_number",
        "token_expires_in_string",
        "token_not_json",
        "token_refreshed",
        "token_refreshed_without_refresh_token",
        "token_server_error",
        "token_success",
        "token_throttled",
        "token_throttled_retry_after",
        "token_without_access_token",
        "token_wrong_client_secret",
    }
)


class ProviderContract(FailureCases, IdentityCases, RevocationCases):
    """Every case, over one backend. A leak into a log fails the case in which it happens."""

    def test_nothing_that_can_be_printed_shows_a_secret(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        provider = get_provider(self.alias)
        fake.script("token", self.recorded("token_refreshed"))
        refresh(account)
        row = self.stored(account)

        assert_hidden(provider, provider.config, vars(provider.config), provider.endpoints())
        assert_hidden(row, row.token, vars(row), get_session(account))
        revocation = disconnect(account)
        assert revocation is not None
        assert_hidden(revocation, vars(revocation))

    def test_the_database_holds_no_secret_in_the_clear(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("token", self.recorded("token_refreshed"))
        refresh(account)
        self.assert_no_table_holds_a_secret()

        disconnect(account)
        self.assert_no_table_holds_a_secret()

    def assert_no_table_holds_a_secret(self) -> None:
        for model in apps.get_app_config("connected_accounts").get_models():
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
                stored = json.dumps(cursor.fetchall(), default=str)
            assert not leaks_in(stored), f"{model._meta.label} holds a secret"
