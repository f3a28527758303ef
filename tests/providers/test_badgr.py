"""Badgr: the contract, and what only Badgr does."""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connected_accounts.exceptions import (
    ClientRejected,
    ProviderUnavailable,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.registry import get_provider, problems
from connected_accounts.services import refresh, start_authorization
from connected_accounts.testing import Answer, FakeProvider, Timeout
from connected_accounts.testing.conformance import CodeContract, RevocationCases
from connected_accounts.tokens.endpoint import revoke_token
from tests.providers.harness import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI

REGIONS = [
    # region, brand, page host, API host
    ("us", "badgr", "badgr.com", "api.badgr.io"),
    ("eu", "badgr", "eu.badgr.com", "api.eu.badgr.io"),
    ("ca", "badgr", "ca.badgr.com", "api.ca.badgr.io"),
    ("au", "badgr", "au.badgr.com", "api.au.badgr.io"),
    ("sg", "badgr", "sg.badgr.com", "api.sg.badgr.io"),
    ("test", "badgr", "test.badgr.com", "api.test.badgr.com"),
    ("demo", "badgr", "demo.badgr.com", "api.demo.badgr.com"),
    ("us", "parchment", "badges.parchment.com", "api.badges.parchment.com"),
    ("eu", "parchment", "badges.parchment.eu", "api.badges.parchment.eu"),
    ("ca", "parchment", "badges.parchment.ca", "api.badges.parchment.ca"),
    ("au", "parchment", "badges.parchment.au", "api.badges.parchment.au"),
    ("sg", "parchment", "badges.parchment.sg", "api.badges.parchment.sg"),
    ("test", "parchment", "test.badges.parchment.com", "api.test.badges.parchment.com"),
    ("demo", "parchment", "demo.badges.parchment.com", "api.demo.badges.parchment.com"),
]
BY_HEADER = {"token_endpoint_auth_method": "client_secret_basic"}


class TestBadgr(CodeContract, RevocationCases):
    alias = "badgr"
    backend = "connected_accounts.providers.badgr.Badgr"
    subject = "tr9sKqDVQ2mHqvW1aGzC7g"
    label = "ada@example.org"
    throttled_for = 512
    error_in_success = ReauthorizationRequired
    outcome_of_unknown = Outcome.REVOKED

    # Where it is.

    @pytest.mark.parametrize(("region", "brand", "page", "api"), REGIONS)
    def test_each_region_has_its_own_hosts(self, region: str, brand: str, page: str, api: str):
        self.configure(options={"region": region, "brand": brand})

        endpoints = get_provider("badgr").endpoints()

        assert endpoints.authorization_endpoint == f"https://{page}/auth/oauth2/authorize"
        assert endpoints.token_endpoint == f"https://{api}/o/token"
        assert endpoints.revocation_endpoint == f"https://{api}/o/revoke_token/"
        assert endpoints.userinfo_endpoint == f"https://{api}/v2/users/self"
        assert endpoints.api_base_url == f"https://{api}"

    def test_a_server_of_ones_own_is_named_by_its_two_hosts(self):
        own = {"ui_base": "https://badges.example/", "api_base": "https://api.badges.example/"}
        self.configure(options=own)

        endpoints = get_provider("badgr").endpoints()

        assert endpoints.authorization_endpoint == "https://badges.example/auth/oauth2/authorize"
        assert endpoints.token_endpoint == "https://api.badges.example/o/token"

    def test_scopes_are_joined_by_spaces_and_pkce_is_used(self, user: Any):
        url = start_authorization(
            user=user, provider="badgr", redirect_uri=REDIRECT_URI, browser_secret=new_secret()
        )

        query = parse_qs(urlsplit(url).query)
        assert query["scope"] == ["r:profile r:backpack"]
        assert query["response_type"] == ["code"]
        assert query["code_challenge_method"] == ["S256"]

    # What is sent.

    def test_the_token_request_is_a_form_with_the_client_in_it(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        [sent] = fake.sent_to("token")
        assert sent.url == "https://api.badgr.io/o/token"
        assert sent.form == {
            "grant_type": "refresh_token",
            "refresh_token": "canary-refresh-1",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        assert "Authorization" not in sent.headers

    def test_the_client_can_go_into_the_header_which_badgr_does_not_decode(self, user: Any):
        secret = f"{CLIENT_SECRET}:%41+/="
        self.configure(options=BY_HEADER, CLIENT_SECRET=secret)
        with FakeProvider("badgr") as fake:
            self.begin(user, fake)()

            [sent] = fake.sent_to("token")
        scheme, _, credentials = sent.headers["Authorization"].partition(" ")
        assert scheme == "Basic"
        assert base64.b64decode(credentials).decode() == f"{CLIENT_ID}:{secret}"
        assert not {"client_id", "client_secret"} & set(sent.fields)

    @pytest.mark.parametrize("name", ["token_wrong_client_secret_basic", "token_unknown_client"])
    def test_refusals_of_the_client_are_read_though_they_are_labelled_as_pages(
        self, account: ConnectedAccount, fake: FakeProvider, name: str
    ):
        error = self.refused_refresh(account, fake, self.recorded(name))

        assert type(error) is ClientRejected
        assert error.code == "invalid_client"

    # What is answered.

    @pytest.mark.parametrize(
        ("told", "waits"),
        [(2, 2), ("64", 64), (0, None), (None, None), ("soon", None), (True, None), ([4], None)],
    )
    def test_the_wait_stands_in_the_body(self, told: Any, waits: float | None):
        error = get_provider("badgr").classify_error(429, {"expires": told})

        assert type(error) is ProviderUnavailable
        assert error.retry_after == waits

    def test_a_wait_beyond_all_measure_is_no_longer_than_an_hour(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        self.refused_refresh(account, fake, Answer(429, {"expires": 10**400}))

        self.assert_is_tried_again(account, may_be_spent=False, failures=0)

    @pytest.mark.parametrize(
        ("scopes", "sent"),
        [
            (["r:backpack"], "r:profile r:backpack"),
            ([], "r:profile"),
            (["rw:profile", "rw:issuer"], "rw:profile rw:issuer"),
            (["rw:issuer", "r:profile"], "rw:issuer r:profile"),
        ],
    )
    def test_the_profile_is_always_asked_for(self, user: Any, scopes: list[str], sent: str):
        self.configure(SCOPES=scopes)
        url = start_authorization(
            user=user, provider="badgr", redirect_uri=REDIRECT_URI, browser_secret=new_secret()
        )
        assert parse_qs(urlsplit(url).query)["scope"] == [sent]

    @pytest.mark.parametrize(
        ("scopes", "options", "strange"),
        [
            (["r:backpack", "rw:issuer"], {}, ""),
            (["r:badges"], {}, "r:badges"),
            (["r:issuer"], {}, ""),
            (["r:issuer"], {"api_base": "https://api.example.org"}, "r:issuer"),
        ],
    )
    def test_a_scope_at_which_badgr_would_keep_the_person_is_told_by_the_checks(
        self, scopes: list[str], options: dict[str, str], strange: str
    ):
        self.configure(SCOPES=scopes, options=options)
        found = [problem for problem in problems() if problem.id == "W008"]
        assert [strange in problem.message for problem in found] == [True] * bool(strange)

    def test_scopes_may_come_as_a_list(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake, "token_scope_list")

        assert account.scopes_granted == ["r:profile", "rw:issuer"]

    @pytest.mark.parametrize("life", [10**400, -(10**400), "1e999", 1e308, "soon", True, [1], {}])
    def test_a_life_that_cannot_be_does_not_lose_the_tokens(
        self, user: Any, fake: FakeProvider, life: Any
    ):
        account = self.connect(user, fake, expires_in=life)

        assert account.open_token()["refresh_token"] == "canary-refresh-1"

    def test_scopes_that_no_database_takes_are_left_out(self, user: Any, fake: FakeProvider):
        account = self.connect(user, fake, scope="r:profile a\x00b half\ud83d")

        assert account.scopes_granted == ["r:profile"]

    # Who it is.

    def test_a_missing_identity_endpoint_gives_way_to_the_next(self, fake: FakeProvider):
        missing = self.recorded("identity_not_found")
        fake.script("identity", missing, missing)

        identity = self.identity_from(fake, self.recorded("identity_v1"))

        assert (identity.subject, identity.label) == (self.subject, self.label)
        assert [urlsplit(sent.url).path for sent in fake.sent_to("identity")] == [
            "/v2/users/self",
            "/v2/user/profile",
            "/v1/user/profile",
        ]
        assert {sent.bearer for sent in fake.requests} == {"canary-access-1"}

    def test_without_any_identity_endpoint_there_is_no_identity(self, fake: FakeProvider):
        missing = self.recorded("identity_not_found")
        fake.script("identity", missing, missing)

        error = self.raised_by(lambda: self.identity_from(fake, missing))

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    @pytest.mark.parametrize("answer", [Timeout(), Answer(503, body="canary"), Answer(429)])
    def test_an_identity_endpoint_in_trouble_is_not_passed_by(
        self, fake: FakeProvider, answer: Any
    ):
        error = self.raised_by(lambda: self.identity_from(fake, answer))

        assert type(error) is ProviderUnavailable
        assert len(fake.sent_to("identity")) == 1

    def test_a_refused_identity_is_not_passed_by(self, fake: FakeProvider):
        refused = self.recorded("identity_refused")

        error = self.raised_by(lambda: self.identity_from(fake, refused))

        assert (type(error), error.code) == (UnexpectedResponse, "status_401")
        assert len(fake.sent_to("identity")) == 1

    @pytest.mark.parametrize(
        ("profile", "label"),
        [
            ({"emails": [{"email": "a@b.example", "verified": True, "primary": False}]}, "Ada L"),
            ({"emails": [{"email": "a@b.example", "verified": False, "primary": True}]}, "Ada L"),
            ({"emails": "none", "email": "ada@c.example"}, "ada@c.example"),
            ({"emails": [None, 7]}, "Ada L"),
            ({"firstName": None, "lastName": "L"}, "L"),
            ({"firstName": None, "lastName": None}, ""),
        ],
    )
    def test_the_label_is_what_a_person_would_recognise(
        self, fake: FakeProvider, profile: dict[str, Any], label: str
    ):
        person = {"entityId": "one", "firstName": "Ada", "lastName": "L", **profile}

        identity = self.identity_from(fake, Answer(200, {"result": [person]}))

        assert (identity.subject, identity.label) == ("one", label)

    @pytest.mark.parametrize("text", ["\x00", "half \ud83d"])
    @pytest.mark.parametrize("place", ["entityId", "firstName"])
    def test_an_identity_that_no_database_takes_is_refused(
        self, fake: FakeProvider, place: str, text: str
    ):
        person = {"entityId": "one", "firstName": "Ada", place: text}

        error = self.raised_by(lambda: self.identity_from(fake, Answer(200, {"result": [person]})))

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    @pytest.mark.parametrize("document", [{"result": []}, {"result": [{"entityId": 7}]}, [], "x"])
    def test_a_profile_without_an_id_is_no_identity(self, fake: FakeProvider, document: Any):
        error = self.raised_by(lambda: self.identity_from(fake, Answer(200, document)))

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    # How it ends.

    def test_the_refresh_token_is_revoked_at_the_address_with_the_slash(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        self.revoked(account, fake, "revoke_done")

        [sent] = fake.sent_to("revocation")
        assert sent.url == "https://api.badgr.io/o/revoke_token/"
        assert sent.form == {
            "token": "canary-refresh-1",
            "token_type_hint": "refresh_token",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }

    def test_without_a_refresh_token_the_access_token_is_revoked(self, fake: FakeProvider):
        fake.script("revocation", self.recorded("revoke_done"))
        provider = get_provider("badgr")

        outcome = revoke_token(provider, provider.endpoints(), {"access_token": "canary-access-1"})

        [sent] = fake.sent_to("revocation")
        assert outcome is Outcome.REVOKED
        assert (sent.fields["token"], sent.fields["token_type_hint"]) == (
            "canary-access-1",
            "access_token",
        )

    def test_a_revocation_names_the_client_in_the_header_too(self, user: Any):
        self.configure(options=BY_HEADER)
        with FakeProvider("badgr") as fake:
            self.revoked(self.connect(user, fake), fake, "revoke_done")

            [sent] = fake.sent_to("revocation")
        assert sent.basic(form_encoded=False) == (CLIENT_ID, CLIENT_SECRET)
        assert set(sent.fields) == {"token", "token_type_hint"}
