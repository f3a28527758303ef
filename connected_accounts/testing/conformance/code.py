"""Contract cases of authorization codes and refresh tokens."""

from typing import Any, ClassVar

import pytest
from django.utils import timezone

from connected_accounts.connect.callback_params import REFUSALS
from connected_accounts.exceptions import (
    AuthorizationDenied,
    ClientRejected,
    InvalidState,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import (
    ConnectedAccount,
    Event,
    Kind,
    ProviderState,
    Revocation,
    Status,
)
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.services import refresh
from connected_accounts.testing import ConnectionRefused, DropAnswer, FakeProvider
from connected_accounts.testing.conformance.harness import REDIRECT_URI, Harness, assert_hidden
from connected_accounts.testing.conformance.tokens import SLACK
from connected_accounts.tokens.endpoint import exchange_code


class CodeCases(Harness):
    faked_subject: ClassVar[str] = "person-1"  # as the fake itself answers
    needs: ClassVar[frozenset[str]] = frozenset(
        {
            "token_dead_code",
            "token_dead_refresh_token",
            "token_refreshed_without_refresh_token",
            "token_wrong_client_secret",
        }
    )

    def test_a_person_connects_and_the_account_is_stored(
        self, user: Any, fake: FakeProvider
    ) -> None:
        account = self.connect(user, fake)

        assert (account.user, account.provider, account.status) == (user, self.alias, Status.ACTIVE)
        assert (account.subject, account.label) == (self.subject, self.label)
        assert account.scopes_granted == list(self.provider.scopes)
        assert account.expires_at is not None
        assert account.refresh_at is not None
        assert timezone.now() < account.refresh_at < account.expires_at
        document = account.open_token()
        assert document["access_token"] == "canary-access-1"
        assert document["refresh_token"] == "canary-refresh-1"
        assert document["token_type"] == "Bearer"
        assert Event.objects.get().kind == Kind.CONNECTED
        assert_hidden(document["expires_in"], account)

    def test_the_code_is_exchanged_as_it_was_asked_for(self, user: Any, fake: FakeProvider) -> None:
        # Answered by the fake itself, which compares redirect URI, verifier and client.
        account = self.begin(user, fake)()

        [sent] = fake.sent_to("token")
        assert sent.method == "POST"
        assert sent.fields["grant_type"] == "authorization_code"
        assert sent.fields["redirect_uri"] == REDIRECT_URI
        uses_pkce = self.provider.code_challenge_method == "S256"
        assert ("code_verifier" in sent.fields) is uses_pkce
        assert account.subject == self.faked_subject

    def test_a_refresh_replaces_both_tokens(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
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
    ) -> None:
        fake.script("token", self.recorded("token_refreshed_without_refresh_token"))

        refresh(account)

        document = self.stored(account).open_token()
        assert document["access_token"] == "canary-access-2"
        assert document["refresh_token"] == "canary-refresh-1"

    def test_a_second_authorization_that_gives_no_refresh_token_keeps_the_old_one(
        self, user: Any, fake: FakeProvider
    ) -> None:
        # Answered by the fake itself.
        first = self.begin(user, fake)()
        kept = self.stored(first).open_token()["refresh_token"]
        fake.behaviour.omit_refresh_token = True

        again = self.begin(user, fake)()

        assert again.pk == first.pk
        assert again.refresh_at is not None
        assert self.stored(again).open_token()["refresh_token"] == kept

    @pytest.mark.parametrize("word", REFUSALS)
    def test_a_refusal_in_whatever_word_is_the_persons_own(
        self, user: Any, fake: FakeProvider, word: str
    ) -> None:
        error = self.raised_by(self.begin(user, fake, error=word))

        assert type(error) is AuthorizationDenied
        assert error.code == "access_denied"
        assert fake.sent_to("token") == []
        assert not ConnectedAccount.objects.exists()

    def test_each_refresh_presents_the_newest_refresh_token_once(
        self, user: Any, fake: FakeProvider
    ) -> None:
        # Answered by the fake itself, which rotates and notices a token that comes twice.
        account = self.begin(user, fake)()

        for _ in range(3):
            refresh(account)

        assert sorted(fake.presentations.values()) == [1, 1, 1]
        assert fake.reuses == 0
        [grant] = fake.grants
        assert self.stored(account).open_token()["refresh_token"] == grant.refresh_token

    def test_a_dead_refresh_token_must_be_connected_again(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded("token_dead_refresh_token"))

        assert type(error) is ReauthorizationRequired
        assert error.code == "revoked"
        row = self.stored(account)
        assert (row.status, row.reason) == (Status.RECONNECT_REQUIRED, "revoked")
        assert row.refresh_at is None
        assert Event.objects.filter(kind=Kind.RECONNECT_REQUIRED).count() == 1

    def test_a_dead_code_ends_the_authorization_and_stores_nothing(
        self, user: Any, fake: FakeProvider
    ) -> None:
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("token_dead_code"))

        error = self.raised_by(finish)

        assert type(error) is InvalidState
        assert error.code == "code_rejected"
        assert not ConnectedAccount.objects.exists()

    def test_a_wrong_client_secret_is_the_sites_fault_and_ends_no_account(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded("token_wrong_client_secret"))

        assert type(error) is ClientRejected
        self.assert_is_tried_again(account, may_be_spent=False)
        # One account's answer pauses nobody: some servers say so of one dead grant.
        state = ProviderState.objects.get(provider=self.alias)
        assert (state.pause_reason, state.rejected_account) == ("", account.pk)

    def test_a_token_that_is_dead_after_a_lost_answer_was_lost_in_rotation(
        self, user: Any, fake: FakeProvider
    ) -> None:
        # Answered by the fake itself: it rotates, and then knows a token that comes twice.
        account = self.begin(user, fake)()

        # The second try, at once, does not get through, which settles nothing.
        error = self.refused_refresh(account, fake, DropAnswer(), ConnectionRefused())
        assert type(error) is ProviderUnavailable
        self.assert_is_tried_again(account, may_be_spent=True)

        error = self.refused_refresh(account, fake)
        assert type(error) is ReauthorizationRequired
        assert self.stored(account).reason == "rotation_lost"
        assert (max(fake.presentations.values()), fake.reuses) == (2, 1)

    def test_a_refused_identity_connects_nobody_and_withdraws_the_grant(
        self, user: Any, fake: FakeProvider
    ) -> None:
        finish = self.begin(user, fake)
        if self.identity_is_in_the_token_answer:
            fake.script("token", self.recorded("identity_refused"))
        else:
            fake.script("token", self.recorded("token_success"))
            fake.script("identity", self.recorded("identity_refused"))

        error = self.raised_by(finish)

        assert type(error) is UnexpectedResponse
        assert not ConnectedAccount.objects.exists()
        assert Revocation.objects.get().outcome == "pending"

    def exchange(self) -> TokenResponse:
        provider = self.provider
        return exchange_code(
            provider,
            provider.endpoints(),
            code="canary-code",
            redirect_uri=REDIRECT_URI,
            code_verifier="",
        )
