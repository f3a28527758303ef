"""Contract cases of every grant with a token endpoint: what its answer says of the token's life."""

from typing import Any, ClassVar

import pytest

from connected_accounts.models import Status
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.testing import FakeProvider
from connected_accounts.testing.conformance.harness import Harness, assert_hidden

SLACK = 5  # seconds a case may take


class TokenCases(Harness):
    needs: ClassVar[frozenset[str]] = frozenset(
        {
            "token_expires_in_missing",
            "token_expires_in_number",
            "token_expires_in_string",
            "token_refreshed",
            "token_success",
        }
    )

    def exchange(self) -> TokenResponse:
        """Ask the token endpoint as this grant does."""
        raise NotImplementedError

    @pytest.mark.parametrize("written_as", ["number", "string"])
    def test_the_life_of_a_token_is_read_from(self, fake: FakeProvider, written_as: str) -> None:
        fake.script("token", self.recorded(f"token_expires_in_{written_as}"))

        token = self.exchange()

        assert token.expires_in is not None
        assert 7200 - SLACK <= token.expires_in <= 7200
        assert_hidden(token)

    def test_a_life_that_is_not_told_is_not_known(self, user: Any, fake: FakeProvider) -> None:
        account = self.connect(user, fake, "token_expires_in_missing")

        assert account.expires_at is None
        assert account.status == Status.ACTIVE
