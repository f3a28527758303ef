"""Contract cases: who the account is at the provider."""

from functools import partial
from typing import Any, ClassVar

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.oauth2.token import read_token_response
from connected_accounts.testing import Answer, FakeProvider
from connected_accounts.testing.conformance.harness import Harness, assert_hidden
from connected_accounts.tokens.identity import identify


class IdentityCases(Harness):
    needs: ClassVar[frozenset[str]] = frozenset({"identity", "identity_refused"})

    def test_the_identity_has_a_stable_subject_and_a_label_for_people(
        self, fake: FakeProvider
    ) -> None:
        identity = self.identity_from(fake, self.recorded("identity"))

        assert (identity.subject, identity.label) == (self.subject, self.label)

    def test_an_identity_that_is_no_identity_is_refused(self, fake: FakeProvider) -> None:
        for answer in (Answer(200, {}), Answer(200, ["canary"]), Answer(200, body="canary")):
            error = self.raised_by(partial(self.identity_from, fake, answer))
            assert type(error) is UnexpectedResponse

    def identity_from(self, fake: FakeProvider, answer: Any) -> Any:
        """The identity that an answer gives, wherever this provider gives it."""
        provider = self.provider
        payload: dict[str, Any] = {"access_token": "canary-access-1"}
        if self.identity_is_in_the_token_answer:
            payload |= answer.json if isinstance(answer.json, dict) else {}
        else:
            fake.script("identity", answer)
        token = read_token_response(provider.parse_token_response(payload))
        assert_hidden(token)
        return identify(provider, provider.endpoints(), token)
