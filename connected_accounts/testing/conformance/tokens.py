"""Contract cases of every grant with a token endpoint: what its answer says of the token's life."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from connected_accounts.models import ConnectedAccount, Status
from connected_accounts.oauth2.token import MAX_LIFE, TokenResponse
from connected_accounts.services import get_access_token
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

    @pytest.mark.parametrize("life", [0, -1, "0", "-1"])
    def test_a_life_of_nought_or_less_has_not_ended_already(
        self, user: Any, fake: FakeProvider, life: Any
    ) -> None:
        # Answered by the fake itself, which says it as this provider says lives.
        fake.behaviour.expires_in = fake.behaviour.refresh_token_expires_in = life

        account = self.stored(self.begin(user, fake)())

        assert (account.expires_at, account.refresh_token_expires_at) == (None, None)
        assert (account.status, account.refresh_at) == (Status.ACTIVE, None)
        asked = len(fake.sent_to("token"))
        assert get_access_token(account) == account.open_token()["access_token"]
        assert len(fake.sent_to("token")) == asked

    def test_a_life_beyond_all_measure_is_bounded(self, user: Any, fake: FakeProvider) -> None:
        fake.behaviour.expires_in = 10**15
        account: ConnectedAccount = self.begin(user, fake)()

        assert account.expires_at is not None
        assert account.expires_at <= account.connected_at + timedelta(seconds=MAX_LIFE)

    def test_a_life_that_is_not_told_is_not_known(self, user: Any, fake: FakeProvider) -> None:
        account = self.connect(user, fake, "token_expires_in_missing")

        assert account.expires_at is None
        assert account.status == Status.ACTIVE
