"""Any OAuth 2.0 server: the contract, identity by path, and an issuer that tells the rest."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.conf import provider_config
from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Outcome, Revocation
from connected_accounts.oauth2 import discovery
from connected_accounts.oauth2.token import value_at
from connected_accounts.providers.generic import OAuth2
from connected_accounts.services import refresh
from connected_accounts.testing import CANARY, Answer, FakeProvider
from connected_accounts.testing.conformance import (
    ClientCredentialsContract,
    CodeContract,
    NoRevocationCases,
    PersonalTokenContract,
    RevocationCases,
)
from tests.providers.harness import CLIENT_ID, Harness

ISSUER = "https://login.example"


def id_token(**claims: Any) -> str:
    """An id_token as it would come, but for its signature."""
    body = {
        "iss": ISSUER,
        "aud": CLIENT_ID,
        "exp": timezone.now().timestamp() + 300,
        "sub": "248289761001",
        **claims,
    }
    parts = [{"alg": "RS256"}, {k: v for k, v in body.items() if v is not ...}]
    coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*coded, f"{CANARY}signature"])


class TestGeneric(CodeContract, RevocationCases):
    alias = "generic"
    backend = "connected_accounts.providers.generic.OAuth2"
    subject = "248289761001"
    label = "ada@example.org"
    scopes = ["profile", "email"]
    outcome_of_unknown = Outcome.REVOKED
    life = 3600
    options = {
        "authorization_endpoint": "https://login.example/authorize",
        "token_endpoint": "https://login.example/token",
        "revocation_endpoint": "https://login.example/revoke",
        "userinfo_endpoint": "https://api.example/me",
        "api_base_url": "https://api.example/v1",
    }

    @pytest.mark.parametrize(
        ("path", "found"),
        [("sub", "1"), ("user.id", 7), ("list.0.id", "x"), ("user", None), ("no", None)],
    )
    def test_a_path_names_a_plain_value(self, path: str, found: Any):
        document = {"sub": "1", "user": {"id": 7, "on": True}, "list": [{"id": "x"}]}
        assert value_at(document, path) == found
        assert value_at(document, "user.on") is None

    def test_a_number_is_a_subject_and_zero_is_one_too(self, user: Any, fake: FakeProvider):
        self.configure(options={"subject_path": "id", "label_path": "login"})
        for number in (583231, 0):
            finish = self.begin(user, fake)
            fake.script("token", self.recorded("token_success"))
            fake.script("identity", Answer(200, json={"id": number, "login": "octocat"}))
            account = finish()
            assert (account.subject, account.label) == (str(number), "octocat")

    def test_without_issuer_and_endpoints_the_settings_are_wrong(self):
        self.configure()
        options = {"token_endpoint": "https://x.example"}
        config = provider_config("generic")._replace(options=options)
        assert [problem.id for problem in OAuth2.problems(config)] == ["E015"]


class TestGenericClientCredentials(ClientCredentialsContract, RevocationCases):
    alias = "generic"
    backend = TestGeneric.backend
    subject = TestGeneric.subject
    label = TestGeneric.label
    scopes = TestGeneric.scopes
    life = TestGeneric.life
    outcome_of_unknown = Outcome.REVOKED
    revoked_token = "canary-access-1"
    options = {
        "grant_type": "client_credentials",
        "token_endpoint": "https://login.example/token",
        "revocation_endpoint": "https://login.example/revoke",
        "userinfo_endpoint": "https://api.example/me",
        "api_base_url": "https://api.example/v1",
    }

    def recorded(self, name: str, **changes: Any) -> Answer:
        # RFC 6749 4.4.3: a refresh token should not be included.
        return super().recorded(name, **{"refresh_token": ..., **changes})


class TestGenericPersonalToken(PersonalTokenContract, NoRevocationCases):
    alias = "generic"
    backend = TestGeneric.backend
    subject = TestGeneric.subject
    label = TestGeneric.label
    options = {
        "grant_type": "personal_token",
        "userinfo_endpoint": "https://api.example/me",
        "api_base_url": "https://api.example/v1",
    }


def with_issuer(**options: Any) -> dict[str, Any]:
    return {**TestGeneric.options, "issuer": ISSUER, **options}


class TestIdToken(Harness):
    """An issuer, with its endpoints written out: what an id_token must say to be believed."""

    alias = "generic"
    backend = TestGeneric.backend
    scopes = ["openid", "email"]
    options = with_issuer(identity_source="id_token")

    @pytest.fixture(autouse=True)
    def _discovered(self) -> Iterator[None]:
        discovery.clear_cache()
        discovery.cached_document(f"issuer:{ISSUER}", lambda: ({"issuer": ISSUER}, 3600.0))
        yield
        discovery.clear_cache()

    def connect_with(self, user: Any, fake: FakeProvider, **claims: Any) -> ConnectedAccount:
        finish = self.begin(user, fake)
        nonce = AuthorizationRequest.objects.latest("pk").oidc_nonce
        token = id_token(**{"nonce": nonce, "email": "ada@example.org", **claims})
        fake.script("token", self.recorded("token_success", id_token=token))
        return self.stored(finish())

    def test_its_claims_say_who_it_is(self, user: Any, fake: FakeProvider):
        account = self.connect_with(user, fake)
        assert (account.subject, account.label) == ("248289761001", "ada@example.org")
        assert not fake.sent_to("identity")

    @pytest.mark.parametrize(
        "claims",
        [
            {"iss": "https://evil.example"},
            {"iss": ...},
            {"aud": "another-client"},
            {"aud": [CLIENT_ID, "another"]},
            {"aud": ...},
            {"exp": 1},
            {"exp": "soon"},
            {"exp": ...},
            {"nonce": "another"},
            {"nonce": ...},
            {"sub": ...},
            {"sub": ""},
        ],
        ids=str,
    )
    def test_a_claim_that_is_wrong_connects_nobody_and_withdraws_the_grant(
        self, user: Any, fake: FakeProvider, claims: dict[str, Any]
    ):
        error = self.raised_by(lambda: self.connect_with(user, fake, **claims))
        assert isinstance(error, UnexpectedResponse)
        assert not ConnectedAccount.objects.exists()
        assert Revocation.objects.get().outcome == "pending"

    @pytest.mark.parametrize("token", ["x", "a.b.c", "a.!!!.c", "..", "e30.e30.e30", "a" * 40000])
    def test_what_is_no_id_token_connects_nobody(self, user: Any, fake: FakeProvider, token: str):
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("token_success", id_token=f"{CANARY}{token}"))
        assert isinstance(self.raised_by(finish), UnexpectedResponse)
        assert not ConnectedAccount.objects.exists()

    def test_several_audiences_need_an_authorized_party(self, user: Any, fake: FakeProvider):
        audience = [CLIENT_ID, "another"]
        assert self.connect_with(user, fake, aud=audience, azp=CLIENT_ID).status == "active"

    def test_userinfo_of_somebody_else_is_not_used(self, user: Any, fake: FakeProvider):
        self.configure(options=with_issuer(identity_source="userinfo"))
        fake.script("identity", Answer(200, json={"sub": "somebody-else"}))
        error = self.raised_by(lambda: self.connect_with(user, fake))
        assert error.code == "userinfo_sub"

    def test_a_refresh_whose_id_token_names_another_ends_the_grant(
        self, user: Any, fake: FakeProvider
    ):
        account = self.connect_with(user, fake)
        token = id_token(sub="somebody-else")
        fake.script("token", self.recorded("token_refreshed", id_token=token))
        assert self.raised_by(lambda: refresh(account)).code == "identity_changed"

    def test_a_refresh_whose_id_token_is_unreadable_is_stored_all_the_same(
        self, user: Any, fake: FakeProvider
    ):
        account = self.connect_with(user, fake)
        first = self.stored(account).open_token()["id_token"]
        for number, bad in enumerate([id_token(iss="x", sub="y"), id_token(aud="x"), "garbage"], 2):
            answer = {"id_token": bad, "refresh_token": f"canary-refresh-{number}"}
            fake.script("token", self.recorded("token_refreshed", **answer))
            refresh(account)
            document = self.stored(account).open_token()
            assert document["refresh_token"] == f"canary-refresh-{number}"
            assert document["id_token"] == first

    def test_a_repeated_id_token_that_has_expired_is_no_fault(self, user: Any, fake: FakeProvider):
        account = self.connect_with(user, fake)
        again = {"id_token": id_token(exp=1)}
        fake.script("token", self.recorded("token_refreshed", **again))
        refresh(account)
        assert account.status == "active"

    def test_an_expired_id_token_that_names_another_ends_the_grant(
        self, user: Any, fake: FakeProvider
    ):
        account = self.connect_with(user, fake)
        other = {"id_token": id_token(exp=1, sub="somebody-else")}
        fake.script("token", self.recorded("token_refreshed", **other))
        assert self.raised_by(lambda: refresh(account)).code == "identity_changed"

    def test_a_userinfo_endpoint_of_another_kind_need_not_name_the_sub(
        self, user: Any, fake: FakeProvider
    ):
        self.configure(options=with_issuer(identity_source="userinfo", subject_path="id"))
        fake.script("identity", Answer(200, json={"id": 77}))
        assert self.connect_with(user, fake).subject == "77"

    def test_without_openid_no_nonce_is_sent(self, user: Any, fake: FakeProvider):
        self.configure(SCOPES=["profile"])
        self.begin(user, fake)
        assert AuthorizationRequest.objects.get().oidc_nonce == ""
