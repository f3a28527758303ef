"""What well-known services do differently, each as a value that settings can declare."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import checks
from django.http import HttpRequest, HttpResponse

from connected_accounts.decorators import connection_required
from connected_accounts.exceptions import (
    ClientRejected,
    ConfigurationError,
    ReauthorizationRequired,
    UnexpectedResponse,
)
from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.providers.endpoints import api_base
from connected_accounts.providers.registry import get_provider
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import (
    disconnect,
    get_access_token,
    get_session,
    refresh,
    start_authorization,
)
from connected_accounts.testing import OMITTED, Answer, FakeProvider, connect_account

pytestmark = pytest.mark.django_db
URL = "https://server.example"
DECLARED = {
    "authorization_endpoint": f"{URL}/authorize",
    "token_endpoint": f"{URL}/token",
    "userinfo_endpoint": f"{URL}/me",
    "revocation_endpoint": f"{URL}/revoke",
    "api_base_url": f"{URL}/api",
}


@pytest.fixture
def server(settings: Any, fake_provider: Any) -> Any:
    """A server of one's own with these options, and the fake that plays it."""

    def make(options: dict[str, Any], *, fake: dict[str, Any] | None = None, **entry: Any) -> Any:
        settings.CONNECTED_ACCOUNTS = {
            "PROVIDERS": {
                "server": {
                    "BACKEND": "connected_accounts.providers.generic.OAuth2",
                    "CLIENT_ID": "the-client",
                    "CLIENT_SECRET": "the-secret",
                    "OPTIONS": DECLARED | options,
                    **entry,
                }
            }
        }
        return fake_provider("server", **(fake or {}))

    return make


def answering(fake: FakeProvider, **changes: Any) -> None:
    """Let the token endpoint answer with these fields changed."""
    own = fake._dialect.token_fields
    fake._dialect.token_fields = lambda grant: own(grant) | changes  # type: ignore[method-assign]


def granted(account: ConnectedAccount) -> list[str]:
    return list(ConnectedAccount.objects.get(pk=account.pk).scopes_granted)


# --- Lives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("life", [0, -1, "0"])
def test_a_life_of_nought_is_no_end(server: Any, user: Any, life: Any) -> None:
    fake = server({}, fake={"expires_in": life, "omit_refresh_token": True})
    account = connect_account(fake, user)
    assert account.expires_at is None
    assert get_access_token(account) == fake.grants[0].access_token


def test_a_life_that_is_not_told_may_be_declared(server: Any, user: Any) -> None:
    fake = server({"default_expires_in": 1800}, fake={"expires_in": OMITTED})
    account = connect_account(fake, user)
    fake.advance(hours=2)
    fake.expire_access_tokens()
    assert fake._server.by_access_token(get_access_token(account)) is fake.grants[0]


def test_a_life_that_is_told_wins_over_the_declared_one(server: Any, user: Any) -> None:
    account = connect_account(server({"default_expires_in": 60}, fake={"expires_in": 7200}), user)
    assert account.expires_at is not None
    assert account.expires_at - account.connected_at > timedelta(hours=1)


def test_the_refresh_tokens_life_is_read_where_it_is_declared(server: Any, user: Any) -> None:
    fake = server({"refresh_token_expires_in_field": "x_refresh_token_expires_in"})
    answering(fake, x_refresh_token_expires_in=86400)
    account = connect_account(fake, user)
    assert account.refresh_token_expires_at is not None


def test_a_refresh_waits_until_the_service_takes_one(server: Any, user: Any) -> None:
    fake = server({"refresh_margin": 3600}, fake={"expires_in": 21600})
    account = connect_account(fake, user)
    assert account.refresh_at is not None
    assert account.expires_at is not None
    left = account.expires_at - account.refresh_at
    assert timedelta(minutes=29) < left <= timedelta(hours=1)


# --- Scopes ---------------------------------------------------------------------------------------

NAMES: list[Any] = [
    (
        {"scope_aliases": {"https://long/email": "email"}},
        ["openid", "email"],
        "openid https://long/email",
    ),
    ({"scope_includes": {"user": ["user:email"]}}, ["user", "user:email"], "user"),
    ({"scope_includes": {"a": ["b"], "b": ["c"]}}, ["a", "c"], "a"),
    ({"unnamed_scopes": ["offline_access"]}, ["openid", "offline_access"], "openid"),
]


@pytest.mark.parametrize(("options", "asked", "answered"), NAMES)
def test_a_permission_under_another_name_counts(
    server: Any, user: Any, rf: Any, options: Any, asked: list[str], answered: str
) -> None:
    fake = server(options, SCOPES=asked)
    answering(fake, scope=answered)
    account = connect_account(fake, user)
    assert set(asked) <= set(granted(account))

    answering(fake, scope=answered, refresh_token=OMITTED)
    refresh(account)
    assert set(asked) <= set(granted(account))

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("seen")

    request = rf.get("/page/")
    request.user = user
    assert connection_required("server", scopes=asked)(view)(request).status_code == 200


def test_a_silent_permission_that_took_no_effect_does_not_count(server: Any, user: Any) -> None:
    fake = server(
        {"unnamed_scopes": ["offline_access"]},
        fake={"omit_refresh_token": True},
        SCOPES=["openid", "offline_access"],
    )
    answering(fake, scope="openid")
    assert granted(connect_account(fake, user)) == ["openid"]


def test_scopes_and_client_may_be_asked_for_under_other_names(server: Any, user: Any) -> None:
    names = {"scope_parameter": "user_scope", "client_id_parameter": "client_key"}
    fake = server(names, SCOPES=["read"])
    url = start_authorization(
        user=user, provider="server", redirect_uri="https://x.example/", browser_secret="b"
    )
    assert "user_scope=read" in url
    assert "client_key=the-client" in url
    assert "client_id=" not in url
    account = connect_account(fake, user)
    assert fake.sent_to("token")[0].fields["client_key"] == "the-client"
    assert granted(account) == ["read"]


# --- Requests -------------------------------------------------------------------------------------


def test_parameters_of_a_token_request_may_be_declared(server: Any, user: Any) -> None:
    fake = server(
        {
            "token_request_params": {"type": "web_server", "grant_type": "ignored"},
            "refresh_request_params": {"type": "refresh"},
        }
    )
    refresh(connect_account(fake, user))
    code, renewal = fake.sent_to("token")
    assert (code.fields["type"], code.fields["grant_type"]) == ("web_server", "authorization_code")
    assert (renewal.fields["type"], renewal.fields["grant_type"]) == ("refresh", "refresh_token")


def test_headers_of_every_call_may_name_the_client(server: Any, user: Any) -> None:
    fake = server({"headers": {"Client-Id": "{client_id}"}, "userinfo_method": "POST"})
    connect_account(fake, user)
    assert {one.headers["Client-Id"] for one in fake.requests} == {"the-client"}
    assert fake.sent_to("identity")[0].method == "POST"


def test_a_token_may_travel_in_a_header_of_its_own(server: Any, user: Any) -> None:
    fake = server({"access_token_header": "X-Access-Token"})
    account = connect_account(fake, user)
    fake.script("api", Answer(200, {}))
    session = get_session(account)
    session.get("things")
    sent = fake.sent_to("api")[0]
    assert sent.headers["X-Access-Token"] == fake.grants[0].access_token
    assert "Authorization" not in sent.headers
    with pytest.raises(ConfigurationError):
        session.token_for(f"{URL}/api")  # for clients that know one header only


WAYS: list[dict[str, Any]] = [
    {
        "revocation_method": "DELETE",
        "revocation_token_parameter": "",
        "revocation_auth_method": "bearer",
    },
    {"revocation_token_parameter": "", "revocation_auth_method": "bearer"},
    {
        "revocation_method": "DELETE",
        "revocation_endpoint": f"{URL}/applications/{{client_id}}/grant",
        "revocation_token_parameter": "access_token",
        "revocation_request_format": "json",
        "revocation_auth_method": "client_secret_basic",
    },
]


@pytest.mark.parametrize("way", WAYS)
def test_a_grant_is_withdrawn_in_the_declared_way(server: Any, user: Any, way: Any) -> None:
    fake = server({"revoke_token_type_hint": "access_token"} | way)
    account = connect_account(fake, user)
    token = fake.grants[0].access_token
    row = disconnect(account)
    revoke_pending()
    [sent] = fake.sent_to("revocation")
    assert sent.method == way.get("revocation_method", "POST")
    assert (sent.bearer or sent.fields.get("access_token")) == token
    assert "token_type_hint" not in sent.fields
    assert not fake.grants[0].is_alive
    assert row is not None


def test_a_grant_that_is_gone_needs_no_revoking(server: Any, user: Any) -> None:
    fake = server({"revoke_token_type_hint": "access_token"} | WAYS[0])
    account = connect_account(fake, user)
    fake.withdraw()
    row = disconnect(account)
    revoke_pending()
    assert row is not None
    row.refresh_from_db()
    assert row.outcome == Outcome.ALREADY_GONE


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"errors": [{"code": "GONE"}]}, ReauthorizationRequired),
        ({"errors": [{"code": "WHO"}]}, ClientRejected),
        ({"errors": [{"code": "invalid_request"}]}, UnexpectedResponse),
        ({"errors": [{"code": ["GONE"]}]}, UnexpectedResponse),
        ({"error": "GONE"}, UnexpectedResponse),
    ],
)
def test_an_error_code_is_read_where_it_is_declared(
    server: Any, user: Any, answer: Any, error: type[Exception]
) -> None:
    fake = server(
        {
            "error_path": "errors.0.code",
            "dead_grant_errors": ["GONE"],
            "client_errors": ["WHO"],
        }
    )
    account = connect_account(fake, user)
    fake.script("token", Answer(400, answer))
    with pytest.raises(error):
        refresh(account)


# --- Calls of the API -----------------------------------------------------------------------------


def renewals(fake: FakeProvider, account: ConnectedAccount, answer: Answer) -> int:
    """How many times three refused calls renew the token: once at most, since a token that was
    came a moment ago is not what is wrong."""
    session, before = get_session(account), len(fake.sent_to("token"))
    fake.advance(minutes=1)
    fake.script("api", *[answer] * 6)
    for _ in range(3):
        session.get("things")
    return len(fake.sent_to("token")) - before


@pytest.mark.parametrize(
    ("challenge", "renewed"),
    [
        ('Bearer error="insufficient_scope"', 0),
        ("Bearer error=insufficient_scope", 0),
        ('Bearer error="invalid_token"', 1),
        ('Bearer realm="x"', 1),
    ],
)
def test_a_401_for_another_reason_than_the_token_renews_nothing(
    server: Any, user: Any, challenge: str, renewed: int
) -> None:
    fake = server({})
    account = connect_account(fake, user)
    answer = Answer(401, {}, headers={"WWW-Authenticate": challenge})
    assert renewals(fake, account, answer) == renewed


@pytest.mark.parametrize(("requires", "renewed"), [(True, 0), (False, 1)])
def test_a_401_without_a_challenge_may_be_declared_to_say_nothing_of_the_token(
    server: Any, user: Any, requires: bool, renewed: int
) -> None:
    fake = server({"requires_challenge": requires})
    assert renewals(fake, connect_account(fake, user), Answer(401, {})) == renewed


TOLD = {"api_base_field": "instance_url", "api_domains": ["salesforce.example"]}


def test_the_apis_address_out_of_the_token_answer_is_kept_and_used(server: Any, user: Any) -> None:
    fake = server(TOLD)
    answering(fake, instance_url="https://acme.my.salesforce.example/base/")
    account = connect_account(fake, user)
    assert get_session(account).absolute_url("x") == "https://acme.my.salesforce.example/base/x"
    answering(fake, instance_url="https://other.salesforce.example")
    refresh(account)
    assert get_session(account).absolute_url("x") == "https://other.salesforce.example/x"
    document = ConnectedAccount.objects.with_token().get().open_token()
    assert document["api_base"] == "https://other.salesforce.example"


def test_without_an_address_in_the_answer_the_declared_one_holds(server: Any, user: Any) -> None:
    account = connect_account(server(TOLD), user)
    assert get_session(account).absolute_url("x") == f"{URL}/api/x"


def test_a_foreign_address_in_the_token_answer_connects_nobody(server: Any, user: Any) -> None:
    fake = server(TOLD)
    answering(fake, instance_url="https://salesforce.example.evil.example")
    with pytest.raises(UnexpectedResponse) as caught:
        connect_account(fake, user)
    assert caught.value.code == "api_base"
    assert not ConnectedAccount.objects.exists()


def test_an_address_that_settings_no_longer_allow_gets_no_token(server: Any, user: Any) -> None:
    fake = server(TOLD)
    answering(fake, instance_url="https://acme.salesforce.example")
    account = connect_account(fake, user)
    server(TOLD | {"api_domains": ["elsewhere.example"]})
    with pytest.raises(UnexpectedResponse):
        get_session(account)


@pytest.mark.parametrize(
    "told",
    [
        "http://acme.s.example",
        "https://acme.s.example:8443",
        "https://user@acme.s.example",
        "https://evil.example/.s.example",
        "https://acmes.example",
        "https://a\\@evil.example#.s.example",
        "https://[::1]",
        "https://127.0.0.1",
        "//acme.s.example",
        "javascript:x",
        "https://.s.example",
        7,
        {"a": 1},
    ],
)
def test_no_other_kind_of_address_is_taken(told: Any) -> None:
    with pytest.raises(UnexpectedResponse):
        api_base(told, ["s.example"])


@pytest.mark.parametrize("told", ["https://acme.s.example/", "acme.s.example", "https://s.example"])
def test_an_address_on_the_services_domains_is_taken(told: str) -> None:
    assert api_base(told, ["s.example"]).startswith("https://")


# --- Hosts ----------------------------------------------------------------------------------------

AT_HOST = {name: value.replace(URL, "https://{host}") for name, value in DECLARED.items()} | {
    "connect_fields": ["host"]
}


def test_one_host_is_not_asked_for(server: Any, user: Any) -> None:
    fake = server(AT_HOST | {"hosts": ["canvas.example.edu"]})
    assert get_provider("server").asked_fields() == []
    account = connect_account(fake, user, subject="7")
    assert account.subject == "canvas.example.edu:7"
    assert fake.sent_to("token")[0].url == "https://canvas.example.edu/token"


def test_of_several_hosts_one_is_chosen(server: Any, user: Any) -> None:
    hosts = ["one.example.edu", "two.example.edu/moodle", "http://127.0.0.1:9000/x"]
    fake = server(AT_HOST | {"hosts": hosts}, fake={"inputs": {"host": hosts[1]}})
    [field] = get_provider("server").asked_fields()
    assert (field.kind, field.choices) == ("choice", tuple(hosts))
    account = connect_account(fake, user, subject="7")
    assert account.subject == "two.example.edu/moodle:7"
    assert fake.sent_to("token")[0].url == "https://two.example.edu/moodle/token"
    with pytest.raises(ConfigurationError):
        get_provider("server").endpoints({"host": "evil.example"})
    local = get_provider("server").endpoints({"host": hosts[2]})
    assert local.token_endpoint == "http://127.0.0.1:9000/x/token"


def problems(alias: str = "server") -> list[str]:
    found = checks.run_checks(tags=["connected_accounts"])
    return [str(message.id)[-4:] for message in found if message.level >= checks.ERROR]


@pytest.mark.parametrize(
    "hosts", [[], ["http://intranet.example"], ["a.example", "a.example"], ["a.example?x"]]
)
def test_a_client_secret_is_sent_to_no_host_that_settings_do_not_name(
    settings: Any, hosts: list[str]
) -> None:
    entry = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": "the-client",
        "OPTIONS": AT_HOST | {"hosts": hosts},
    }
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"server": entry}}
    assert problems()[0] == "E022"
