"""Bits: the contract, and what only Bits does."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import (
    AuthorizationDenied,
    ClientRejected,
    ConfigurationError,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, ProviderClient, Status
from connected_accounts.providers.bits import CLAIMS
from connected_accounts.providers.inputs import ConnectField
from connected_accounts.providers.registry import get_provider
from connected_accounts.refresh.drain import drain
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    disconnect,
    get_access_token,
    get_session,
    refresh,
)
from connected_accounts.testing import CANARY, Answer, FakeProvider
from connected_accounts.testing.conformance import ClientCredentialsContract, NoRevocationCases
from tests.providers.harness import (
    CLIENT_ID,
    CLIENT_SECRET,
    OWN_CLIENT_ID,
    OWN_CLIENT_SECRET,
    Harness,
)

HOUR = timedelta(hours=1)
NEW_SECRET = f"{CANARY}rotated-secret"


class OfBits(Harness):
    alias = "bits"
    backend = "connected_accounts.providers.bits.Bits"
    subject = "bits:customer::e0d429f2-635b-418c-8b74-4a554f82c0bc"
    label = ""
    life = 3600


class TestBits(OfBits, ClientCredentialsContract, NoRevocationCases):
    # Where it is.

    def test_the_addresses_are_those_of_the_documents(self):
        endpoints = get_provider("bits").endpoints()

        assert endpoints.token_endpoint == "https://api.bits.bi/v1/oauth2/token"
        assert endpoints.userinfo_endpoint == "https://api.bits.bi/v1/oauth2/userinfo"
        assert endpoints.api_base_url == "https://api.bits.bi/v1"
        assert endpoints.revocation_endpoint == ""

    @pytest.mark.parametrize("path", ["/me", "me"])
    def test_host_and_path_are_options(self, path: str):
        self.configure(options={"api_base": "https://bits.example/", "userinfo_path": path})

        endpoints = get_provider("bits").endpoints()

        assert endpoints.token_endpoint == "https://bits.example/v1/oauth2/token"
        assert endpoints.userinfo_endpoint == "https://bits.example/me"

    # What is sent.

    def test_the_token_request_is_a_form_with_the_credentials_in_the_header(
        self, user: Any, fake: FakeProvider
    ):
        self.begin(user, fake)()

        [sent] = fake.sent_to("token")
        credentials = f"{OWN_CLIENT_ID}:{OWN_CLIENT_SECRET}".encode()
        basic = base64.b64encode(credentials).decode()
        assert sent.headers["Authorization"] == f"Basic {basic}"
        assert sent.form == {"grant_type": "client_credentials"}

    def test_credentials_are_not_percent_encoded(self, user: Any, fake: FakeProvider):
        secret = f"{CANARY}+/%40=é".encode("ascii", "ignore").decode()
        fake.add_client("a+b", secret)

        account = self.connect_directly(user, client_id="a+b", client_secret=secret)

        assert account.client_id == "a+b"

    def test_a_scope_is_sent_only_where_settings_name_it(self, user: Any, fake: FakeProvider):
        account = self.begin(user, fake)()
        assert account.scopes_requested == ["application"]
        self.configure(SCOPES=["application", "application.read"])
        account = self.begin(user, fake)()
        refresh(account)

        sent = [request.form.get("scope") for request in fake.sent_to("token") if request.form]
        assert sent == [None, "application application.read", "application application.read"]
        assert self.stored(account).scopes_granted == ["application", "application.read"]

    # The answer.

    @pytest.mark.parametrize("named", ["type", "token_type"])
    def test_another_type_of_token_is_refused(self, user: Any, fake: FakeProvider, named: str):
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("token_success", **{"type": ..., named: "mac"}))

        assert self.raised_by(finish).code == "token_type"

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_a_refused_token_request_is_the_credentials_fault(self, status: int):
        error = get_provider("bits").classify_error(status, {"message": "No"})

        assert type(error) is ClientRejected

    def test_a_refused_request_is_not_taken_for_refused_credentials(self):
        error = get_provider("bits").classify_error(400, {"error": "invalid_scope"})

        assert type(error) is UnexpectedResponse

    # Whose it is.

    def test_where_userinfo_is_missing_it_is_asked_for_as_it_is_printed(self, fake: FakeProvider):
        fake.script("identity", self.recorded("identity_missing"))

        identity = self.identity_from(fake, self.recorded("identity"))

        assert identity.subject == self.subject
        assert [request.url for request in fake.sent_to("identity")] == [
            "https://api.bits.bi/v1/oauth2/userinfo",
            "https://api.bits.bi/oauth2/userinfo",
        ]

    def test_without_either_there_is_no_identity(self, fake: FakeProvider):
        fake.script("identity", self.recorded("identity_missing"))

        error = self.raised_by(lambda: self.identity_from(fake, self.recorded("identity_missing")))

        assert error.status == 404

    def test_an_address_of_the_sites_own_is_the_only_one_asked(self, fake: FakeProvider):
        self.configure(options={"userinfo_path": "/v2/me"})
        with FakeProvider("bits") as fake:
            error = self.raised_by(
                lambda: self.identity_from(fake, self.recorded("identity_missing"))
            )
            assert error.status == 404
            assert len(fake.requests) == 1

    def test_the_subject_stands_where_the_option_says(self, fake: FakeProvider):
        self.configure(options={"subject_path": "customer.id"})
        answer = Answer(200, {"customer": {"id": 7}, "customerId": "x"})

        assert self.identity_from(fake, answer).subject == "7"
        error = self.raised_by(lambda: self.identity_from(fake, self.recorded("identity")))
        assert error.code == "no_identity"

    # Lazily, or ahead.

    def due_in(self, account: ConnectedAccount) -> timedelta | None:
        when = self.stored(account).refresh_at
        return None if when is None else when - timezone.now()

    def test_nothing_is_asked_for_until_the_token_is_used(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake)
        fake.requests.clear()
        assert self.due_in(account) is None

        drain("bits", now=timezone.now() + 3 * HOUR)

        assert fake.requests == []

    def test_a_site_that_wants_it_warm_has_it_renewed_by_beat(self, user: Any, fake: FakeProvider):
        self.configure(REFRESH_POLICY="ahead")
        account = self.connect(user, fake)
        due = self.due_in(account)
        assert due is not None
        assert timedelta(0) < due < HOUR
        ConnectedAccount.objects.update(refresh_at=timezone.now())
        fake.script("token", self.recorded("token_refreshed"))

        drain("bits")

        assert get_access_token(account) == "canary-access-2"

    def test_a_call_of_the_api_renews_a_token_that_has_died(self, user: Any, fake: FakeProvider):
        account = self.begin(user, fake)()
        fake.advance(minutes=1)
        fake.expire_access_tokens()
        fake.requests.clear()

        answer = get_session(account).get("applications")

        assert answer.status_code == 404  # the fake knows no such thing, and took the new token
        assert [r.endpoint for r in fake.requests] == ["api", "token", "api"]
        assert fake.requests[-1].url == "https://api.bits.bi/v1/applications"

    # Two owners.

    def test_the_site_and_a_person_hold_accounts_of_their_own(self, user: Any, fake: FakeProvider):
        site, own = self.begin(None, fake)(), self.begin(user, fake)()

        assert (site.subject, own.subject) == (CLIENT_ID, OWN_CLIENT_ID)
        assert list(ConnectedAccount.objects.for_user(user)) == [own]
        tokens = {get_access_token(site), get_access_token(own)}
        assert tokens == {grant.access_token for grant in fake.grants}
        assert len(tokens) == 2
        assert not ProviderClient.objects.filter(client_id=CLIENT_ID).exists()
        disconnect(own)
        revoke_pending()
        assert not ProviderClient.objects.exists()
        refresh(site)

    def test_credentials_of_another_customer_do_not_reconnect_an_account(
        self, user: Any, fake: FakeProvider
    ):
        account = self.begin(user, fake)()
        fake.add_client("graces-client", NEW_SECRET)

        entered = {"client_id": "graces-client", "client_secret": NEW_SECRET}
        error = self.raised_by(lambda: self.connect_directly(user, account=account, **entered))

        assert type(error) is AuthorizationDenied
        assert error.code == "other_account"
        assert ProviderClient.objects.get().client_id == OWN_CLIENT_ID

    def test_a_rotated_secret_is_entered_on_a_reconnect(self, user: Any, fake: FakeProvider):
        account = self.begin(user, fake)()
        fake.remove_client(OWN_CLIENT_ID)
        fake.add_client(OWN_CLIENT_ID, NEW_SECRET)
        self.raised_by(lambda: refresh(account))
        assert self.stored(account).status == Status.RECONNECT_REQUIRED

        again = self.connect_directly(user, account=account, client_secret=NEW_SECRET)

        assert (again.pk, self.stored(again).status) == (account.pk, Status.ACTIVE)
        assert ProviderClient.objects.count() == 1
        refresh(again)

    def test_credentials_that_end_later_cost_one_request(self, user: Any, fake: FakeProvider):
        self.configure(REFRESH_POLICY="ahead")
        account = self.begin(user, fake)()
        fake.advance(minutes=1)
        fake.withdraw()
        fake.remove_client(OWN_CLIENT_ID)
        fake.requests.clear()

        error = self.raised_by(lambda: get_session(account).get("applications"))

        assert type(error) is ReauthorizationRequired
        assert error.code == "credentials_rejected"
        for hours in range(1, 48):
            drain("bits", now=timezone.now() + hours * HOUR)
            self.raised_by(lambda: get_access_token(account))
        assert [r.endpoint for r in fake.requests] == ["api", "token"]

    def test_the_sites_credentials_that_end_are_tried_less_and_less(self, fake: FakeProvider):
        site = self.begin(None, fake)()
        fake.remove_client(CLIENT_ID)
        fake.requests.clear()
        ConnectedAccount.objects.update(expires_at=timezone.now())
        for _ in range(5):
            self.raised_by(lambda: get_access_token(site))
            drain("bits")
        assert len(fake.requests) == 1

        waits = []
        for _ in range(8):
            ConnectedAccount.objects.update(refresh_at=timezone.now())
            drain("bits")
            waits.append(self.due_in(site) or timedelta(0))

        assert len(fake.requests) == 9
        assert waits[0] > timedelta(minutes=1)
        assert waits[-1] > 0.9 * HOUR
        assert self.stored(site).status == Status.ACTIVE
        fake.add_client(CLIENT_ID, CLIENT_SECRET)
        ConnectedAccount.objects.update(refresh_at=timezone.now())
        drain("bits")
        assert self.stored(site).failure_count == 0


class TestBitsSession(OfBits):
    """The scope that is for one application, and asks which."""

    scopes = ["application.session"]
    inputs = {
        "application_id": "bits:application::1",
        "workflow_id": "bits:workflow::1",
        "redirect_url": "https://site.example/done?a=b",
    }

    def test_two_applications_of_one_customer_are_two_accounts(
        self, user: Any, client: Any, fake: FakeProvider
    ):
        first = self.connect(user, fake)
        fake.add_client("second-id", "canary-second", subject=first.subject.partition(" ")[0])
        values = {**self.inputs, "client_id": "second-id", "client_secret": "canary-second"}
        second, created = connect_directly(
            user=user,
            provider="bits",
            values={**values, "application_id": "bits:application::2"},
        )
        again, anew = connect_directly(
            user=user,
            provider="bits",
            values={**values, "application_id": "bits:application::2"},
        )

        assert (created, anew) == (True, False)
        assert again == second != first
        client.force_login(user)
        page = client.get("/connections/").content.decode()
        assert "bits:application::1" in page
        assert "bits:application::2" in page

    def test_its_claims_are_asked_for(self):
        provider = get_provider("bits")

        assert [field.name for field in provider.asked_fields(for_site=True)] == list(CLAIMS)
        own = [(field.name, field.kind) for field in provider.asked_fields()]
        assert own == [
            ("client_id", "basic_client_id"),
            ("client_secret", "secret"),
            ("application_id", "text"),
            ("workflow_id", "text"),
            ("redirect_url", "url"),
        ]
        assert all(str(field.label)[:1].isupper() for field in provider.asked_fields())

    def test_other_scopes_ask_for_none(self):
        self.configure(SCOPES=["application"])

        assert get_provider("bits").asked_fields(for_site=True) == []

    @pytest.mark.parametrize("owner", ["user", "site"])
    def test_its_claims_are_sent_with_each_token_request(
        self, user: Any, fake: FakeProvider, owner: str
    ):
        account = self.begin(user if owner == "user" else None, fake)()
        refresh(account)

        claimed = {"grant_type": "client_credentials", "scope": "application.session"}
        assert [sent.form for sent in fake.sent_to("token")] == [claimed | self.inputs] * 2
        assert account.inputs == self.inputs
        assert self.stored(account).scopes_granted == ["application.session"]

    def test_the_recorded_answer_is_read(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake, "token_session")

        assert account.scopes_granted == ["application.session"]

    @pytest.mark.parametrize(
        ("claim", "value"),
        [
            ("application_id", ""),
            ("workflow_id", "two\nlines"),
            ("redirect_url", "http://site.example/"),
            ("redirect_url", "https:"),
            ("redirect_url", "https://[broken"),
            ("redirect_url", "https://ada@site.example/"),
            ("redirect_url", "javascript:alert(1)"),
        ],
    )
    def test_a_claim_that_cannot_be_is_refused_before_anything_is_sent(
        self, user: Any, fake: FakeProvider, claim: str, value: str
    ):
        error = self.raised_by(lambda: self.connect_directly(user, **{claim: value}))

        assert type(error) is ConfigurationError
        assert error.code == "inputs"
        assert fake.requests == []
        assert not ConnectedAccount.objects.exists()


def test_a_url_that_is_entered_must_be_https() -> None:
    field = ConnectField("redirect_url", "Redirect URL", "url")

    assert field.fault("https://site.example/done") is None
    assert field.fault("HTTPS://site.example/done") is None
    assert "https" in str(field.fault("http://127.0.0.1/"))
