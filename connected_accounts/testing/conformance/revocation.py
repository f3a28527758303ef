"""Contract cases: what becomes of a grant after disconnecting."""

from typing import Any, ClassVar

from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event, Kind, Outcome, Revocation
from connected_accounts.providers.base import Client
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.secret import Secret, SecretFields
from connected_accounts.services import disconnect
from connected_accounts.testing import FakeProvider, Redirect, Timeout
from connected_accounts.testing.conformance.harness import CLIENT_ID, Harness
from connected_accounts.tokens.endpoint import revoke_token


class RevocationCases(Harness):
    """Cases for a provider that has the endpoint."""

    needs: ClassVar[frozenset[str]] = frozenset(
        {"revoke_done", "revoke_missing", "revoke_refused", "revoke_unknown"}
    )
    revoked_token: ClassVar[str] = "canary-refresh-1"
    outcome_of_unknown: ClassVar[Outcome]

    def test_a_revoked_grant_is_done_with(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        row = self.revoked(account, fake, "revoke_done")

        [sent] = fake.sent_to("revocation")
        assert (sent.method, sent.fields["token"]) == ("POST", self.revoked_token)
        assert (row.outcome, row.token, row.next_attempt_at) == (Outcome.REVOKED, None, None)
        assert not ConnectedAccount.objects.exists()
        kinds = set(Event.objects.values_list("kind", flat=True))
        assert {Kind.DISCONNECTED, Kind.REVOKED} <= kinds

    def test_a_grant_that_the_provider_does_not_know_is_done_with(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        row = self.revoked(account, fake, "revoke_unknown")

        assert (row.outcome, row.token) == (self.outcome_of_unknown, None)

    def test_a_refused_revocation_is_tried_until_it_is_done(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        row = self.revoked(account, fake, "revoke_refused")
        assert (row.outcome, row.attempts) == (Outcome.PENDING, 1)
        assert row.next_attempt_at is not None
        assert row.next_attempt_at > timezone.now()
        assert row.token is not None

        fake.script("revocation", self.recorded("revoke_done"))
        revoke_pending(now=row.next_attempt_at)

        row.refresh_from_db()
        assert (row.outcome, row.attempts, row.token) == (Outcome.REVOKED, 2, None)

    def test_a_provider_without_the_endpoint_does_not_hold_up_the_outbox(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        missing = self.recorded("revoke_missing")
        fake.script("revocation", missing)  # one for each token: the other may be the right kind

        row = self.revoked(account, fake, "revoke_missing")

        assert (row.outcome, row.token) == (Outcome.UNSUPPORTED, None)

    def test_a_revocation_without_an_answer_or_redirected_is_tried_again(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        row: Any = disconnect(account)
        assert row is not None
        steps: list[Any] = [Timeout(), Redirect("https://elsewhere.example/")]
        for attempts, step in enumerate(steps, 1):
            fake.script("revocation", step)
            revoke_pending(now=row.next_attempt_at)
            row.refresh_from_db()
            assert (row.outcome, row.attempts) == (Outcome.PENDING, attempts)
        assert fake.unexpected == []

    def test_a_disconnected_grant_is_dead_at_the_provider(
        self, user: object, fake: FakeProvider
    ) -> None:
        # Answered by the fake itself, which knows which token ends a grant there.
        account = self.begin(user, fake)()
        assert [grant.is_alive for grant in fake.grants] == [True]

        disconnect(account)
        revoke_pending()

        assert [grant.is_alive for grant in fake.grants] == [False]
        assert Revocation.objects.get().outcome == Outcome.REVOKED

    def test_a_replaced_grant_is_dead_too_after_the_disconnect(
        self, user: object, fake: FakeProvider
    ) -> None:
        # Answered by the fake itself, where each authorization is a grant of its own.
        self.begin(user, fake)()
        account = self.begin(user, fake)()
        revoke_pending()
        newest = fake.grants[-1]
        assert newest.is_alive

        disconnect(account)
        revoke_pending()

        assert [grant.is_alive for grant in fake.grants] == [False, False]

    def test_a_client_without_a_secret_names_itself_unless_declared_bare(
        self, fake: FakeProvider
    ) -> None:
        provider = self.provider.bound(client=Client(CLIENT_ID, Secret("")))
        provider.token_endpoint_auth_method = "none"
        bare = provider.revocation_auth_method == "bare"
        provider.revocation_auth_method = "bare" if bare else ""
        fake.script("revocation", self.recorded("revoke_done"))

        made_up = SecretFields({provider.revoke_token_type_hint: "canary"})
        revoke_token(provider, provider.endpoints(), made_up)

        [sent] = fake.sent_to("revocation")
        assert sent.fields.get("client_id") == (None if bare else CLIENT_ID)
        assert "client_secret" not in sent.fields
        assert "Authorization" not in sent.headers

    def revoked(self, account: ConnectedAccount, fake: FakeProvider, name: str) -> Any:
        fake.script("revocation", self.recorded(name))
        row: Any = disconnect(account)
        assert row is not None
        assert revoke_pending() == 1
        row.refresh_from_db()
        return row


class NoRevocationCases(Harness):
    """Cases for a provider that has none."""

    def test_disconnecting_is_done_without_asking_the_provider(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        row: Any = disconnect(account)
        assert row is not None

        revoke_pending()

        row.refresh_from_db()
        assert (row.outcome, row.token, row.next_attempt_at) == (Outcome.UNSUPPORTED, None, None)
        assert not ConnectedAccount.objects.exists()
        assert fake.requests == []
