"""Contract cases: what a token answer brings, on connect and on refresh."""

from typing import Any, ClassVar

import pytest
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event, Kind, Status
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import refresh
from connected_accounts.services.exchange import exchange_code
from connected_accounts.testing import FakeProvider
from tests.providers.harness import REDIRECT_URI, Harness, assert_hidden

SLACK = 5  # seconds a case may take


class TokenCases(Harness):
    life: ClassVar[int] = 86400  # of the recorded success
    subject: ClassVar[str]
    label: ClassVar[str]

    def test_a_person_connects_and_the_account_is_stored(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake)

        assert (account.user, account.provider, account.status) == (user, self.alias, Status.ACTIVE)
        assert (account.subject, account.label) == (self.subject, self.label)
        assert account.scopes_granted == list(get_provider(self.alias).scopes)
        assert account.expires_at is not None
        assert account.refresh_at is not None
        assert timezone.now() < account.refresh_at < account.expires_at
        document = account.open_token()
        assert document["access_token"] == "canary-access-1"
        assert document["refresh_token"] == "canary-refresh-1"
        assert document["token_type"] == "Bearer"
        assert Event.objects.get().kind == Kind.CONNECTED
        assert_hidden(document["expires_in"], account)

    def test_the_code_is_exchanged_as_it_was_asked_for(self, user: Any, fake: FakeProvider):
        # Answered by the fake itself, which compares redirect URI, verifier and client.
        account = self.begin(user, fake)()

        [sent] = fake.sent_to("token")
        assert sent.method == "POST"
        assert sent.fields["grant_type"] == "authorization_code"
        assert sent.fields["redirect_uri"] == REDIRECT_URI
        uses_pkce = get_provider(self.alias).code_challenge_method == "S256"
        assert ("code_verifier" in sent.fields) is uses_pkce
        assert account.subject == "person-1"

    @pytest.mark.parametrize("written_as", ["number", "string"])
    def test_the_life_of_a_token_is_read_from(self, fake: FakeProvider, written_as: str):
        fake.script("token", self.recorded(f"token_expires_in_{written_as}"))

        token = self.exchange()

        assert token.expires_in is not None
        assert 7200 - SLACK <= token.expires_in <= 7200
        assert_hidden(token)

    def test_a_life_that_is_not_told_is_not_known(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake, "token_expires_in_missing")

        assert account.expires_at is None
        assert account.status == Status.ACTIVE

    def test_a_refresh_replaces_both_tokens(self, account: ConnectedAccount, fake: FakeProvider):
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        [sent] = fake.sent_to("token")
        assert sent.fields["grant_type"] == "refresh_token"
        assert sent.fields["refresh_token"] == "canary-refresh-1"
        row = self.stored(account)
        assert row.open_token()["access_token"] == "canary-access-2"
        assert row.open_token()["refresh_token"] == "canary-refresh-2"
        assert row.refreshed_at is not None
        assert row.expires_at is not None
        assert abs((row.expires_at - row.refreshed_at).total_seconds() - self.life) <= SLACK
        assert (row.failure_count, row.last_error, row.attempt_started_at) == (0, "", None)

    def test_a_refresh_that_gives_no_refresh_token_keeps_the_old_one(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("token", self.recorded("token_refreshed_without_refresh_token"))

        refresh(account)

        document = self.stored(account).open_token()
        assert document["access_token"] == "canary-access-2"
        assert document["refresh_token"] == "canary-refresh-1"

    def test_each_refresh_presents_the_newest_refresh_token_once(
        self, user: Any, fake: FakeProvider
    ):
        # Answered by the fake itself, which rotates and notices a token that comes twice.
        account = self.begin(user, fake)()

        for _ in range(3):
            refresh(account)

        assert sorted(fake.presentations.values()) == [1, 1, 1]
        assert fake.reuses == 0
        [grant] = fake.grants
        assert self.stored(account).open_token()["refresh_token"] == grant.refresh_token

    def exchange(self) -> Any:
        provider = get_provider(self.alias)
        return exchange_code(
            provider,
            provider.endpoints(),
            code="canary-code",
            redirect_uri=REDIRECT_URI,
            code_verifier="",
        )
