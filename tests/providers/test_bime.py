"""Bime: the contract over both of its workflows, and what only Bime does."""

from collections.abc import Callable
from itertools import product
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from django.apps import apps
from django.test import Client
from django.utils import timezone

from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import (
    AuthorizationDenied,
    ClientRejected,
    ConfigurationError,
    InvalidState,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import AuthorizationRequest, ConnectedAccount, Outcome, Revocation
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.registry import get_provider
from connected_accounts.providers.registry import problems as problems_of_settings
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    complete_authorization,
    disconnect,
    get_session,
    refresh,
    start_authorization,
)
from connected_accounts.testing import Answer, FakeProvider
from connected_accounts.testing.conformance import (
    CodeContract,
    NoRevocationCases,
    PersonalTokenContract,
)
from connected_accounts.web.cards import account_cards
from connected_accounts.web.revocations import open_revocations
from tests.providers.harness import (
    CLIENT_ID,
    CLIENT_SECRET,
    PERSONAL_TOKEN,
    REDIRECT_URI,
    Harness,
)

BAD_ACCOUNTS = [
    "",
    " acme",
    "acme\n",
    "ac\x00me",
    "a.b",
    "acme.bime.io",
    "evil.example/",
    "127.0.0.1",
    "[::1]",
    "-x",
    "x-",
    "a" * 64,
    "äcme",
    "\uff41cme",
    "acme@evil",
    "acme:1",
    "acme#",
    "acme?x",
    "acme\\",
    "%2e",
    "{account}",
    "a_b",
]
DRAFT5 = {"dialect": "draft5"}
IN_QUERY = {"bearer_method": "query"}
DASHBOARDS = "https://api.bime.io/v3/dashboards"


def enter(values: dict[str, str]) -> Any:
    return connect_directly(user=None, provider="bime", values=values)


class BimeCases(Harness):
    """What holds for both workflows."""

    alias = "bime"
    backend = "connected_accounts.providers.bime.Bime"
    inputs = {"account": "acme"}
    subject = label = "acme"
    life = 7200

    def test_an_account_that_is_no_dns_label_reaches_no_address(self, fake: FakeProvider):
        # Looked at when it is entered, and again whenever it is put into an address.
        for account, call in product(BAD_ACCOUNTS, (self.ask, self.provider.endpoints)):
            error = self.raised_by(lambda call=call, name=account: call({"account": name}))
            assert (type(error), error.code) == (ConfigurationError, "inputs"), account
        assert fake.requests == []
        for model in apps.get_app_config("connected_accounts").get_models():
            assert not model.objects.exists(), model

    def ask(self, inputs: dict[str, str]) -> Any:
        """Connect, as far as it goes without the provider."""
        raise NotImplementedError

    @pytest.mark.parametrize("account", ["evil.example/", "127.0.0.1", "a.b"])
    def test_the_page_says_what_is_wrong_with_an_account(
        self, client: Client, user: Any, fake: FakeProvider, account: str
    ):
        client.force_login(user)
        entered = {"account": account, "personal_token": PERSONAL_TOKEN}

        page = client.post("/connections/bime/connect/", entered)

        assert page.status_code == 200
        assert "Only letters, digits and hyphens" in page.text
        assert PERSONAL_TOKEN not in page.text
        assert fake.requests == []
        assert not AuthorizationRequest.objects.exists()

    def test_the_account_has_one_spelling(self, user: Any, fake: FakeProvider):
        self.inputs = {"account": "ACME"}

        account = self.connect(user, fake)

        assert (account.subject, account.inputs) == ("acme", {"account": "acme"})
        assert get_provider(self.alias).endpoints({"account": "ACME"}).token_endpoint == (
            "https://acme.bime.io/oauth/token"
        )

    @pytest.mark.parametrize("bad", [{}, {"account": "acme", "host": "x"}])
    def test_nothing_less_and_nothing_more_than_the_account_is_taken(
        self, user: Any, fake: FakeProvider, bad: dict[str, str]
    ):
        assert self.raised_by(lambda: self.ask(bad)).code == "inputs"
        assert fake.requests == []

    # Whether the token works.

    def test_one_call_to_the_api_tells_whether_the_token_works(self, user: Any, fake: FakeProvider):
        self.connect(user, fake)

        [sent] = fake.sent_to("identity")
        assert (sent.method, sent.url) == ("GET", DASHBOARDS)
        assert sent.bearer.startswith("canary-")
        assert fake.sent_to("api") == []

    @pytest.mark.parametrize("name", ["identity_error_in_success", "identity_token_info"])
    def test_an_answer_in_no_envelope_or_with_an_error_is_no_proof(
        self, fake: FakeProvider, name: str
    ):
        error = self.raised_by(lambda: self.identity_from(fake, self.recorded(name)))

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    def test_the_account_itself_can_be_asked_whose_the_token_is(
        self, user: Any, fake: FakeProvider
    ):
        self.configure(options={"token_info": True})
        told = self.recorded("identity_token_info")

        identity = self.identity_from(fake, told)

        assert (identity.subject, identity.label) == ("acme:42", "acme")
        [sent] = fake.sent_to("identity")
        assert sent.url == "https://acme.bime.io/oauth/token/info"
        for owner in (None, True, "", [1], {}):
            answer = Answer(200, {**told.json, "resource_owner_id": owner})
            assert self.raised_by(lambda a=answer: self.identity_from(fake, a)).code == (
                "no_identity"
            )

    @pytest.mark.parametrize(
        ("answer", "label"),
        [
            (Answer(200, {"result": [{"name": "Globex"}, {"subdomain": "acme"}]}), "acme, Globex"),
            (Answer(200, {"result": [], "error": None}), "acme"),
            (Answer(200, {"result": [{"name": 5}, "x", {}]}), "acme"),
            (Answer(404), "acme"),
            (Answer(503), "acme"),
        ],
    )
    def test_the_accounts_that_a_token_is_good_for_are_shown_where_the_api_lists_them(
        self, user: Any, answer: Answer, label: str
    ):
        self.configure(options={"accounts_path": "/accounts"})
        with FakeProvider(self.alias, inputs=self.inputs) as fake:
            fake.script("api", answer)

            account = self.connect(user, fake)

            [sent] = fake.sent_to("api")
        assert sent.url == "https://api.bime.io/v3/accounts"
        assert (account.subject, account.label) == ("acme", label)

    # In the query.

    def test_the_bearer_is_in_the_query_only_where_options_say_so(
        self, user: Any, fake: FakeProvider
    ):
        self.configure(options=IN_QUERY)
        account = self.connect(user, fake)
        fake.script("api", Answer(200, {"result": []}))

        response = get_session(account).get("charts?page=2")

        identity, api = fake.requests[-2:]
        assert dict(parse_qsl(urlsplit(identity.url).query)).keys() == {"access_token"}
        assert dict(parse_qsl(urlsplit(api.url).query)).keys() == {"access_token", "page"}
        assert identity.bearer == api.bearer == ""
        assert response.url == response.request.url == "https://api.bime.io/v3/charts?page=2"

    # How it ends.

    def test_after_disconnecting_the_person_is_sent_to_the_page_of_the_account(
        self, user: Any, account: ConnectedAccount, fake: FakeProvider
    ):
        page = "https://acme.bime.io/oauth/applications"
        [card] = account_cards(user, timezone.now())
        disconnect(account)
        revoke_pending()

        [line] = open_revocations(user, timezone.now())
        assert (card.manage_url, line.manage_url, line.outcome) == (page, page, "unsupported")
        assert "remove it in your settings" in line.words

    @pytest.mark.parametrize(
        ("options", "page"),
        [
            ({"site_base": "https://bi.example/{account}/"}, "/acme/oauth/applications"),
            ({"manage_url": "https://bi.example/of/{account}"}, "/of/acme"),
            ({"manage_url": "https://bi.example/all"}, "/all"),
        ],
    )
    def test_the_page_can_be_elsewhere(self, options: dict[str, str], page: str):
        self.configure(options=options)

        assert self.provider.manage_url_for({"account": "acme"}) == f"https://bi.example{page}"

    def test_a_row_without_an_account_has_no_page(self):
        assert get_provider(self.alias).manage_url_for({}) == ""
        assert get_provider(self.alias).manage_url_for({"account": "evil.example/"}) == ""


class TestBime(BimeCases, CodeContract, NoRevocationCases):
    faked_subject = "acme"

    def ask(self, inputs: dict[str, str]) -> Any:
        return start_authorization(
            user=None,
            provider=self.alias,
            redirect_uri=REDIRECT_URI,
            browser_secret=new_secret(),
            inputs=inputs,
        )

    # Where it is, and what is sent.

    def test_each_account_has_a_host_of_its_own(self):
        endpoints = get_provider("bime").endpoints({"account": "globex"})

        assert endpoints.authorization_endpoint == "https://globex.bime.io/oauth/authorize"
        assert endpoints.token_endpoint == "https://globex.bime.io/oauth/token"
        assert endpoints.api_base_url == "https://api.bime.io/v3"
        assert endpoints.revocation_endpoint == ""

    def test_no_scope_and_no_pkce_is_sent(self):
        query = parse_qs(urlsplit(self.ask(self.inputs)).query)

        assert query.keys() == {"response_type", "client_id", "redirect_uri", "state"}

    def test_the_refresh_is_a_form_with_the_client_in_it(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        fake.script("token", self.recorded("token_refreshed"))

        refresh(account)

        [sent] = fake.sent_to("token")
        assert sent.url == "https://acme.bime.io/oauth/token"
        assert sent.form == {
            "grant_type": "refresh_token",
            "refresh_token": "canary-refresh-1",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        assert "Authorization" not in sent.headers

    def test_two_accounts_of_a_person_are_two_connections(self, user: Any, fake: FakeProvider):
        first = self.connect(user, fake)
        self.inputs = {"account": "globex"}
        with FakeProvider("bime", inputs=self.inputs) as other:
            second = self.connect(user, other)

            assert {request.url for request in other.sent_to("token")} == {
                "https://globex.bime.io/oauth/token"
            }
        assert (first.subject, second.subject) == ("acme", "globex")

    # What is answered.

    def test_more_verbose_errors_are_understood_and_not_repeated(
        self, account: ConnectedAccount, fake: FakeProvider
    ):
        error = self.refused_refresh(account, fake, self.recorded("token_verbose_error"))

        assert (type(error), error.code) == (ReauthorizationRequired, "revoked")

    @pytest.mark.parametrize(
        "text",
        ["invalid_grants", "Invalid_grant", " invalid_grant", 7, ["invalid_grant"]],
    )
    def test_other_words_end_nothing(self, text: Any):
        error = get_provider("bime").classify_error(401, {"error": text})

        assert (type(error), error.code) == (UnexpectedResponse, "status_401")

    @pytest.mark.parametrize("payload", [{}, {"error": ""}, {"error": None}])
    def test_a_401_without_a_word_is_of_the_client(self, payload: dict[str, Any]):
        error = get_provider("bime").classify_error(401, payload)

        assert (type(error), error.code) == (ClientRejected, "invalid_client")

    # Draft 5.

    def test_draft_5_from_the_consent_page_to_a_dead_refresh_token(self, user: Any):
        self.configure(options=DRAFT5)
        with FakeProvider("bime", inputs=self.inputs) as fake:
            account = self.begin(user, fake)()
            refresh(account)
            refresh(account)
            exchange, *refreshes = fake.sent_to("token")
            fake.withdraw()
            error = self.raised_by(lambda: refresh(account))
        assert exchange.form is not None
        assert exchange.form.keys() == {
            *("type", "code", "redirect_uri", "client_id", "client_secret")
        }
        assert [sent.form["type"] for sent in (exchange, *refreshes) if sent.form] == [
            *("web_server", "refresh", "refresh")
        ]
        assert (type(error), error.code) == (ReauthorizationRequired, "revoked")
        assert self.stored(account).open_token()["token_type"] == "Bearer"

    def test_draft_5_names_its_flow_in_the_address(self):
        self.configure(options={**DRAFT5, "authorization_params": {"immediate": "false"}})

        query = parse_qs(urlsplit(self.ask(self.inputs)).query)

        assert (query["type"], query["immediate"]) == (["web_server"], ["false"])
        assert query["response_type"] == ["code"]

    @pytest.mark.parametrize("refreshed", ["draft5_token_refreshed", "token_refreshed"])
    def test_draft_5_may_answer_as_a_form_or_as_json(self, user: Any, refreshed: str):
        self.configure(options=DRAFT5)
        with FakeProvider("bime", inputs=self.inputs) as fake:
            account = self.connect(user, fake, "draft5_token_success")
            before = account.expires_at
            fake.script("token", self.recorded(refreshed))
            refresh(account)
        assert before is not None
        document = self.stored(account).open_token()
        assert (document["access_token"], document["refresh_token"]) == (
            "canary-access-2",
            "canary-refresh-2",
        )

    def test_a_form_is_no_answer_outside_of_draft_5(self, user: Any, fake: FakeProvider):
        finish = self.begin(user, fake)
        fake.script("token", self.recorded("draft5_token_success"))

        assert self.raised_by(finish).code == "not_json"

    def test_draft_5_has_words_of_its_own_for_what_went_wrong(self, user: Any):
        self.configure(options=DRAFT5)
        with FakeProvider("bime", inputs=self.inputs) as fake:
            finish = self.begin(user, fake)
            fake.script("token", self.recorded("draft5_dead_code"))
            error = self.raised_by(finish)
            assert (type(error), error.code) == (InvalidState, "code_rejected")

            account = self.connect(user, fake, "draft5_token_success")
            refused = self.recorded("draft5_wrong_client_secret")
            assert type(self.refused_refresh(account, fake, refused)) is ClientRejected
            refused = self.recorded("draft5_dead_refresh_token")
            error = self.refused_refresh(account, fake, refused)
            assert (type(error), error.code) == (ReauthorizationRequired, "revoked")

    @pytest.mark.parametrize("options", [{}, DRAFT5])
    def test_a_person_can_say_no_in_either_dialect(self, user: Any, options: dict[str, str]):
        self.configure(options=options)
        browser_secret = new_secret()
        asked = {"user": user, "provider": "bime", "browser_secret": browser_secret}
        with FakeProvider("bime", inputs=self.inputs) as fake:
            url = start_authorization(**asked, redirect_uri=REDIRECT_URI, inputs=self.inputs)
            params = fake.authorize(url, deny=True)
        assert params["error"] == ("user_denied" if options else "access_denied")

        error = self.raised_by(lambda: complete_authorization(**asked, params=params))

        assert (type(error), error.code) == (AuthorizationDenied, "access_denied")

    # How it ends.

    def test_a_site_may_name_an_endpoint_to_revoke_at(self, user: Any):
        self.configure(options={"revocation_endpoint": "https://{account}.bime.io/oauth/revoke"})
        with FakeProvider("bime", inputs=self.inputs) as fake:
            account = self.connect(user, fake)
            fake.script("revocation", self.recorded("revoke_done"))
            disconnect(account)
            revoke_pending()
            [sent] = fake.sent_to("revocation")
        assert sent.url == "https://acme.bime.io/oauth/revoke"
        assert sent.fields["token"] == "canary-refresh-1"
        assert Revocation.objects.get().outcome == Outcome.REVOKED

    # Settings.

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ({"dialect": "draft6"}, "E011"),
            ({"token_info": "yes"}, "E011"),
            ({"site_base": "http://{account}.bime.io"}, "E012"),
            ({"site_base": "https://{tenant}.{account}.bime.io"}, "E012"),
            ({"site_base": "https://bime.io"}, "E011"),
            ({"api_base": "http://api.bime.io"}, "E012"),
        ],
    )
    def test_settings_that_cannot_work_are_found(self, options: dict[str, Any], found: str):
        self.configure(options=options)

        assert {problem.id for problem in problems_of_settings()} == {found}

    def test_settings_that_can_work_are_not(self):
        self.configure(options={**DRAFT5, **IN_QUERY, "site_base": "http://127.0.0.1:8/{account}"})

        assert list(problems_of_settings()) == []


class TestBimePersonalToken(BimeCases, PersonalTokenContract, NoRevocationCases):
    options = {"grant_type": "personal_token"}

    def ask(self, inputs: dict[str, str]) -> Any:
        return enter({**inputs, "personal_token": PERSONAL_TOKEN})

    def test_it_is_sent_to_the_api_alone(self, user: Any, fake: FakeProvider):
        fake.add_personal_token(PERSONAL_TOKEN)

        account = self.begin(user, fake)()
        get_session(account).get("charts")

        assert {request.url for request in fake.requests} == {
            DASHBOARDS,
            "https://api.bime.io/v3/charts",
        }
        assert {request.bearer for request in fake.requests} == {PERSONAL_TOKEN}

    @pytest.mark.parametrize("token", ["\u00e9t\u00e9", "a b", "tab\t", "\x7f", "x" * 4097])
    def test_characters_that_no_token_has_are_refused(
        self, user: Any, fake: FakeProvider, token: str
    ):
        entered = {"account": "acme", "personal_token": f"canary-{token}"}

        error = self.raised_by(lambda: enter(entered))

        assert (type(error), error.code) == (ConfigurationError, "inputs")
        assert fake.requests == []
        assert not ConnectedAccount.objects.exists()

    def test_the_page_says_that_a_token_with_a_line_break_cannot_be_used(
        self, client: Client, user: Any, fake: FakeProvider
    ):
        client.force_login(user)
        entered = {"account": "acme", "personal_token": f"{PERSONAL_TOKEN}\nHost: evil.example"}

        page = client.post("/connections/bime/connect/", entered)

        assert "cannot be used. Please copy it again." in page.text
        assert PERSONAL_TOKEN not in page.text
        assert fake.requests == []
        assert not ConnectedAccount.objects.exists()

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_token_that_the_api_refuses_is_not_accepted(
        self, user: Any, fake: FakeProvider, status: int
    ):
        fake.script("identity", Answer(status, self.recorded("identity_refused").json))

        error = self.raised_by(self.begin(user, fake))

        assert (type(error), error.code) == (ClientRejected, "credentials")

    def test_over_real_sockets_it_is_in_the_query_and_in_no_log(
        self,
        user: Any,
        own_connections: None,
        serve: Callable[..., Any],
        answering: Callable[..., bytes],
    ):
        # Every line that any logger has to say is read behind each case.
        good = answering('{"result": [], "error": null}')
        answers = [good, good, answering("canary", status=401), answering("canary", status=401)]
        server = serve(lambda request, line: answers.pop(0))
        base = {"site_base": f"{server.url}/{{account}}", "api_base": f"{server.url}/v3"}
        self.configure(options={**base, **IN_QUERY})

        account = self.begin(user, None)()
        assert get_session(account).get("charts").ok
        error = self.raised_by(lambda: get_session(account).get("charts"))

        assert (type(error), error.code) == (ReauthorizationRequired, "credentials_rejected")
        assert [sent.target for sent in server.requests] == [
            f"/v3/{path}?access_token={PERSONAL_TOKEN}"
            for path in ("dashboards", "charts", "charts", "dashboards")
        ]
