"""Contract cases of a personal token: looked at before it is stored, and never refreshed."""

from typing import Any, ClassVar

import pytest

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event, Kind, ProviderClient, Status
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.testing import Answer, FakeProvider, Timeout
from connected_accounts.testing.conformance.harness import PERSONAL_TOKEN, Harness


class PersonalTokenCases(Harness):
    needs: ClassVar[frozenset[str]] = frozenset({"personal_token_refused"})

    def test_a_token_is_looked_at_once_and_stored(self, user: Any, fake: FakeProvider) -> None:
        account = self.connect(user, fake)

        assert [request.endpoint for request in fake.requests] == ["identity"]
        assert (account.user, account.provider, account.status) == (user, self.alias, Status.ACTIVE)
        assert (account.subject, account.label) == (self.subject, self.label)
        assert account.open_token()["access_token"] == PERSONAL_TOKEN
        assert account.open_token()["refresh_token"] is None
        assert (account.expires_at, account.refresh_at, account.client_id) == (None, None, "")
        assert get_access_token(account) == PERSONAL_TOKEN
        assert Event.objects.get().kind == Kind.CONNECTED
        assert not ProviderClient.objects.exists()

    def test_it_is_never_refreshed(self, account: ConnectedAccount, fake: FakeProvider) -> None:
        error = self.raised_by(lambda: refresh(account))

        assert type(error) is ReauthorizationRequired
        assert error.code == "no_refresh_token"
        row = self.stored(account)
        assert (row.status, row.refresh_at, row.lease_until) == (Status.ACTIVE, None, None)
        assert fake.requests == []

    def test_a_token_that_is_refused_is_not_stored(self, user: Any, fake: FakeProvider) -> None:
        fake.script("identity", self.recorded("personal_token_refused"))

        error = self.raised_by(self.begin(user, fake))

        assert type(error) is ClientRejected
        assert error.code == "credentials"
        self.assert_nothing_is_stored()

    def test_a_refused_identity_connects_nobody(self, user: Any, fake: FakeProvider) -> None:
        fake.script("identity", self.recorded("identity_refused"))

        error = self.raised_by(self.begin(user, fake))

        assert isinstance(error, ClientRejected | UnexpectedResponse)
        self.assert_nothing_is_stored(but_a_trace=error.code != "credentials")

    @pytest.mark.parametrize("trouble", [Timeout(), Answer(500), Answer(503), Answer(429)])
    def test_an_outage_is_not_taken_for_a_wrong_token(
        self, user: Any, fake: FakeProvider, trouble: Any
    ) -> None:
        fake.script("identity", trouble)

        error = self.raised_by(self.begin(user, fake))

        assert type(error) is ProviderUnavailable
        self.assert_nothing_is_stored(but_a_trace=True)

    @pytest.mark.parametrize("text", ["", "\n", "in\nside", "end\n", "\x00", "a b", "\r\nHost: x"])
    def test_a_token_that_no_header_could_carry_is_not_sent(
        self, user: Any, fake: FakeProvider, text: str
    ) -> None:
        entered = f"{PERSONAL_TOKEN}{text}" if text else ""

        error = self.raised_by(lambda: self.connect_directly(user, personal_token=entered))

        assert type(error) is ConfigurationError
        assert error.code == "inputs"
        assert fake.requests == []
        self.assert_nothing_is_stored()

    def test_a_refusal_at_use_ends_it_after_one_look(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        fake.script("api", Answer(401))
        fake.script("identity", self.recorded("personal_token_refused"))

        error = self.raised_by(lambda: get_session(account).get("things"))

        assert type(error) is ReauthorizationRequired
        assert error.code == "credentials_rejected"
        row = self.stored(account)
        assert (row.status, row.reason) == (Status.RECONNECT_REQUIRED, "credentials_rejected")
        for _ in range(3):
            self.raised_by(lambda: get_session(account).get("things"))
        assert [request.endpoint for request in fake.requests] == ["api", "identity"]
        assert Event.objects.filter(kind=Kind.RECONNECT_REQUIRED).count() == 1

    @pytest.mark.parametrize("look", ["good", "trouble"])
    def test_a_call_that_is_refused_alone_ends_nothing(
        self, account: ConnectedAccount, fake: FakeProvider, look: str
    ) -> None:
        fake.script("api", Answer(401))
        fake.script("identity", self.recorded("identity") if look == "good" else Timeout())

        error = self.raised_by(lambda: get_session(account).get("things"))

        assert error.code == "no_refresh_token"
        assert self.stored(account).status == Status.ACTIVE

    def test_a_newer_token_takes_the_place_of_the_old_one(
        self, user: Any, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        fake.script("identity", self.recorded("identity"))
        newer = f"{PERSONAL_TOKEN}-2"

        again = self.connect_directly(user, account=account, personal_token=newer)

        assert again.pk == account.pk
        assert self.stored(account).open_token()["access_token"] == newer

    def assert_nothing_is_stored(self, *, but_a_trace: bool = False) -> None:
        """``but_a_trace``: the event by which a failure is found that is not the person's own."""
        for model in (ConnectedAccount, ProviderClient):
            assert not model.objects.exists()
        kinds = list(Event.objects.values_list("kind", flat=True))
        assert kinds == ([Kind.CONNECT_FAILED] if but_a_trace else [])
