"""Badge Connect: the contract, and what only its hosts do."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ProviderUnavailable,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Outcome
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.badge_connect import OB2, OB3
from connected_accounts.providers.registry import get_provider, problems
from connected_accounts.services import get_session, refresh, start_authorization
from connected_accounts.testing import Answer, BadgrBadgeConnect, FakeProvider
from connected_accounts.testing.conformance import CodeContract, RevocationCases
from connected_accounts.web.failures import failure_for
from tests.providers.harness import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI

HOST = "badges.example.org"
OTHER = "other.example.net"
SCOPES = [f"{OB2}profile.readonly", f"{OB2}assertion.readonly", "offline_access"]


class TestBadgeConnect(CodeContract, RevocationCases):
    """With a client that settings name: how a site registers itself is in another module."""

    alias = "badge_connect"
    backend = "connected_accounts.providers.badge_connect.BadgeConnect"
    options = {"hosts": [HOST, OTHER]}
    inputs = {"host": HOST}
    scopes = SCOPES
    subject = f"https://{HOST}/public/profiles/ada"
    faked_subject = f"https://{HOST}/profiles/person-1"
    label = "Ada Example"
    life = 3600
    outcome_of_unknown = Outcome.REVOKED

    def begun(self, user: Any, **inputs: str) -> str:
        return start_authorization(
            user=user,
            provider=self.alias,
            redirect_uri=REDIRECT_URI,
            browser_secret=new_secret(),
            inputs=inputs or self.inputs,
        )

    # What is sent.

    def test_a_token_request_has_basic_and_the_scope(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        [sent] = fake.sent_to("token")
        assert sent.basic(form_encoded=True) == (CLIENT_ID, CLIENT_SECRET)
        assert sent.form == {
            "grant_type": "refresh_token",
            "refresh_token": "canary-refresh-1",
            "scope": " ".join(SCOPES),
        }

    def test_the_code_is_exchanged_with_the_scope_too(self, user: Any, fake: FakeProvider):
        self.begin(user, fake)()

        [sent] = fake.sent_to("token")
        assert sent.fields["scope"] == " ".join(SCOPES)

    def test_a_session_calls_the_api_that_the_host_names(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("api", Answer(200, {"results": []}))

        answer = get_session(account).get("assertions")

        assert answer.url == f"https://{HOST}/ims/ob/v2p1/assertions"
        with pytest.raises(ConfigurationError):
            get_session(account).get(f"https://{OTHER}/ims/ob/v2p1/assertions")

    # Scopes.

    def test_only_what_the_host_offers_is_asked_for(self, user: Any, fake: FakeProvider):
        self.configure(SCOPES=[*SCOPES, f"{OB3}profile.readonly", f"{OB2}never.heard.of"])

        query = parse_qs(urlsplit(self.begun(user)).query)

        assert query["scope"] == [" ".join(SCOPES)]
        assert query["code_challenge_method"] == ["S256"]

    @pytest.mark.parametrize("scopes", [[f"{OB3}profile.readonly"], ["offline_access"], []])
    def test_where_nothing_is_left_nobody_is_sent_away(
        self, user: Any, fake: FakeProvider, scopes: list[str]
    ):
        self.configure(SCOPES=scopes, CLIENT_ID="")

        error = self.raised_by(lambda: self.begun(user))

        assert (type(error), error.code) == (UnexpectedResponse, "no_scope_offered")
        assert {sent.endpoint for sent in fake.requests} == {"discovery"}
        assert not AuthorizationRequest.objects.exists()

    # Who it is.

    @pytest.mark.parametrize(
        ("offered", "code"),
        [
            ("https://purl.imsglobal.org/spec/obc/v1p0/oauth2scope/assertion.readonly", "draft"),
            ("https://purl.imsglobal.org/spec/clr/v1p0/scope/clr.readonly", "clr"),
        ],
    )
    def test_a_host_of_other_scopes_is_answered_with_what_is_missing(
        self, user: Any, offered: str, code: str
    ):
        with FakeProvider(self.alias, inputs=self.inputs) as fake:
            manifest = self.recorded("manifest_v2p1").json
            manifest["badgeConnectAPI"][0]["scopesOffered"] = [offered]
            fake.script("discovery", Answer(200, manifest))

            error = self.raised_by(lambda: self.begun(user))

        assert (type(error), error.code) == (UnexpectedResponse, f"{code}_scopes_only")
        title = str(failure_for(error).title)
        assert title != str(failure_for(UnexpectedResponse("no_manifest")).title)
        assert not AuthorizationRequest.objects.exists()

    def test_open_badges_3_has_a_bare_profile(self, fake: FakeProvider):
        identity = self.identity_from(fake, self.recorded("identity_v3p0"))

        assert identity.subject == f"https://{HOST}/profiles/ada"
        assert identity.label == "Ada Example"

    def test_a_profile_without_an_id_is_known_by_its_address_at_this_host(self, fake: FakeProvider):
        identity = self.identity_from(fake, self.recorded("identity_badgr"))

        assert identity.subject == f"{HOST} ada@example.org"

    @pytest.mark.parametrize(
        "claimed",
        [
            f"https://{OTHER}/public/profiles/ada",
            f"https://{HOST}.evil.example/ada",
            f"http://{HOST}/ada",
            f"https://{HOST}@evil.example/ada",
            f"https://{HOST}/a b",
            "did:web:other.example.net",
            "ada",
        ],
    )
    def test_an_id_that_is_not_the_hosts_own_counts_at_this_host_only(
        self, fake: FakeProvider, claimed: str
    ):
        answer = self.recorded("identity", profile={"id": claimed, "name": "Ada"})

        assert self.identity_from(fake, answer).subject == f"{HOST} {claimed}"

    def test_one_host_cannot_take_over_the_account_of_another(self, user: Any, fake: FakeProvider):
        mine = self.connect(user, fake)
        with FakeProvider(self.alias, inputs={"host": OTHER}) as evil:
            self.inputs, kept = {"host": OTHER}, self.inputs
            theirs = self.connect(user, evil)
            self.inputs = kept

        assert mine.subject in theirs.subject
        assert theirs.pk != mine.pk
        assert self.stored(mine).inputs == {"host": HOST}

    @pytest.mark.parametrize(
        "profile", [{}, {"id": 7}, {"id": "", "email": None}, {"name": "Ada"}, [], "ada"]
    )
    def test_a_profile_of_nobody_is_refused(self, fake: FakeProvider, profile: Any):
        error = self.raised_by(
            lambda: self.identity_from(fake, Answer(200, {"status": {}, "profile": profile}))
        )

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    # What badgr-server answers otherwise.

    def test_a_wrong_secret_is_read_though_it_is_labelled_as_a_page(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        wrong = self.recorded("token_badgr_wrong_client_secret")

        assert type(self.refused_refresh(account, fake, wrong)) is ClientRejected

    def test_the_wait_may_stand_in_the_body(self, account: ConnectedAccount, fake: FakeProvider):
        error = self.refused_refresh(account, fake, self.recorded("token_badgr_throttled"))

        assert type(error) is ProviderUnavailable
        assert error.retry_after == 512

    # Which host.

    @pytest.mark.parametrize(
        "host", ["evil.example", "", f"{HOST}/", f"https://{HOST}", f"{HOST}.evil.example", "a\n"]
    )
    def test_a_host_that_is_not_listed_is_not_asked(self, user: Any, fake: FakeProvider, host: str):
        error = self.raised_by(lambda: self.begun(user, host=host))

        assert (type(error), error.code) == (ConfigurationError, "inputs")
        assert not fake.requests

    def test_a_host_that_is_listed_no_longer_is_not_asked_with_its_token(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        self.configure(options={"hosts": [OTHER]})

        error = self.raised_by(lambda: refresh(account))

        assert (type(error), error.code) == (UnexpectedResponse, "inputs")
        assert not fake.requests

    def test_people_choose_among_the_hosts(self):
        [field] = get_provider(self.alias).asked_fields()

        assert (field.name, field.kind, field.choices) == ("host", "choice", (HOST, OTHER))


@pytest.fixture
def badges(settings: Any) -> Any:
    def configure(**options: Any) -> None:
        backend = TestBadgeConnect.backend
        entry = {"BACKEND": backend, "OPTIONS": {"hosts": [HOST], **options}}
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}

    return configure


@pytest.mark.parametrize(
    ("site", "options", "static", "elsewhere"),
    [
        ("https://site.example", {}, "/static/", []),
        ("https://site.example", {}, "https://cdn.example/static/", ["logo_uri"]),
        ("https://site.example:8443", {"tos_uri": "https://site.example/t"}, "/s/", ["tos_uri"]),
        ("https://site.example", {"logo_uri": "https://SITE.example/l.svg"}, "https://c.x/", []),
        ("", {"tos_uri": "https://other.example/t"}, "https://cdn.example/", []),
        (["https://site.example"], {"tos_uri": "https://other.example/t"}, "/s/", []),
    ],
)
def test_an_address_on_another_host_or_port_is_told_beforehand(
    badges: Any,
    settings: Any,
    site: Any,
    options: dict[str, Any],
    static: str,
    elsewhere: list[str],
):
    badges(**options)
    settings.STATIC_URL = static
    settings.CONNECTED_ACCOUNTS = {**settings.CONNECTED_ACCOUNTS, "REDIRECT_BASE_URL": site}

    told = [problem for problem in problems() if problem.id == "W009"]

    assert len(told) == len(elsewhere)
    assert all(name in problem.message for name, problem in zip(elsewhere, told, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"hosts": []},
        {"hosts": [""]},
        {"hosts": ["http://badges.example.org"]},
        {"hosts": ["http://localhost:9000"]},
        {"hosts": ["https://user@badges.example.org"]},
        {"hosts": ["badges.example.org?x"]},
        {"hosts": ["badges.example.org#x"]},
        {"hosts": ["badges.example.org:port"]},
        {"hosts": ["bad\nges.example.org"]},
        {"hosts": ["a" * 201]},
        {"hosts": [HOST, f"https://{HOST}/"]},
        {"hosts": [HOST, OTHER], "revocation_endpoint": f"https://{HOST}/revoke"},
        {"version": "3"},
        {"logo_uri": "http://site.example/logo.svg"},
    ],
)
def test_hosts_that_cannot_be_are_told_by_the_checks(badges: Any, options: dict[str, Any]):
    badges(**options)

    assert [problem.id for problem in problems()] == ["E017"]
    with pytest.raises(ConfigurationError):
        get_provider("badges")


@pytest.mark.parametrize("hosts", [HOST, [7], {HOST: 1}])
def test_hosts_of_the_wrong_type_are_told_by_the_checks(badges: Any, hosts: Any):
    badges(hosts=hosts)

    assert [problem.id for problem in problems()] == ["E011"]


@pytest.mark.parametrize(
    "hosts", [[HOST], [HOST, OTHER], ["https://x.example/b"], ["http://127.0.0.1:9000/b"]]
)
def test_hosts_in_order_are_checked_without_asking_them(badges: Any, hosts: list[str]):
    badges(hosts=hosts)

    assert list(problems()) == []


@pytest.mark.parametrize(
    ("fake_of", "version", "subject"),
    [
        (None, "", f"https://{HOST}/profiles/ada"),
        (None, "v2p1", f"https://{HOST}/profiles/ada"),
        (None, "v3p0", f"https://{HOST}/profiles/ada"),
        (BadgrBadgeConnect, "", f"{HOST} ada@example.org"),
    ],
)
@pytest.mark.django_db
def test_the_fake_speaks_each_version(
    badges: Any, user: Any, fake_of: Any, version: str, subject: str
):
    from connected_accounts.services import complete_authorization

    badges(version=version)
    flow = {"user": user, "provider": "badges", "browser_secret": new_secret()}
    inputs = {"host": HOST}
    with FakeProvider("badges", inputs=inputs, dialect=fake_of) as fake:
        url = start_authorization(redirect_uri=REDIRECT_URI, inputs=inputs, **flow)
        params = fake.authorize(url, subject="ada")
        account = complete_authorization(params=params, **flow).account
        refresh(account)

    assert account.subject == subject
    assert len(fake.sent_to("registration")) == 1
    assert fake.reuses == 0
