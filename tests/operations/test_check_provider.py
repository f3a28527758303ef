"""``check_provider``: each finding is provoked, by the fake provider or by a server that lies."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import StringIO
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from django.core.management import CommandError, call_command

from connected_accounts.models import ProviderClient
from connected_accounts.models.deployment import adopt_database
from connected_accounts.oauth2 import discovery
from connected_accounts.operations.doctor.diagnosis import LATER, diagnose
from connected_accounts.operations.doctor.reachability import METHODS
from connected_accounts.providers.registry import get_provider
from connected_accounts.secret import Secret
from connected_accounts.testing import FakeProvider
from connected_accounts.testing.faults import Answer, ConnectionRefused
from tests.docs.doc_pages import column, table
from tests.use.test_where_tokens_go import Authority, TLSServer

pytestmark = pytest.mark.django_db
GENERIC = "connected_accounts.providers.generic.OAuth2"
OPENID = "/.well-known/openid-configuration"
SECONDS = re.compile(r"\d+ s\b")


class Checked(NamedTuple):
    code: int
    findings: dict[str, dict[str, str]]
    text: str

    def level(self, check: str) -> str:
        return self.findings[check]["level"]

    def said(self, check: str) -> str:
        return f"{self.findings[check]['message']} {self.findings[check]['hint']}"


def check(alias: str, *arguments: str) -> Checked:
    """The command's verdict, as a machine reads it and as a person does."""
    code, outs = 0, [StringIO(), StringIO()]
    for out, more in zip(outs, (["--json"], []), strict=True):
        try:
            call_command("check_provider", alias, *arguments, *more, stdout=out)
        except SystemExit as stop:
            code = int(stop.code or 0)
    document = json.loads(outs[0].getvalue())
    assert document["provider"] == alias
    assert document["ok"] is (code == 0)
    found = {finding["check"]: finding for finding in document["findings"]}
    text = outs[1].getvalue()
    for finding in document["findings"]:
        # A second may pass between the two.
        assert SECONDS.sub("", finding["message"]) in SECONDS.sub("", text)
    return Checked(code, found, text)


@pytest.fixture(autouse=True)
def _nothing_kept(own_connections: None) -> Iterator[None]:
    discovery.clear_cache()
    yield
    discovery.clear_cache()


class Lying:
    """An OAuth server whose answers a test changes: by path, a function of the request's fields."""

    def __init__(self, serve: Any, answering: Any) -> None:
        self.answering = answering
        self.answers: dict[str, Any] = {
            "/authorize": {"status": 200},
            "/token": self.token,
            "/revoke": self.revoke,
            "/me": {"status": 401},
        }
        self.seen: list[Any] = []
        self.server = serve(self.answer)
        self.url: str = self.server.url

    def answer(self, request: Any, line: Any) -> bytes | None:
        self.seen.append(request)
        found = self.answers.get(request.target, {"status": 404})
        found = found(request) if callable(found) else found
        if found is None or request.method == "HEAD":
            return None if found is None else self.answering(b"", found.get("status", 200))
        answer: bytes = self.answering(**found)
        return answer

    def revoke(self, request: Any) -> dict[str, Any]:
        if b"client_secret=the-secret" not in request.body:
            return {"body": '{"error": "invalid_client"}', "status": 401}
        return {"status": 200}

    def token(self, request: Any) -> dict[str, Any]:
        if b"client_secret=the-secret" not in request.body:
            return {"body": '{"error": "invalid_client"}', "status": 401}
        return {"body": '{"error": "invalid_grant"}', "status": 400}


@pytest.fixture
def server(serve: Callable[..., Any], answering: Callable[..., bytes]) -> Lying:
    return Lying(serve, answering)


@pytest.fixture
def configure(settings: Any, server: Lying) -> Callable[..., None]:
    """Settings of the one provider ``login`` at the server; an option that is None is left out."""

    def do(entry: Any = None, top: Any = None, **options: Any) -> None:
        named = {
            "authorization_endpoint": f"{server.url}/authorize",
            "token_endpoint": f"{server.url}/token",
            "revocation_endpoint": f"{server.url}/revoke",
            "userinfo_endpoint": f"{server.url}/me",
        } | options
        named = {name: value for name, value in named.items() if value is not None}
        known = {
            "BACKEND": GENERIC,
            "CLIENT_ID": "the-client",
            "CLIENT_SECRET": "the-secret",
            "SCOPES": [],
            "OPTIONS": {"token_endpoint_auth_method": "client_secret_post", **named},
        } | (entry or {})
        base = {"REDIRECT_BASE_URL": "https://site.example"} | (top or {})
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"login": known}, **base}

    do()
    return do


# --- All is well


def test_a_provider_in_order_has_no_error_and_exits_0(server: Lying, configure: Any) -> None:
    checked = check("login")
    assert checked.code == 0
    assert "error" not in {finding["level"] for finding in checked.findings.values()}
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "credentials"):
        assert checked.level(name) == "ok", name
    assert checked.level("revocation") == "ok"
    assert checked.level("redirect_uri") == "ok"
    assert "https://site.example/connections/login/callback/" in checked.said("redirect_uri")
    assert checked.said("client").startswith("the-client, secret ***, from settings.")


def test_no_secret_is_shown_and_nothing_is_stored(server: Lying, configure: Any) -> None:
    server.answers["/token"] = {"body": '{"access_token": "canary-token"}', "status": 200}
    checked = check("login")
    shown = checked.text + json.dumps(checked.findings)
    assert "the-secret" not in shown
    assert "canary" not in shown
    assert ProviderClient.objects.count() == 0


def test_what_is_sent_can_do_no_harm(server: Lying, configure: Any) -> None:
    check("login")
    sent = [dict(parse_qsl(request.body.decode())) for request in server.seen]
    assert {fields["grant_type"] for fields in sent if "grant_type" in fields} == {
        "authorization_code",
        "refresh_token",
    }
    for request, fields in zip(server.seen, sent, strict=True):
        assert "authorization" not in request.headers
        given = [fields[name] for name in ("code", "token", "refresh_token") if name in fields]
        assert all(value.startswith("made-up-") for value in given)
    assert sum("code" in fields for fields in sent) == 2 * 2  # for people and for machines


@pytest.mark.parametrize("alias", ["badgr", "bitbadges"])
def test_the_providers_of_the_site_are_in_order(alias: str) -> None:
    with FakeProvider(alias) as fake:
        checked = check(alias)
    assert checked.code == 0, checked.text
    assert checked.level("credentials") == "ok"
    assert checked.level("revocation") == "ok"
    assert checked.level("redirect_uri") == "warning"  # no REDIRECT_BASE_URL in the tests
    assert "REDIRECT_BASE_URL" in checked.said("redirect_uri")
    assert fake.grants == []


# --- Settings and redirect URI


def test_wrong_settings_end_the_check(configure: Any) -> None:
    configure(entry={"SCOPES": "not a list"})
    checked = check("login")
    assert checked.code == 1
    assert checked.level("settings") == "error"
    assert "E010" in checked.text
    assert checked.level("credentials") == checked.level("endpoints") == "unchecked"


def test_what_checks_say_of_another_provider_is_left_out(configure: Any, settings: Any) -> None:
    configure()
    known = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["login"]
    broken = known | {"SCOPES": "not a list"}
    settings.CONNECTED_ACCOUNTS["PROVIDERS"] = {"login": known, "broken": broken}
    assert "E010" not in check("login").text
    assert "E010" in check("broken").text


def test_an_unknown_alias_is_refused_with_those_that_are_known(configure: Any) -> None:
    with pytest.raises(CommandError, match="They have: login"):
        call_command("check_provider", "logon")


def test_without_the_apps_urls_there_is_no_callback(configure: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    checked = check("login")
    assert checked.level("redirect_uri") == "error"
    assert "connected_accounts.urls" in checked.said("redirect_uri")


# --- The client


def test_no_client_is_an_error(configure: Any) -> None:
    configure(entry={"CLIENT_ID": ""})
    checked = check("login")
    assert checked.code == 1
    assert checked.level("client") == "error"
    assert checked.level("credentials") == checked.level("revocation") == "unchecked"


def test_a_missing_secret_is_a_warning_but_not_for_a_public_client(configure: Any) -> None:
    configure(entry={"CLIENT_SECRET": ""})
    assert check("login").level("client") == "warning"
    configure(entry={"CLIENT_SECRET": ""}, token_endpoint_auth_method="none")
    assert check("login").level("client") == "ok"


def test_a_secret_whose_key_is_gone_is_an_error(configure: Any, now: datetime) -> None:
    ProviderClient.objects.create(
        provider="login",
        client_id="entered",
        client_secret=f"v1.00000000.{'x' * 60}",
        created_at=now,
    )
    checked = check("login")
    assert checked.level("client") == "error"
    assert "FIELD_ENCRYPTION_KEY" in checked.said("client")


@pytest.mark.parametrize(
    ("answer", "level", "word"),
    [
        ({"body": '{"error": "invalid_client"}', "status": 401}, "error", "refuses the client"),
        ({"body": '{"error": "invalid_grant"}', "status": 400}, "unchecked", "tells nothing"),
        ({"body": '{"access_token": "t"}', "status": 200}, "error", "never issued"),
        ({"body": "<h1>Sorry</h1>", "status": 500}, "unchecked", "status_500"),
        ({"body": '{"error": "invalid_request"}', "status": 400}, "unchecked", "invalid_request"),
    ],
)
def test_what_the_token_endpoint_says_of_the_credentials(
    server: Lying, configure: Any, answer: dict[str, Any], level: str, word: str
) -> None:
    server.answers["/token"] = answer
    checked = check("login")
    assert checked.level("credentials") == level
    assert word in checked.said("credentials")


def test_a_public_client_is_told_from_a_made_up_one(server: Lying, configure: Any) -> None:
    configure(entry={"CLIENT_SECRET": ""}, token_endpoint_auth_method="none")

    def token(request: Any) -> dict[str, Any]:
        error = "invalid_grant" if b"client_id=the-client" in request.body else "invalid_client"
        return {"body": json.dumps({"error": error}), "status": 400}

    server.answers["/token"] = token
    assert check("login").level("credentials") == "ok"
    configure(
        entry={"CLIENT_ID": "another", "CLIENT_SECRET": ""}, token_endpoint_auth_method="none"
    )
    assert "refuses the client id." in check("login").said("credentials")


# --- Client credentials and personal tokens


def test_client_credentials_are_tried_only_when_asked_to(server: Lying, configure: Any) -> None:
    configure(grant_type="client_credentials")
    issued = {"body": '{"access_token": "issued", "token_type": "Bearer"}', "status": 200}
    server.answers["/token"] = issued
    checked = check("login")
    assert checked.level("credentials") == "unchecked"
    assert "--request-token" in checked.said("credentials")
    assert not [request for request in server.seen if b"grant_type" in request.body]
    checked = check("login", "--request-token")
    assert checked.level("credentials") == "ok"
    assert "has been revoked" in checked.said("credentials")
    assert [r for r in server.seen if r.target == "/revoke" and b"token=issued" in r.body]
    server.answers["/token"] = {"body": '{"error": "invalid_client"}', "status": 401}
    assert check("login", "--request-token").level("credentials") == "error"
    server.answers["/token"] = issued
    configure(grant_type="client_credentials", revocation_endpoint="")
    assert "until it expires" in check("login", "--request-token").said("credentials")


def test_a_token_request_that_needs_more_or_does_not_succeed(server: Lying, configure: Any) -> None:
    more = ("account",)
    configure(grant_type="client_credentials", connect_fields=more, token_request_inputs=more)
    checked = check("login", "--request-token")
    assert checked.level("credentials") == "unchecked"
    assert "--input account=…" in checked.said("credentials")
    configure(grant_type="client_credentials")
    server.answers["/token"] = {"status": 503}
    checked = check("login", "--request-token")
    assert checked.level("credentials") == "unchecked"
    assert "503" in checked.said("credentials")
    issued = {"body": '{"access_token": "issued", "token_type": "Bearer"}', "status": 200}
    server.answers |= {"/token": issued, "/revoke": {"status": 503}}
    checked = check("login", "--request-token")
    assert "lives until it expires" in checked.said("credentials")


def test_a_client_id_that_cannot_be_sent_is_an_error(configure: Any, now: datetime) -> None:
    configure(
        entry={"CLIENT_ID": ""},
        token_endpoint_auth_method="client_secret_basic",
        basic_auth_encoding="raw",
    )
    row = ProviderClient(provider="login", client_id="with:colon", created_at=now)
    row.client_secret = row.sealed(Secret("entered-secret"))
    row.save()
    checked = check("login")
    for name in ("credentials", "revocation"):
        assert checked.level(name) == "error"
        assert "colon" in checked.said(name)


def test_people_who_bring_their_own_need_no_client_of_the_site(configure: Any) -> None:
    configure(entry={"CLIENT_ID": ""}, grant_type="client_credentials")
    assert check("login").level("client") == "unchecked"
    configure(entry={"CLIENT_ID": ""}, grant_type="personal_token")
    checked = check("login")
    assert (checked.level("client"), checked.level("credentials")) == ("ok", "unchecked")
    assert "Needs none" in checked.said("redirect_uri")
    assert "token_endpoint" not in checked.findings
    assert "authorization_endpoint" not in checked.findings


# --- Endpoints, TLS, clock


@pytest.mark.parametrize(
    ("path", "answer", "level", "word"),
    [
        ("/authorize", {"status": 404}, "error", "nothing is there"),
        ("/authorize", {"status": 302}, "ok", "302"),
        ("/authorize", {"status": 503}, "error", "503"),
        ("/authorize", {"body": "x" * 1_100_000}, "ok", "answers"),
        ("/authorize", None, "error", "connection was cut"),
        ("/token", {"status": 500}, "warning", "500"),
        ("/token", {"status": 502}, "error", "502"),
        ("/token", {"status": 429}, "warning", "too many"),
        ("/token", {"status": 404}, "error", "nothing is there"),
        ("/token", {"status": 301, "Location": "/token/?q=1"}, "error", "It leads to /token/:"),
        ("/token", {"status": 301, "Location": "http://[/"}, "error", "no redirect is followed"),
        ("/revoke", {"status": 410}, "error", "nothing is there"),
        ("/me", {"status": 404}, "warning", "nothing is there"),
    ],
)
def test_what_an_endpoint_answers(
    server: Lying, configure: Any, path: str, answer: Any, level: str, word: str
) -> None:
    names = {
        "/authorize": "authorization_endpoint",
        "/token": "token_endpoint",
        "/revoke": "revocation_endpoint",
        "/me": "userinfo_endpoint",
    }
    server.answers[path] = (lambda request: None) if answer is None else answer
    checked = check("login")
    assert checked.level(names[path]) == level
    assert word in checked.said(names[path])
    assert (checked.code == 1) >= (level == "error")


def test_an_api_that_knows_no_head_is_there_all_the_same(server: Lying, configure: Any) -> None:
    server.answers["/api"] = {"status": 405}
    configure(api_base_url=f"{server.url}/api")
    assert check("login").level("api_base_url") == "ok"
    server.answers["/api"] = {"status": 500}
    assert check("login").level("api_base_url") == "error"


def test_a_server_that_answers_a_head_with_a_body_confuses_nothing(
    server: Lying, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Any, line: Any) -> bytes | None:
        if request.method == "HEAD":
            return bytes(server.answering("<h1>Not found</h1>", 404))
        return usual(request, line)

    usual = server.server.answer
    monkeypatch.setattr(server.server, "answer", answer)
    configure(api_base_url=f"{server.url}/api")
    checked = check("login")
    assert checked.level("api_base_url") == checked.level("credentials") == "ok"
    knocks = [request for request in server.seen if not request.body]
    assert {request.headers["connection"] for request in knocks} == {"close"}


def test_a_host_that_is_not_there_and_one_that_never_answers(
    server: Lying, configure: Any, app_settings: Any
) -> None:
    configure(token_endpoint="http://127.0.0.1:9/token")
    checked = check("login")
    assert checked.level("token_endpoint") == "error"
    assert "nobody answers" in checked.said("token_endpoint")
    assert checked.level("credentials") == "unchecked"
    server.answers["/me"] = lambda request: server.server.stopping.wait(5) and None
    configure(top={"HTTP_TIMEOUT": 0.2})
    assert "in time" in check("login").said("userinfo_endpoint")


def test_certificates(
    server: Lying, configure: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check("login").level("tls") == "unchecked"  # plain http, on this machine
    authority = Authority(tmp_path)
    tls_server = TLSServer(authority.context())
    configure(userinfo_endpoint=f"{tls_server.url}/me")
    refused = check("login")
    assert refused.code == 1
    assert refused.level("userinfo_endpoint") == refused.level("tls") == "error"
    assert tls_server.url.removeprefix("https://") in refused.said("tls")
    assert "REQUESTS_CA_BUNDLE" in refused.said("tls")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    accepted = check("login")
    assert accepted.level("userinfo_endpoint") == accepted.level("tls") == "ok"
    tls_server.stop()


@pytest.mark.parametrize(
    ("offset", "level"), [(0, "ok"), (-90, "warning"), (90, "warning"), (4000, "error")]
)
def test_a_clock_that_is_wrong(server: Lying, configure: Any, offset: int, level: str) -> None:
    theirs = format_datetime(datetime.now(UTC) - timedelta(seconds=offset))
    server.answers["/token"] = {"status": 400, "Date": theirs}
    checked = check("login")
    assert checked.level("clock") == level
    if offset:
        assert ("ahead of" if offset > 0 else "behind") in checked.said("clock")


@pytest.mark.parametrize("headers", [{}, {"Date": "noon"}, {"Date": "x", "Age": "9"}])
def test_a_clock_that_nobody_tells(server: Lying, configure: Any, headers: dict[str, str]) -> None:
    for path in server.answers:
        server.answers[path] = {"status": 400, **headers}
    assert check("login").level("clock") == "unchecked"


# --- Discovery and PKCE


def metadata(url: str, **more: Any) -> dict[str, Any]:
    named = {"authorization_endpoint": f"{url}/authorize", "token_endpoint": f"{url}/token"}
    told = {"issuer": url, **named, "revocation_endpoint": f"{url}/revoke", **more}
    return {"body": json.dumps(told)}


NO_ENDPOINTS = dict.fromkeys(("authorization_endpoint", "token_endpoint", "revocation_endpoint"))


def test_a_server_that_tells_of_itself(server: Lying, configure: Any) -> None:
    told = metadata(server.url, code_challenge_methods_supported=["S256"])
    server.answers[OPENID] = told
    configure(issuer=server.url, **NO_ENDPOINTS)
    checked = check("login")
    assert checked.code == 0, checked.text
    assert (checked.level("discovery"), checked.level("pkce")) == ("ok", "ok")


def test_a_server_that_names_another_issuer_or_nothing(server: Lying, configure: Any) -> None:
    configure(issuer=server.url, **NO_ENDPOINTS)
    checked = check("login")
    assert (checked.code, checked.level("discovery")) == (1, "error")
    assert checked.level("token_endpoint" if "token_endpoint" in checked.findings else "tls")
    assert checked.level("credentials") == "unchecked"
    discovery.clear_cache()
    server.answers[OPENID] = metadata(f"{server.url}/other")
    assert "another issuer" in check("login").said("discovery")
    discovery.clear_cache()
    server.answers[OPENID] = {"status": 503}
    assert check("login").level("discovery") == "error"


def test_declared_endpoints_outlive_a_wrong_issuer_but_it_is_said(
    server: Lying, configure: Any
) -> None:
    configure(issuer=server.url)
    checked = check("login")
    assert (checked.code, checked.level("discovery")) == (0, "warning")
    discovery.clear_cache()
    server.answers[OPENID] = metadata(server.url, token_endpoint=f"{server.url}/elsewhere")
    assert "another token_endpoint" in check("login").said("discovery")


def test_without_an_issuer_nothing_can_be_said_of_discovery_and_pkce(configure: Any) -> None:
    checked = check("login")
    assert (checked.level("discovery"), checked.level("pkce")) == ("unchecked", "unchecked")
    assert "S256 is sent" in checked.said("pkce")
    configure(code_challenge_method="")
    assert "No challenge is sent" in check("login").said("pkce")


@pytest.mark.parametrize(
    ("method", "offered", "level"),
    [
        ("S256", ["plain"], "warning"),
        ("S256", ["S256", "plain"], "ok"),
        ("", ["S256"], "warning"),
        ("", ["plain"], "warning"),
    ],
)
def test_pkce_against_what_the_server_says(
    server: Lying, configure: Any, method: str, offered: list[str], level: str
) -> None:
    server.answers[OPENID] = metadata(server.url, code_challenge_methods_supported=offered)
    configure(issuer=server.url, code_challenge_method=method)
    assert check("login").level("pkce") == level


# --- Revocation


@pytest.mark.parametrize(
    ("answer", "level", "word"),
    [
        ({"status": 200}, "warning", "yes to anything"),
        ({"status": 400, "body": '{"error": "invalid_grant"}'}, "ok", "can be revoked"),
        ({"status": 405}, "error", "does not revoke"),
        ({"status": 401, "body": '{"error": "invalid_client"}'}, "error", "refuses the client"),
        ({"status": 503}, "unchecked", "status_503"),
    ],
)
def test_what_the_revocation_endpoint_says(
    server: Lying, configure: Any, answer: dict[str, Any], level: str, word: str
) -> None:
    server.answers["/revoke"] = answer
    checked = check("login")
    assert checked.level("revocation") == level
    assert word in checked.said("revocation")


def test_a_yes_that_proves_nothing_may_be_declared(server: Lying, configure: Any) -> None:
    server.answers["/revoke"] = {"status": 200}
    assert '"revocation_confirms": False' in check("login").said("revocation")
    configure(revocation_confirms=False)
    checked = check("login")
    assert checked.level("revocation") == "ok"
    assert "proves nothing" in checked.said("revocation")


def test_a_provider_without_revocation_names_the_page_to_do_it_by_hand(configure: Any) -> None:
    configure(revocation_endpoint="", manage_url="https://login.example/apps")
    checked = check("login")
    assert checked.level("revocation") == "unchecked"
    assert "https://login.example/apps" in checked.said("revocation")


# --- What a person enters


@pytest.fixture
def bime(settings: Any) -> None:
    entry = {"BACKEND": "connected_accounts.providers.bime.Bime", "CLIENT_ID": "c"}
    entry |= {"CLIENT_SECRET": "s"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": entry}}


def test_addresses_that_need_an_input_are_checked_with_it(bime: None) -> None:
    checked = check("bime")
    assert checked.code == 0
    assert "--input account=…" in checked.said("discovery")
    assert checked.level("endpoints") == checked.level("clock") == "unchecked"
    with FakeProvider("bime", inputs={"account": "acme"}):
        checked = check("bime", "--input", "account=acme")
    assert "acme.bime.io" in checked.said("token_endpoint")
    assert checked.level("credentials") == "ok", checked.text


@pytest.mark.parametrize("given", ["account=a b", "host=acme", "account=evil.example/"])
def test_an_input_that_cannot_be_is_refused(bime: None, given: str) -> None:
    with pytest.raises(CommandError):
        call_command("check_provider", "bime", "--input", given)


def test_a_badge_connect_host_is_taken_where_there_is_one(settings: Any) -> None:
    entry = {
        "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
        "OPTIONS": {"hosts": ["badges.example"], "client_uri": "https://site.example"},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}
    with FakeProvider("badges", inputs={"host": "badges.example"}) as fake:
        checked = check("badges")
    assert checked.level("discovery") == "ok", checked.text
    assert "badges.example" in checked.said("token_endpoint")
    assert "registers itself" in checked.said("client")
    assert fake.sent_to("registration") == [] or {
        request.method for request in fake.sent_to("registration")
    } == {"HEAD"}
    assert ProviderClient.objects.count() == 0
    many = {"OPTIONS": entry["OPTIONS"] | {"hosts": ["badges.example", "other.example"]}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry | many}}
    assert "--input host=…" in check("badges").said("discovery")


def test_a_host_that_does_not_describe_itself_is_an_error(settings: Any) -> None:
    entry = {
        "BACKEND": "connected_accounts.providers.badge_connect.BadgeConnect",
        "OPTIONS": {"hosts": ["badges.example"], "client_uri": "https://site.example"},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badges": entry}}
    with FakeProvider("badges", inputs={"host": "badges.example"}) as fake:
        fake.unavailable(Answer(404))
        checked = check("badges")
    assert (checked.code, checked.level("discovery")) == (1, "error")


def test_a_database_of_another_site_is_an_error(app_settings: Any) -> None:
    app_settings(SITE_ID="production")
    adopt_database()
    app_settings(SITE_ID="staging")
    with FakeProvider("badgr"):
        checked = check("badgr")
    assert (checked.code, checked.level("site")) == (1, "error")
    assert "'production'" in checked.said("site")
    assert "'staging'" in checked.said("site")
    assert "confirm_site" in checked.said("site")


def test_every_check_is_on_its_page() -> None:
    others = (
        "settings",
        "site",
        "redirect_uri",
        "client",
        "calls",
        "client_metadata",
        "server",
        *LATER,
    )
    documented = column(table("how-to/check-a-provider.md", "What is checked"), "Check")
    assert sorted(documented) == sorted({*others, *METHODS} - {"endpoints"})


def test_a_provider_that_is_down_is_told_apart_from_wrong_credentials() -> None:
    with FakeProvider("badgr") as fake:
        fake.unavailable(ConnectionRefused())
        checked = check("badgr")
        assert checked.level("token_endpoint") == "error"
        assert checked.level("credentials") == checked.level("revocation") == "unchecked"
        fake.available()
        fake.remove_client(get_provider("badgr").config.client_id)
        assert check("badgr").level("credentials") == "error"
        fake.script("token", Answer(429), Answer(429))
        assert list(diagnose("badgr"))


# --- What it makes of answers


def no_word_for_a_dead_grant(server: Lying, status: int, body: str) -> None:
    usual = server.token

    def token(request: Any) -> dict[str, Any]:
        answer = usual(request)
        refused = answer["status"] == 401
        return (
            answer
            if refused or b"refresh_token" not in request.body
            else {"body": body, "status": status}
        )

    server.answers["/token"] = token


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (400, '{"error": "invalid_request"}', '"invalid_request"'),
        (400, "", '"status_400"'),
        (403, '{"error": "bad_refresh_token"}', '"bad_refresh_token"'),
    ],
)
def test_the_word_for_a_dead_grant_is_proposed(
    server: Lying, configure: Any, status: int, body: str, word: str
) -> None:
    no_word_for_a_dead_grant(server, status, body)
    checked = check("login")
    assert (checked.level("credentials"), checked.level("refresh")) == ("ok", "warning")
    assert f'"dead_grant_errors": ["invalid_grant", {word}]' in checked.said("refresh")
    configure(dead_grant_errors=["invalid_grant", word.strip('"')])
    assert check("login").level("refresh") == "ok"


@pytest.mark.parametrize(
    ("body", "level", "word"),
    [
        ('{"error": "unsupported_grant_type"}', "warning", "does not let this client refresh"),
        ('{"error": "unauthorized_client"}', "warning", "does not let this client refresh"),
        ('{"error": "invalid_grant"}', "ok", "called dead"),
    ],
)
def test_a_client_that_may_not_refresh_is_told_from_one_that_is_refused(
    server: Lying, configure: Any, body: str, level: str, word: str
) -> None:
    no_word_for_a_dead_grant(server, 400, body)
    checked = check("login")
    assert checked.level("refresh") == level
    assert word in checked.said("refresh")


def test_a_server_that_gives_a_token_for_anything_is_an_error(
    server: Lying, configure: Any
) -> None:
    no_word_for_a_dead_grant(server, 200, '{"access_token": "t"}')
    assert "never issued" in check("login").said("refresh")
    no_word_for_a_dead_grant(server, 503, "")
    assert "503" in check("login").said("refresh")


@pytest.mark.parametrize(
    ("used", "takes", "hint"),
    [
        ("client_secret_post", "basic", '"token_endpoint_auth_method": "client_secret_basic"'),
        ("client_secret_basic", "post", '"token_endpoint_auth_method": "client_secret_post"'),
        ("client_secret_basic", "raw", '"basic_auth_encoding": "raw"'),
    ],
)
def test_the_way_of_client_authentication_that_works_is_named(
    server: Lying, configure: Any, used: str, takes: str, hint: str
) -> None:
    configure(entry={"CLIENT_SECRET": "a+b"}, token_endpoint_auth_method=used)
    accepted = {"basic": "dGhlLWNsaWVudDphJTJCYg==", "raw": "dGhlLWNsaWVudDphK2I="}

    def token(request: Any) -> dict[str, Any]:
        sent = request.headers.get("authorization", "")
        body = b"client_secret=a%2Bb" in request.body
        right = body if takes == "post" else sent.endswith(accepted[takes])
        error = "invalid_code" if right else "unauthorized_client"
        return {"body": json.dumps({"error": error}), "status": 403}

    server.answers["/token"] = token
    checked = check("login")
    assert checked.level("credentials") == "error"
    assert "not in this way" in checked.said("credentials")
    assert hint in checked.said("credentials")


def test_two_answers_that_differ_tell_that_the_client_was_looked_at(
    server: Lying, configure: Any
) -> None:
    def token(request: Any) -> dict[str, Any]:
        right = b"client_secret=the-secret" in request.body
        return {"body": "", "status": 403 if right else 400}

    server.answers["/token"] = token
    assert check("login").level("credentials") == "ok"


def test_a_bare_401_is_a_client_that_is_refused(server: Lying, configure: Any) -> None:
    server.answers["/token"] = {"body": "Unauthorized", "status": 401}
    assert "refuses the client id or secret" in check("login").said("credentials")


def test_a_server_that_demands_dpop_says_so_itself(server: Lying, configure: Any) -> None:
    server.answers["/token"] = {"body": '{"error": "use_dpop_nonce"}', "status": 400}
    assert "DPoP" in check("login").said("credentials")


@pytest.mark.parametrize(
    ("more", "level", "word"),
    [
        ({"require_pushed_authorization_requests": True}, "error", "names no pushed_auth"),
        ({"require_signed_request_object": True}, "error", "RFC 9101"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "error", "private_key"),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, "error", "_basic"),
        ({"response_types_supported": ["token"]}, "error", "response_types_supported"),
        ({"scopes_supported": ["write"]}, "warning", "read"),
        ({"userinfo_endpoint": None}, "error", "whose an account is"),
        ({"scopes_supported": ["read"]}, "ok", "what this app uses"),
    ],
)
def test_what_the_metadata_demand_or_lack(
    server: Lying, configure: Any, more: dict[str, Any], level: str, word: str
) -> None:
    told = metadata(server.url, **({"userinfo_endpoint": f"{server.url}/me"} | more))
    server.answers[OPENID] = told
    entry = {"SCOPES": ["read"]}
    configure(entry=entry, issuer=server.url, **NO_ENDPOINTS, userinfo_endpoint=None)
    checked = check("login")
    assert checked.level("metadata") == level
    assert word in checked.said("metadata")


def test_the_issuer_that_a_document_names_is_shown(server: Lying, configure: Any) -> None:
    configure(issuer=server.url, **NO_ENDPOINTS)
    server.answers[OPENID] = metadata(f"{server.url}/")
    said = check("login").said("discovery")
    assert f'Write "issuer": "{server.url}/"' in said
    discovery.clear_cache()
    nameless = {"authorization_endpoint": "/authorize", "token_endpoint": "/token"}
    server.answers[OPENID] = {"body": json.dumps(nameless)}
    said = check("login").said("discovery")
    assert "names no issuer" in said
    assert f'"authorization_endpoint": "{server.url}/authorize"' in said


def test_relative_addresses_are_resolved(server: Lying, configure: Any) -> None:
    told = {"issuer": server.url, "authorization_endpoint": "/authorize"}
    told |= {"token_endpoint": "/token", "revocation_endpoint": "/revoke"}
    server.answers[OPENID] = {"body": json.dumps(told)}
    configure(issuer=server.url, **NO_ENDPOINTS)
    checked = check("login")
    assert checked.code == 0, checked.text
    assert f"{server.url}/token" in checked.said("token_endpoint")


def test_text_of_a_provider_that_is_not_plain_is_not_shown(server: Lying, configure: Any) -> None:
    no_word_for_a_dead_grant(server, 400, '{"error": "an \\u001b[31modd<b> one"}')
    assert "odd" not in check("login").text


@pytest.mark.parametrize("status", [405, 501])
def test_a_head_that_is_not_implemented_is_no_fault(
    server: Lying, configure: Any, status: int
) -> None:
    server.answers["/api"] = {"status": status}
    configure(api_base_url=f"{server.url}/api")
    assert check("login").level("api_base_url") == "ok"


def test_a_revocation_of_access_tokens_only_is_no_fault(server: Lying, configure: Any) -> None:
    def revoke(request: Any) -> dict[str, Any]:
        if b"hint=refresh_token" in request.body:
            return {"body": '{"error": "unsupported_token_type"}', "status": 401}
        return server.revoke(request)

    server.answers["/revoke"] = revoke
    checked = check("login")
    assert checked.level("revocation") == "ok"
    assert '"revoke_token_type_hint": "access_token"' in checked.said("revocation")


def test_what_an_unknown_token_is_told_is_proposed(server: Lying, configure: Any) -> None:
    body = '{"error": "invalid_request", "error_description": "Nothing here"}'
    server.answers["/revoke"] = {"body": body, "status": 400}
    checked = check("login")
    assert checked.level("revocation") == "warning"
    assert '"already_revoked_text": "nothing here"' in checked.said("revocation")
    configure(already_revoked_text="nothing here")
    assert check("login").level("revocation") == "ok"


def test_an_address_that_is_locked_out_is_said_so_and_left_alone(
    server: Lying, configure: Any
) -> None:
    for path in server.answers:
        server.answers[path] = {"body": "403: Forbidden", "status": 403}
    checked = check("login")
    assert (checked.code, checked.level("endpoints")) == (1, "error")
    assert "this machine's address" in checked.said("endpoints")
    assert checked.level("credentials") == "unchecked"
    assert {request.method for request in server.seen} <= {"GET", "HEAD"}


def test_no_call_fails_that_need_not_and_their_number_is_told(
    server: Lying, configure: Any
) -> None:
    """Home Assistant bans an address after five failures, counted over all runs."""
    configure(entry={"CLIENT_SECRET": ""}, token_endpoint_auth_method="none")
    failed: list[Any] = []

    def count(answer: Any) -> Any:
        def counted(request: Any) -> Any:
            found = answer(request) if callable(answer) else answer
            failed.extend([request] * (found["status"] in (400, 401)))
            return found

        return counted

    server.answers["/token"] = {"body": '{"error": "invalid_grant"}', "status": 400}
    server.answers["/revoke"] = {"status": 200}
    server.answers = {path: count(answer) for path, answer in server.answers.items()}
    checked = check("login")  # twice: for people and for machines
    assert len(failed) == 2 * 2
    assert checked.level("credentials") == "ok"
    assert "2 were refused" in checked.said("calls")


def test_a_connection_that_was_to_be_closed_is_not_used_again(
    server: Lying, configure: Any
) -> None:
    configure(api_base_url=f"{server.url}/api")
    check("login")
    closed = {r.line for r in server.seen if r.headers.get("connection") == "close"}
    last = {request.line: request for request in server.seen}
    assert closed
    assert all(last[line].headers.get("connection") == "close" for line in closed)
