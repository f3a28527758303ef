"""The provider contract: what every shipped backend must do with recorded answers.

A backend's test module has, for each grant type that the backend is used with, one class that
derives from that grant's contract and from either RevocationCases or NoRevocationCases, and says
its alias, its backend and what is in its recordings. All cases go through the app's own services.
"""

import json
from typing import Final

from django.apps import apps
from django.db import connection

from connected_accounts.models import ConnectedAccount
from connected_accounts.services import disconnect, get_session, refresh
from connected_accounts.testing import FakeProvider
from connected_accounts.testing.conformance.client_credentials import ClientCredentialsCases
from connected_accounts.testing.conformance.code import CodeCases
from connected_accounts.testing.conformance.failures import FailureCases
from connected_accounts.testing.conformance.harness import assert_hidden, leaks_in
from connected_accounts.testing.conformance.identity import IdentityCases
from connected_accounts.testing.conformance.personal_token import PersonalTokenCases
from connected_accounts.testing.conformance.revocation import NoRevocationCases, RevocationCases
from connected_accounts.testing.conformance.tokens import TokenCases

__all__ = ["CONTRACTS", "NoRevocationCases", "RevocationCases"]


class ProviderContract(IdentityCases):
    """The rules for every grant. A leak into a log fails the case in which it happens."""

    def test_nothing_that_can_be_printed_shows_a_secret(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        provider = self.provider
        self.renew(account, fake)
        row = self.stored(account)

        assert_hidden(provider, provider.config, provider.config._asdict(), provider.endpoints())
        assert_hidden(row, row.token, vars(row), get_session(account))
        revocation = disconnect(account)
        assert revocation is not None
        assert_hidden(revocation, vars(revocation))

    def test_the_database_holds_no_secret_in_the_clear(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        self.renew(account, fake)
        self.assert_no_table_holds_a_secret()

        disconnect(account)
        self.assert_no_table_holds_a_secret()

    def renew(self, account: ConnectedAccount, fake: FakeProvider) -> None:
        """Let what is stored be newer, where this grant can be renewed."""
        if self.provider.grant_type != "personal_token":
            fake.script("token", self.recorded("token_refreshed"))
            refresh(account)

    def assert_no_table_holds_a_secret(self) -> None:
        for model in apps.get_app_config("connected_accounts").get_models():
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
                stored = json.dumps(cursor.fetchall(), default=str)
            assert not leaks_in(stored), f"{model._meta.label} holds a secret"


class CodeContract(CodeCases, TokenCases, FailureCases, ProviderContract):
    """Authorization codes and refresh tokens."""


class ClientCredentialsContract(ClientCredentialsCases, TokenCases, FailureCases, ProviderContract):
    """Credentials of the site, or of a person, for which a token is asked for again and again."""


class PersonalTokenContract(PersonalTokenCases, ProviderContract):
    """A token that a person made at the provider."""


CONTRACTS: Final[dict[str, type[ProviderContract]]] = {
    "authorization_code": CodeContract,
    "client_credentials": ClientCredentialsContract,
    "personal_token": PersonalTokenContract,
}
