"""Contract cases of client credentials: a token is asked for again, and whose credentials count."""

from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from connected_accounts.clients.credentials import open_client
from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import (
    ConnectedAccount,
    Event,
    Kind,
    ProviderClient,
    ProviderState,
    Revocation,
    Status,
)
from connected_accounts.oauth2.token import TokenResponse
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider, Timeout
from connected_accounts.testing.conformance.harness import (
    CLIENT_ID,
    OWN_CLIENT_ID,
    OWN_CLIENT_SECRET,
    Harness,
    assert_hidden,
)
from connected_accounts.testing.conformance.tokens import SLACK
from connected_accounts.tokens.endpoint import exchange_client_credentials


class ClientCredentialsCases(Harness):
    needs: ClassVar[frozenset[str]] = frozenset({"token_wrong_client_secret"})

    def test_the_site_connects_with_its_own_credentials(self, fake: FakeProvider) -> None:
        account = self.connect(None, fake)

        assert (account.user, account.provider, account.status) == (None, self.alias, Status.ACTIVE)
        assert (account.subject, account.label) == (self.subject, self.label)
        assert account.client_id == CLIENT_ID
        assert account.open_token()["access_token"] == "canary-access-1"
        assert account.open_token()["refresh_token"] is None
        assert (account.refresh_at is None) is (self.provider.refresh_policy == "on_use")
        assert Event.objects.get().kind == Kind.CONNECTED
        assert not ProviderClient.objects.exists()

    def test_a_person_connects_with_credentials_that_are_kept_as_long_as_the_account(
        self, user: Any, fake: FakeProvider
    ) -> None:
        account = self.connect(user, fake)

        assert (account.user, account.client_id) == (user, OWN_CLIENT_ID)
        assert (account.subject, account.label) == (self.subject, self.label)
        kept = ProviderClient.objects.get()
        assert open_client(kept).client_secret.reveal() == OWN_CLIENT_SECRET
        assert_hidden(kept, kept.client_secret, vars(kept), open_client(kept))
        disconnect(account)
        revoke_pending()
        assert not ProviderClient.objects.exists()

    def test_the_token_is_asked_for_with_the_owners_credentials(
        self, user: Any, fake: FakeProvider
    ) -> None:
        # Answered by the fake itself, which compares the client and how it authenticates.
        accounts = [self.begin(owner, fake)() for owner in (user, None)]

        assert [account.client_id for account in accounts] == [OWN_CLIENT_ID, CLIENT_ID]
        for sent in fake.sent_to("token"):
            assert sent.method == "POST"
            assert sent.fields["grant_type"] == "client_credentials"
            assert not {"refresh_token", "code", "redirect_uri"} & set(sent.fields)

    def test_renewing_is_asking_again(self, account: ConnectedAccount, fake: FakeProvider) -> None:
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        [sent] = fake.sent_to("token")
        assert sent.fields["grant_type"] == "client_credentials"
        row = self.stored(account)
        assert row.open_token()["access_token"] == "canary-access-2"
        assert row.refreshed_at is not None
        assert row.expires_at is not None
        assert abs((row.expires_at - row.refreshed_at).total_seconds() - self.life) <= SLACK
        assert (row.failure_count, row.last_error, row.attempt_started_at) == (0, "", None)

    def test_a_token_at_its_end_is_renewed_when_it_is_used(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        assert get_access_token(account) == "canary-access-1"
        assert fake.requests == []
        ended = timezone.now() - timedelta(seconds=1)
        ConnectedAccount.objects.filter(pk=account.pk).update(expires_at=ended)
        fake.script("token", self.recorded("token_refreshed"))

        assert [get_access_token(account) for _ in range(3)] == ["canary-access-2"] * 3
        assert len(fake.requests) == 1

    def test_an_answer_that_was_lost_costs_nothing(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        self.refused_refresh(account, fake, Timeout(), Timeout())
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        assert self.stored(account).open_token()["access_token"] == "canary-access-2"

    def test_credentials_that_are_refused_connect_nobody(
        self, user: Any, fake: FakeProvider
    ) -> None:
        for owner in (user, None):
            fake.script("token", self.recorded("token_wrong_client_secret"))
            error = self.raised_by(self.begin(owner, fake))
            assert type(error) is ClientRejected
            assert error.code == "credentials"
        self.assert_nothing_is_stored()

    @pytest.mark.parametrize("endpoint", ["token", "identity"])
    def test_an_outage_is_not_taken_for_wrong_credentials(
        self, user: Any, fake: FakeProvider, endpoint: str
    ) -> None:
        fake.script(endpoint, Timeout())

        error = self.raised_by(self.begin(user, fake))

        assert type(error) is ProviderUnavailable
        self.assert_nothing_is_stored(but_a_trace=True)

    def test_a_refused_identity_connects_nobody(self, user: Any, fake: FakeProvider) -> None:
        fake.script("token", self.recorded("token_success"))
        fake.script("identity", self.recorded("identity_refused"))

        error = self.raised_by(self.begin(user, fake))

        assert isinstance(error, ClientRejected | UnexpectedResponse)
        self.assert_nothing_is_stored(but_a_trace=error.code != "credentials")

    def test_refused_credentials_of_the_site_touch_no_users_account(
        self, user: Any, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        site = self.connect(None, fake)

        error = self.refused_refresh(site, fake, self.recorded("token_wrong_client_secret"))

        assert type(error) is ClientRejected
        self.assert_is_tried_again(site, may_be_spent=False)
        row = self.stored(account)
        assert (row.status, row.failure_count) == (Status.ACTIVE, 0)
        assert not ProviderState.objects.filter(paused_until__isnull=False).exists()
        fake.script("token", self.recorded("token_refreshed"))
        refresh(account)
        assert self.stored(account).open_token()["access_token"] == "canary-access-2"

    def test_a_persons_refused_credentials_end_that_account_only_and_are_not_sent_again(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        site = self.connect(None, fake)
        fake.requests.clear()

        error = self.refused_refresh(account, fake, self.recorded("token_wrong_client_secret"))

        assert type(error) is ReauthorizationRequired
        assert error.code == "credentials_rejected"
        row = self.stored(account)
        assert (row.status, row.reason) == (Status.RECONNECT_REQUIRED, "credentials_rejected")
        assert row.refresh_at is None
        for use in (refresh, get_access_token, refresh):
            assert self.raised_by(partial(use, account)).code == "credentials_rejected"
        assert len(fake.requests) == 1
        assert Event.objects.filter(kind=Kind.RECONNECT_REQUIRED).count() == 1
        assert self.stored(site).status == Status.ACTIVE
        assert not ProviderState.objects.filter(paused_until__isnull=False).exists()

    def exchange(self) -> TokenResponse:
        provider = self.provider
        return exchange_client_credentials(provider, provider.endpoints(), provider.scopes)

    def assert_nothing_is_stored(self, *, but_a_trace: bool = False) -> None:
        """``but_a_trace``: the event by which a failure is found that is not the person's own."""
        for model in (ConnectedAccount, ProviderClient, Revocation):
            assert not model.objects.exists()
        kinds = list(Event.objects.values_list("kind", flat=True))
        assert kinds == ([Kind.CONNECT_FAILED] if but_a_trace else [])
