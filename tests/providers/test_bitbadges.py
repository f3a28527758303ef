"""BitBadges: the contract over both of its dialects, and what only BitBadges does."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Outcome, Revocation, Status
from connected_accounts.oauth2.state import new_secret
from connected_accounts.oauth2.token import read_token_response
from connected_accounts.providers.bitbadges import LABELS, SCOPES
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import refresh, start_authorization
from connected_accounts.testing import Answer, FakeProvider
from connected_accounts.testing.conformance import CodeContract, RevocationCases
from connected_accounts.web.failures import failure_for
from tests.providers.harness import API_KEY, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, assert_hidden

ADDRESS = "bb1qexample0000000000000000000000000000ada"
OLD_ADDRESS = "cosmos1qexample000000000000000000000000ada"
API = "https://api.bitbadges.io/api/v0"
MESSAGES = [
    # Today's, under status 500
    (500, "Invalid code.", ReauthorizationRequired, "revoked"),
    (500, "Expired.", ReauthorizationRequired, "revoked"),
    (500, "Not recent enough. Please sign in again.", ReauthorizationRequired, "revoked"),
    (500, "Invalid refresh token.", ReauthorizationRequired, "revoked"),
    (500, "Invalid refresh token", ReauthorizationRequired, "revoked"),
    (500, "Refresh token expired.", ReauthorizationRequired, "refresh_token_expired"),
    (500, "Invalid client secret.", ClientRejected, "client_rejected"),
    (500, "Invalid client ID or redirect URI.", ClientRejected, "client_rejected"),
    (500, "Invalid redirect URI.", ClientRejected, "client_rejected"),
    (500, "Invalid grant type.", ProviderUnavailable, "status_500"),
    (500, "Something went wrong.", ProviderUnavailable, "status_500"),
    (400, "Invalid request payload. [...]", UnexpectedResponse, "status_400"),
    (
        401,
        "Unauthorized request. Error validating API key.",
        ClientRejected,
        "client_rejected",
    ),
    (402, "Insufficient credits", ClientRejected, "client_rejected"),
    (402, "", ClientRejected, "client_rejected"),
    (429, "Exceeded rate limit. Too many requests,", ProviderUnavailable, "status_429"),
    # Those of the first dialect, most under status 400
    (400, "Invalid client credentials", ClientRejected, "client_rejected"),
    (400, "Invalid client credentials. No app found.", ClientRejected, "client_rejected"),
    (400, "Invalid redirect URI", ClientRejected, "client_rejected"),
    (400, "Authorization code has expired", ReauthorizationRequired, "revoked"),
    (400, "Invalid refresh token", ReauthorizationRequired, "revoked"),
    (400, "Token has expired", ReauthorizationRequired, "refresh_token_expired"),
    (400, "Unsupported grant type", UnexpectedResponse, "status_400"),
    (
        500,
        "Error in mustGetFromDB(): Could not find doc w/ id 5f2c",
        ProviderUnavailable,
        "status_500",
    ),
]


class BitBadgesContract(CodeContract, RevocationCases):
    alias = "bitbadges"
    backend = "connected_accounts.providers.bitbadges.BitBadges"
    subject = ADDRESS
    label = ADDRESS
    revoked_token = "canary-access-1"
    outcome_of_unknown = Outcome.ALREADY_GONE

    def authorization_query(self, user: Any) -> dict[str, list[str]]:
        url = start_authorization(
            user=user, provider=self.alias, redirect_uri=REDIRECT_URI, browser_secret=new_secret()
        )
        return parse_qs(urlsplit(url).query)

    def read(self, **payload: Any) -> Any:
        return read_token_response(get_provider(self.alias).parse_token_response(payload))


class TestBitBadges(BitBadgesContract):
    # Where it is, and what is asked for.

    def test_todays_endpoints_are_the_default(self):
        endpoints = get_provider("bitbadges").endpoints()

        assert endpoints.authorization_endpoint == "https://bitbadges.io/siwbb/authorize"
        assert endpoints.token_endpoint == f"{API}/siwbb/token"
        assert endpoints.revocation_endpoint == f"{API}/siwbb/token/revoke"

    def test_the_profile_is_asked_for_without_pkce_by_default(self, user: Any):
        query = self.authorization_query(user)

        assert query["scope"] == ["readProfile"]
        assert "code_challenge" not in query

    def test_several_scopes_are_joined_by_a_comma(self, user: Any):
        self.configure(SCOPES=["readProfile", "completeClaims"])

        assert self.authorization_query(user)["scope"] == ["readProfile,completeClaims"]

    def test_with_no_scopes_the_parameter_is_not_sent_at_all(self, user: Any):
        self.configure(SCOPES=[])

        assert "scope" not in self.authorization_query(user)

    def test_pkce_is_an_option(self, user: Any):
        self.configure(options={"code_challenge_method": "S256"})
        with FakeProvider("bitbadges") as fake:
            self.begin(user, fake)()

            [sent] = fake.sent_to("token")
        assert "code_verifier" in sent.fields

    # What is sent.

    def test_the_refresh_request_is_json_with_the_redirect_uri(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        [sent] = fake.sent_to("token")
        assert sent.form is None
        assert sent.json == {
            "grant_type": "refresh_token",
            "refresh_token": "canary-refresh-1",
            "redirect_uri": REDIRECT_URI,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        # A bearer at the token endpoint would pass for the person's own session.
        assert {"Authorization", "x-api-key"} & set(sent.headers) == set()

    def test_an_api_key_goes_with_every_call(self, user: Any):
        self.configure(options={"api_key": API_KEY})
        with FakeProvider("bitbadges") as fake:
            account = self.begin(user, fake)()
            refresh(account)
            self.revoked(account, fake, "revoke_done")

            assert [sent.headers.get("x-api-key") for sent in fake.requests] == [API_KEY] * 3
        assert_hidden(get_provider("bitbadges"), get_provider("bitbadges").config)

    # What is answered.

    @pytest.mark.parametrize(("status", "text", "kind", "code"), MESSAGES)
    def test_a_failure_is_told_by_its_text(self, status: int, text: str, kind: type, code: str):
        for key in ("errorMessage", "error"):
            error = get_provider("bitbadges").classify_error(status, {key: text})

            assert (type(error), error.code) == (kind, code)
            assert not text or text not in str(error)

    def test_an_expired_refresh_token_is_told_from_a_withdrawn_one(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        expired = self.recorded("token_expired_refresh_token")

        error = self.refused_refresh(account, fake, expired)

        assert type(error) is ReauthorizationRequired
        row = self.stored(account)
        assert (row.status, row.reason) == (Status.RECONNECT_REQUIRED, "refresh_token_expired")

    @pytest.mark.parametrize("life", ["<ms in 3600>", "<ms text in 3600>"])
    def test_the_grant_is_renewed_before_the_refresh_token_itself_runs_out(
        self, user: Any, fake: FakeProvider, life: str
    ):
        account = self.connect(user, fake, refresh_token_expires_at=life)

        assert account.refresh_token_expires_at is not None
        lives = account.refresh_token_expires_at - account.connected_at
        assert timedelta(seconds=3595) <= lives <= timedelta(seconds=3600)
        assert account.refresh_at is not None
        assert account.refresh_at < account.refresh_token_expires_at

    @pytest.mark.parametrize(
        ("moment", "life"),
        [(1000, None), ("1000", None), (-5, None), (10**400, None), ("soon", None), ([], None)],
    )
    def test_a_moment_that_cannot_be_is_not_believed(self, moment: Any, life: int | None):
        token = self.read(access_token="canary-access-1", access_token_expires_at=moment)

        assert token.expires_in == life

    def test_the_public_address_is_no_token(self, user: Any, fake: FakeProvider):
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("token_is_the_address"))

        error = self.raised_by(finish)

        assert (type(error), error.code) == (UnexpectedResponse, "token_is_the_public_address")
        assert not ConnectedAccount.objects.exists()

    @pytest.mark.parametrize("key", ["bitbadgesAddress", "cosmosAddress", "address"])
    @pytest.mark.parametrize("token", ["access_token", "accessToken"])
    def test_no_spelling_of_the_address_is_a_token(self, key: str, token: str):
        error = self.raised_by(lambda: self.read(**{token: "bb1one", key: "bb1one"}))

        assert (type(error), error.code) == (UnexpectedResponse, "token_is_the_public_address")

    def test_what_a_person_does_not_own_gives_no_token(self, user: Any, fake: FakeProvider):
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("token_ownership_failed"))

        error = self.raised_by(finish)

        assert (type(error), error.code) == (UnexpectedResponse, "verification_failed")

    def test_a_401_in_other_words_is_not_of_the_client(self):
        said = {"errorMessage": "Something else."}
        error = get_provider("bitbadges").classify_error(401, said)

        assert (type(error), error.code) == (UnexpectedResponse, "status_401")

    def test_an_answer_that_says_itself_that_it_did_not_succeed_is_refused_and_revoked(
        self, user: Any, fake: FakeProvider
    ):
        finish = self.begin(user, fake)
        failed = {"success": False, "errorMessage": "You do not own the badge."}
        fake.script("token", self.recorded("token_success", verificationResponse=failed))

        error = self.raised_by(finish)

        assert (type(error), error.code) == (UnexpectedResponse, "verification_failed")
        assert failure_for(error).status == 403
        assert not ConnectedAccount.objects.exists()
        assert Revocation.objects.get().outcome == Outcome.PENDING

    @pytest.mark.parametrize("said", [None, {}, {"success": True}, {"success": None}, "x"])
    def test_what_says_nothing_of_a_failure_is_none(self, user: Any, fake: FakeProvider, said: Any):
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("token_success", verificationResponse=said))

        assert finish().subject == ADDRESS

    def test_a_refresh_keeps_the_new_pair_whatever_it_says_of_the_check(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        failed = {"success": False}
        fake.script("token", self.recorded("token_refreshed", verificationResponse=failed))

        refresh(account)

        stored = ConnectedAccount.objects.get(pk=account.pk).open_token()
        assert stored["access_token"] == "canary-access-2"

    def test_what_the_person_chose_is_read_where_nothing_was_asked_for(
        self, user: Any, client: Any
    ):
        self.configure(SCOPES=[])
        chosen = ["readProfile", "embeddedWallet"]
        listed = [{"scopeName": name, "scopeId": name, "options": {}} for name in chosen]
        with FakeProvider("bitbadges") as fake:
            finish = self.begin(user, fake)
            fake.script("identity", Answer(200, {"signedIn": True, "scopes": listed}))

            account = finish()

            [asked] = fake.sent_to("identity")
        assert (asked.method, asked.json) == ("POST", {})
        assert (account.scopes_requested, account.scopes_granted) == ([], chosen)
        client.force_login(user)
        page = client.get("/connections/").content.decode()
        assert "ATTENTION: sign transactions for you" in page
        assert "not granted" not in page

    @pytest.mark.parametrize("status", [Answer(500), Answer(200, {"scopes": 5}), Answer(401)])
    def test_a_status_that_does_not_tell_ends_no_connection(self, user: Any, status: Answer):
        self.configure(SCOPES=[])
        with FakeProvider("bitbadges") as fake:
            finish = self.begin(user, fake)
            fake.script("identity", status)

            assert finish().scopes_granted == []

    def test_where_scopes_were_asked_for_the_status_is_not(self, user: Any, fake: FakeProvider):
        self.begin(user, fake)()

        assert fake.sent_to("identity") == []

    def test_every_scope_has_words(self):
        described = get_provider("bitbadges").scope_descriptions
        assert (len(SCOPES), len(LABELS)) == (18, 19)
        assert all(described[name] for name in (*SCOPES, *LABELS))
        assert "Full Access" not in described  # which the server refused

    @pytest.mark.parametrize(
        ("addresses", "subject"),
        [
            ({"bitbadgesAddress": "bb1", "cosmosAddress": "cosmos1", "address": "0x"}, "bb1"),
            ({"cosmosAddress": "cosmos1", "address": "0x"}, "cosmos1"),
            ({"bitbadgesAddress": "", "cosmosAddress": None, "address": "0x"}, "0x"),
        ],
    )
    def test_the_address_that_is_the_same_everywhere_is_the_subject(
        self, fake: FakeProvider, addresses: dict[str, Any], subject: str
    ):
        identity = self.identity_from(fake, Answer(200, addresses))

        assert (identity.subject, identity.label) == (subject, subject)

    @pytest.mark.parametrize("address", ["bb1\x00", "bb1\ud83d"])
    def test_an_address_that_no_database_takes_is_refused(self, fake: FakeProvider, address: str):
        answer = Answer(200, {"bitbadgesAddress": address})

        error = self.raised_by(lambda: self.identity_from(fake, answer))

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    # How it ends.

    def test_the_access_token_alone_is_sent_to_be_revoked(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        self.revoked(account, fake, "revoke_done")

        [sent] = fake.sent_to("revocation")
        assert sent.url == f"{API}/siwbb/token/revoke"
        assert sent.json == {"token": "canary-access-1"}
        assert "Authorization" not in sent.headers


class TestBitBadgesFirstDialect(BitBadgesContract):
    """The contract again with the endpoints of May 2024; answers are read alike in both."""

    options = {"dialect": "oauth"}
    scopes = ["Complete Claims", "Create Address Lists"]

    def test_the_endpoints_are_those_of_then(self):
        endpoints = get_provider("bitbadges").endpoints()

        assert endpoints.authorization_endpoint == "https://bitbadges.io/oauth"
        assert endpoints.token_endpoint == f"{API}/oauth/token"
        assert endpoints.revocation_endpoint == f"{API}/oauth/token/revoke"

    def test_labels_with_spaces_are_joined_by_a_comma(self, user: Any):
        query = self.authorization_query(user)

        assert query["scope"] == ["Complete Claims,Create Address Lists"]

    def test_the_answer_of_then_is_read(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake, "token_first_dialect")

        assert (account.subject, account.label) == (OLD_ADDRESS, OLD_ADDRESS)
        assert account.scopes_granted == ["Complete Claims", "Create Address Lists"]
        assert account.expires_at is not None
        assert account.refresh_token_expires_at is not None
        document = account.open_token()
        assert document["access_token"] == "canary-access-1"
        assert document["refresh_token"] == "canary-refresh-1"
        assert "_docId" not in document

    def test_scopes_may_be_objects_with_a_name(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake, "token_first_dialect_scope_objects")

        assert account.scopes_granted == ["Complete Claims", "Read Profile"]

    def test_the_server_of_then_gave_no_token_without_scopes(self, user: Any):
        self.configure(SCOPES=[])
        with FakeProvider("bitbadges") as fake:
            error = self.raised_by(self.begin(user, fake))

        assert (type(error), error.code) == (UnexpectedResponse, "token_is_the_public_address")
