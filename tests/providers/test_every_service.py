"""The provider contract, over every service of the catalogue, by its file and its recorded answers.

Connect, refresh where there is one, a dead grant and a wrong client in the service's own words,
revoke where there is a way, scopes under the service's names, identity. Every line that is logged
and every error is looked through for secrets, as for the backends of the package.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.exceptions import (
    ClientRejected,
    InvalidState,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Outcome, ProviderClient, Reason, Status
from connected_accounts.oauth2.jose import new_key
from connected_accounts.providers.catalogue.services import Service, service, service_names
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_session, refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from connected_accounts.testing.catalogue import recorded_answers
from connected_accounts.testing.conformance.harness import (
    CLIENT_ID,
    CLIENT_SECRET,
    OWN_CLIENT_ID,
    OWN_CLIENT_SECRET,
    Harness,
    assert_hidden,
)

PLAYED = [name for name in service_names() if recorded_answers(name)]
# The backends of the package, which have a contract of their own.
OWN = {"badge-connect", "badgr", "bime", "bitbadges", "bits", "bluesky"}
HOST = "one.example.org"
KEY = new_key("ES384").private_pem().reveal()


def test_every_service_is_put_through_a_contract() -> None:
    assert set(service_names()) - set(PLAYED) == OWN
    assert len(service_names()) >= 70


class TestEveryService(Harness):
    alias = "service"
    backend = ""

    @pytest.fixture(autouse=True, params=PLAYED)
    def _configured(self, request: pytest.FixtureRequest, settings: Any) -> None:
        self.settings = settings
        found = service(request.param)
        assert found is not None
        self.found: Service = found
        asked = found.options.get("connect_fields", ())
        registers = "registration_endpoint" in found.options
        # All scopes that it knows, so that several come back under the service's own names.
        known = [
            *found.options.get("default_scopes", ()),
            *found.options.get("scope_descriptions", ()),
        ]
        self.entry: dict[str, Any] = {
            "SERVICE": request.param,
            "SCOPES": list(dict.fromkeys(known)),
        }
        if not registers:
            self.entry |= {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET}
        if found.options.get("token_endpoint_auth_method") == "private_key_jwt":
            del self.entry["CLIENT_SECRET"]
            self.entry["CLIENT_KEY"] = KEY
        if "host" in asked and not registers:
            self.entry["OPTIONS"] = {"hosts": [HOST]}
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {self.alias: self.entry}}

    @property
    def asked(self) -> dict[str, str]:
        names = get_provider(self.alias).connect_fields
        return {name: HOST if name == "host" else f"{name}-1" for name in names}

    @pytest.fixture
    def fake(self, fake_provider: Any) -> FakeProvider:
        fake: FakeProvider = fake_provider(self.alias, inputs=self.asked)
        fake.add_client(OWN_CLIENT_ID, OWN_CLIENT_SECRET)
        return fake

    @pytest.fixture
    def account(self, user: Any, fake: FakeProvider) -> ConnectedAccount:
        return self.stored(connect_account(fake, user, subject="4711", label="Ada"))

    @property
    def renewable(self) -> bool:
        return self.found.refresh not in ("none", "again")

    def test_a_person_connects_and_is_known(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        provider, options = get_provider(self.alias), self.found.options
        if provider.identity_source == "none":
            assert (account.subject, account.label) == (HOST, "")
        else:
            assert account.subject.split(":")[-1] == "4711"
            named = options.get("label_path", "") != options.get("subject_path")
            assert account.label == ("Ada" if named else "4711")
        assert sorted(account.scopes_granted) == sorted(self.meant(provider.scopes))
        document = account.open_token()
        assert fake._server.by_access_token(document["access_token"]) is fake.grants[0]
        gives = self.renewable or self.found.alias == "stripe"
        assert bool(document.get("refresh_token")) is gives
        assert_hidden(account, vars(account), provider, provider.endpoints(self.asked))

    def meant(self, scopes: tuple[str, ...]) -> set[str]:
        """What is granted with these: what they include, too."""
        includes = self.found.options.get("scope_includes", {})
        return {*scopes, *(one for scope in scopes for one in includes.get(scope, ()))}

    def test_a_token_that_ends_is_renewed_before(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        if not self.renewable or account.expires_at is None:
            due = account.refresh_at if account.is_renewable else None
            assert (due is None) is (self.found.refresh != "again")
            return
        assert account.refresh_at is not None
        ahead = self.found.options.get("refresh_margin", 0) >= 0
        assert timezone.now() < account.refresh_at
        assert (account.refresh_at < account.expires_at) is ahead
        before, kept = account.open_token(), account.scopes_granted

        refresh(account)

        row = self.stored(account)
        after = row.open_token()
        assert after["access_token"] != before["access_token"]
        rotates = self.found.refresh == "rotates"
        assert (after["refresh_token"] != before["refresh_token"]) is rotates
        assert (row.status, sorted(row.scopes_granted)) == (Status.ACTIVE, sorted(kept))
        assert fake.reuses == 0

    def test_a_dead_grant_is_understood_in_the_services_own_words(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        fake.withdraw()
        if self.found.refresh == "again":
            refresh(account)
            assert self.stored(account).status == Status.ACTIVE
            return
        error = self.raised_by(lambda: refresh(account))
        assert type(error) is ReauthorizationRequired
        if account.open_token().get("refresh_token") is None:
            assert error.code == "no_refresh_token"
            return
        row = self.stored(account)
        assert (row.status, row.reason) == (Status.RECONNECT_REQUIRED, Reason.REVOKED)

    def test_a_dead_code_connects_nobody(self, user: Any, fake: FakeProvider) -> None:
        finish = self.begun(user, fake)
        if self.found.refresh == "again":  # there are no codes
            fake.remove_client(OWN_CLIENT_ID)
            assert type(self.raised_by(finish)) is ClientRejected
        else:
            fake.expire_codes()
            error = self.raised_by(finish)
            assert (type(error), error.code) == (InvalidState, "code_rejected")
        assert not ConnectedAccount.objects.exists()

    def begun(self, user: Any, fake: FakeProvider) -> Callable[[], ConnectedAccount]:
        type(self).inputs = self.asked
        return self.begin(user, fake)

    def test_a_wrong_client_is_the_sites_fault(self, user: Any, fake: FakeProvider) -> None:
        finish = self.begun(user, fake)
        for client in list(fake._server.clients):
            fake.remove_client(client.client_id)
        assert type(self.raised_by(finish)) is ClientRejected
        assert not ConnectedAccount.objects.exists()

    def test_a_disconnected_grant_is_withdrawn_where_there_is_a_way(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        fake.requests.clear()
        revocation = disconnect(account)
        assert revocation is not None
        revoke_pending()
        revocation.refresh_from_db()
        if self.found.options.get("revocation_endpoint"):
            assert revocation.outcome == Outcome.REVOKED
            assert [grant.is_alive for grant in fake.grants] == [False]
        else:
            assert (revocation.outcome, fake.requests) == (Outcome.UNSUPPORTED, [])

    def test_a_token_that_has_run_out_ends_its_own_grant_all_the_same(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        by_itself = self.found.options.get("revocation_auth_method") == "bearer"
        fake.expire_access_tokens()
        revocation = disconnect(account)
        assert revocation is not None
        revoke_pending()
        revocation.refresh_from_db()
        if by_itself and not self.renewable:
            assert revocation.outcome == Outcome.ALREADY_GONE
        elif by_itself:
            assert revocation.outcome == Outcome.REVOKED
            assert [grant.is_alive for grant in fake.grants] == [False]
        else:
            assert revocation.outcome in (Outcome.REVOKED, Outcome.UNSUPPORTED)

    def test_an_answer_that_names_nobody_connects_nobody(
        self, user: Any, fake: FakeProvider
    ) -> None:
        source = get_provider(self.alias).identity_source
        if source == "none":
            assert connect_account(fake, user, subject="4711").subject == HOST
            return
        if source == "userinfo":
            fake.script("identity", Answer(200, {"unknown": 1}))
        else:
            fake.script("token", Answer(200, {"access_token": "canary-access-1"}))
        error = self.raised_by(lambda: connect_account(fake, user, subject="4711"))
        assert type(error) is UnexpectedResponse
        assert not ConnectedAccount.objects.exists()

    def test_a_call_of_the_api_carries_the_token_the_services_way(
        self, account: ConnectedAccount, fake: FakeProvider
    ) -> None:
        provider = get_provider(self.alias)
        fake.script("api", Answer(200, {}))
        response = get_session(account).get("anything")
        [sent] = fake.sent_to("api")
        token = account.open_token()["access_token"]
        assert response.status_code == 200
        own = provider.access_token_header
        if provider.bearer_method == "query":
            assert sent.url.endswith(f"?access_token={token}")
        elif own:
            assert (sent.headers[own], sent.bearer) == (token, "")
        else:
            assert sent.bearer == token
        for name, value in provider.headers.items():
            assert sent.headers[name] == value.replace("{client_id}", CLIENT_ID)
        made = "registration_endpoint" in self.found.options or self.found.refresh == "again"
        assert ProviderClient.objects.exists() is made
