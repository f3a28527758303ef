"""Contract cases of every grant with a token endpoint: what its failures mean and leave behind."""

from datetime import timedelta
from typing import ClassVar

import pytest
from django.utils import timezone

from connected_accounts.exceptions import (
    ConnectedAccountsError,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.oauth2.transport import MAX_BODY
from connected_accounts.testing import (
    Answer,
    ConnectionRefused,
    FakeProvider,
    Redirect,
    Timeout,
)
from connected_accounts.testing.conformance.harness import CLIENT_SECRET, Harness


class FailureCases(Harness):
    needs: ClassVar[frozenset[str]] = frozenset(
        {
            "token_empty_access_token",
            "token_error_in_success",
            "token_not_json",
            "token_server_error",
            "token_throttled",
            "token_throttled_retry_after",
            "token_without_access_token",
        }
    )
    # Seconds to wait that the recorded 429 names by itself, without the header Retry-After.
    throttled_for: ClassVar[float | None] = None
    error_in_success: ClassVar[type[ConnectedAccountsError]] = UnexpectedResponse

    def test_a_throttled_refresh_is_tried_again(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded("token_throttled"))

        assert type(error) is ProviderUnavailable
        assert (error.status, error.retry_after) == (429, self.throttled_for)
        booked = 1 if self.throttled_for is None else 0  # an end that is named is obeyed
        self.assert_is_tried_again(account, may_be_spent=False, failures=booked)

    def test_a_throttled_refresh_waits_as_long_as_retry_after_says(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        before = timezone.now()

        error = self.refused_refresh(account, fake, self.recorded("token_throttled_retry_after"))

        assert type(error) is ProviderUnavailable
        assert error.retry_after == 900
        self.assert_is_tried_again(account, may_be_spent=False, failures=0)
        refresh_at = self.stored(account).refresh_at
        assert refresh_at is not None
        assert refresh_at >= before + timedelta(seconds=900)

    def test_a_server_error_is_tried_again(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded("token_server_error"))

        assert type(error) is ProviderUnavailable
        assert (error.code, error.status) == ("status_500", 500)
        self.assert_is_tried_again(account, may_be_spent=True)

    def test_a_timeout_is_tried_again_and_may_have_spent_the_token(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, Timeout(), Timeout())

        assert type(error) is ProviderUnavailable
        assert (error.code, error.status, error.sent) == ("timeout", None, True)
        assert len(fake.requests) == 2  # asked again at once, while a server's grace may run
        self.assert_is_tried_again(account, may_be_spent=True)

    def test_a_refused_connection_is_tried_again_and_has_spent_nothing(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, ConnectionRefused())

        assert type(error) is ProviderUnavailable
        assert (error.code, error.status, error.sent) == ("unreachable", None, False)
        self.assert_is_tried_again(account, may_be_spent=False)

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_is_refused_and_nothing_is_sent_on(
        self, account: ConnectedAccount, fake: FakeProvider, status: int
    ) -> None:
        elsewhere = Redirect("https://elsewhere.example/token", status)

        error = self.refused_refresh(account, fake, elsewhere)

        assert type(error) is UnexpectedResponse
        assert (error.code, error.status, error.sent) == ("redirect", status, False)
        assert len(fake.requests) == 1
        assert fake.unexpected == []
        self.assert_is_tried_again(account, may_be_spent=False)

    def test_an_error_under_status_200_is_no_success(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded("token_error_in_success"))

        assert type(error) is self.error_in_success

    def test_an_answer_that_is_not_json_is_tried_again(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded("token_not_json"))

        assert type(error) is UnexpectedResponse
        assert (error.code, error.status) == ("not_json", 200)
        self.assert_is_tried_again(account, may_be_spent=True)

    def test_a_huge_answer_is_not_read_to_its_end(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        good = self.recorded("token_refreshed")
        padded = Answer(good.status, body=good.content() + b" " * MAX_BODY, headers=good.headers)

        error = self.refused_refresh(account, fake, padded)

        assert type(error) is UnexpectedResponse
        assert (error.code, error.status) == ("too_large", 200)
        self.assert_is_tried_again(account, may_be_spent=True)

    @pytest.mark.parametrize("lack", ["without", "empty"])
    def test_an_answer_has_failed_whose_access_token_is(
        self, account: ConnectedAccount, fake: FakeProvider, lack: str
    ) -> None:
        error = self.refused_refresh(account, fake, self.recorded(f"token_{lack}_access_token"))

        assert type(error) is UnexpectedResponse
        assert (error.code, error.status) == ("access_token", 200)
        self.assert_is_tried_again(account, may_be_spent=True)

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
    def test_an_error_that_quotes_our_secrets_is_not_repeated(
        self, account: ConnectedAccount, fake: FakeProvider, status: int
    ) -> None:
        quoted = {
            "error": f"canary-refresh-1 of {CLIENT_SECRET}",
            "error_description": CLIENT_SECRET,
            "errorMessage": "canary-refresh-1 is not known",
        }

        error = self.refused_refresh(account, fake, Answer(status, quoted))

        # A person's own credentials may end by the status alone; a grant does not.
        dead = isinstance(error, ReauthorizationRequired)
        assert not dead or error.code == "credentials_rejected"
        events = Event.objects.values_list("detail", flat=True)
        assert "canary" not in " ".join([self.stored(account).last_error, *events])
