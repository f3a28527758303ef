"""Where the site lives: one redirect URI whatever the language, host or mount, and one address for
web, workers, mails and ``check_provider``."""

import sys
import types
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory
from django.urls import get_script_prefix, include, path, set_script_prefix
from django.utils.translation import override

from connected_accounts import checks
from connected_accounts.decorators import connection_required
from connected_accounts.exceptions import WayOn
from connected_accounts.management.commands.check_provider import redirect_finding
from connected_accounts.models import ConnectedAccount
from connected_accounts.operations.notices import mail_owner
from connected_accounts.pages.base import begin_again_address
from connected_accounts.providers.registry import get_provider
from connected_accounts.testing import FakeProvider
from tests.journeys import query_of, start
from tests.urls import urlpatterns

pytestmark = pytest.mark.django_db


BASE = "https://app.example.org"


def messages_of(check: Any, wanted: str) -> list[str]:
    return [f"{found.msg} {found.hint}" for found in check(None) if str(found.id).endswith(wanted)]


# --- Languages ----------------------------------------------------------------------------------


@pytest.fixture
def in_languages(settings: Any, app_settings: Any) -> None:
    urls: Any = types.ModuleType("urls_in_languages")
    urls.urlpatterns = [
        *(one for one in urlpatterns if "connections/" not in str(one.pattern)),
        *i18n_patterns(path("connections/", include("connected_accounts.urls"))),
    ]
    sys.modules[urls.__name__] = urls
    settings.ROOT_URLCONF = urls.__name__
    middleware = "django.middleware.locale.LocaleMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    settings.LANGUAGE_CODE = "en"
    app_settings(REDIRECT_BASE_URL=BASE)
    settings.ALLOWED_HOSTS = ["*"]


@pytest.mark.usefixtures("in_languages")
def test_there_is_one_redirect_uri_for_all_languages(client_of_ada: Client) -> None:
    sent = {
        query_of(client_of_ada.post(f"/{code}/connections/badgr/connect/")["Location"])[
            "redirect_uri"
        ]
        for code in ("en", "de", "fr")
    }
    assert sent == {f"{BASE}/en/connections/badgr/callback/"}


@pytest.mark.usefixtures("in_languages")
def test_a_language_code_that_languages_lack_leads_to_the_page_that_is_there(
    client_of_ada: Client, settings: Any, badgr: FakeProvider, prefix: Any
) -> None:
    """``en-us``, as a new project has it."""
    settings.LANGUAGE_CODE = "en-us"
    started = client_of_ada.post("/de/connections/badgr/connect/")["Location"]
    assert query_of(started)["redirect_uri"] == f"{BASE}/en/connections/badgr/callback/"
    assert client_of_ada.get("/en/connections/badgr/callback/", badgr.authorize(started))
    assert ConnectedAccount.objects.exists()
    prefix("/en-us/")  # a mount is no language
    started = client_of_ada.post("/de/connections/badgr/connect/")["Location"]
    assert query_of(started)["redirect_uri"] == f"{BASE}/en-us/en/connections/badgr/callback/"


@pytest.mark.usefixtures("in_languages")
def test_who_began_in_german_ends_in_german(client_of_ada: Client, badgr: FakeProvider) -> None:
    started = client_of_ada.post("/de/connections/badgr/connect/")
    params = badgr.authorize(started["Location"])
    done = client_of_ada.get("/en/connections/badgr/callback/", params)
    assert done["Location"] == "/de/connections/"
    page = client_of_ada.get(done["Location"]).content.decode()
    assert 'lang="de" dir="ltr"' in page
    assert "Badgr ist verbunden." in page
    started = client_of_ada.post("/de/connections/badgr/connect/")
    state = query_of(started["Location"])["state"]
    refused = {"state": state, "error": "access_denied"}
    page = client_of_ada.get("/en/connections/badgr/callback/", refused).content.decode()
    assert 'lang="de" dir="ltr"' in page


# --- A mount ------------------------------------------------------------------------------------


@pytest.fixture
def prefix() -> Any:
    """Django's script prefix, as FORCE_SCRIPT_NAME or the server sets it."""
    before = get_script_prefix()
    yield set_script_prefix
    set_script_prefix(before)


@pytest.mark.parametrize("base", ["https://example.org/app", "https://example.org/app/"])
@pytest.mark.parametrize("mount", ["/app/", "/"])
def test_the_path_of_the_base_stands_for_the_mount(
    client_of_ada: Client,
    make_account: Any,
    user: Any,
    app_settings: Any,
    prefix: Any,
    mailoutbox: list[Any],
    base: str,
    mount: str,
) -> None:
    """The web has it from the server, a worker may not."""
    app_settings(REDIRECT_BASE_URL=base)
    prefix(mount)
    started = client_of_ada.post("/connections/badgr/connect/")
    sent = query_of(started["Location"])["redirect_uri"]
    assert sent == "https://example.org/app/connections/badgr/callback/"
    ended = make_account(user=user, status="reconnect_required", reason="revoked")
    assert mail_owner(ended.pk, ended.generation)
    assert f"https://example.org/app/connections/{ended.pk}/reconnect/" in mailoutbox[0].body
    assert f"this at the provider: {sent}" in redirect_finding("badgr", {}).message


def test_a_mount_in_settings_alone_is_part_of_every_address(
    client_of_ada: Client, app_settings: Any, settings: Any, prefix: Any
) -> None:
    settings.FORCE_SCRIPT_NAME = "/app"
    prefix("/app/")
    app_settings(REDIRECT_BASE_URL="https://example.org")
    started = client_of_ada.post("/connections/badgr/connect/")
    sent = query_of(started["Location"])["redirect_uri"]
    assert sent == "https://example.org/app/connections/badgr/callback/"


def test_a_mount_that_only_the_server_knows_is_told_of_in_the_log(
    client_of_ada: Client, app_settings: Any, prefix: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app_settings(REDIRECT_BASE_URL="https://example.org")
    prefix("/shop/")
    client_of_ada.post("/connections/badgr/connect/")
    assert "REDIRECT_BASE_URL must be https://example.org/shop" in caplog.text


@pytest.mark.parametrize(
    ("base", "forced", "ids"),
    [
        ("https://example.org/app", "/app", []),
        ("https://example.org/app/", "/app/", []),
        ("https://example.org", "/app", []),
        ("https://example.org/app", None, ["W023"]),
        ("https://example.org/app", "/other", ["E030"]),
        ("http://localhost:8000/app", "/app", []),
    ],
)
def test_check_says_what_a_mount_needs(
    app_settings: Any, settings: Any, base: str, forced: str | None, ids: list[str]
) -> None:
    app_settings(REDIRECT_BASE_URL=base)
    settings.FORCE_SCRIPT_NAME = forced
    found = checks.check_settings(None)
    assert [str(one.id).partition(".")[2] for one in found] == ids
    for one in found:
        assert 'FORCE_SCRIPT_NAME = "/app"' in str(one.hint)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("http://app.example.org", "plain http"),
        ("app.example.org", "no https://"),
        ("https://x.example/?a=1", "a query"),
        ("https://x.example/#top", "a fragment"),
        ("https://ada@x.example", "a user name"),
        (5, "int"),
    ],
)
def test_check_names_the_reason_for_which_an_address_is_refused(
    app_settings: Any, base: Any, reason: str
) -> None:
    app_settings(REDIRECT_BASE_URL=base)
    [message] = messages_of(checks.check_settings, "E004")
    assert reason in message


# --- Tenants on subdomains ----------------------------------------------------------------------


@pytest.fixture
def on_subdomains(settings: Any, app_settings: Any) -> None:
    settings.ALLOWED_HOSTS = [".example.org"]
    settings.SESSION_COOKIE_DOMAIN = ".example.org"
    app_settings(REDIRECT_BASE_URL=BASE)


@pytest.mark.usefixtures("on_subdomains")
def test_a_flow_that_begins_on_a_tenant_comes_back_to_it(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    tenant: dict[str, Any] = {"headers": {"host": "tenant1.example.org"}, "secure": True}
    started = client_of_ada.post("/connections/badgr/connect/", **tenant)
    cookie = started.cookies["__Secure-connected_accounts_token"]
    assert (cookie["domain"], cookie["secure"], cookie["httponly"]) == (".example.org", True, True)
    params = badgr.authorize(started["Location"], subject="ada")
    app: dict[str, Any] = {"headers": {"host": "app.example.org"}, "secure": True}
    done = client_of_ada.get("/connections/badgr/callback/", params, **app)
    assert done["Location"] == "https://tenant1.example.org/connections/"
    assert ConnectedAccount.objects.get().label == "ada@example.org"


@pytest.mark.usefixtures("on_subdomains")
@pytest.mark.parametrize("host", ["evil.org", "example.org.evil.org", "evilexample.org"])
def test_no_other_host_is_a_way_back(client_of_ada: Client, badgr: FakeProvider, host: str) -> None:
    app: dict[str, Any] = {"headers": {"host": "app.example.org"}, "secure": True}
    data = {"next": f"https://{host}/"}
    started = client_of_ada.post("/connections/badgr/connect/", data, **app)
    params = badgr.authorize(started["Location"])
    done = client_of_ada.get("/connections/badgr/callback/", params, **app)
    assert done["Location"] == "/connections/"


def test_without_a_shared_session_the_cookie_is_of_one_host_alone(
    client_of_ada: Client, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(REDIRECT_BASE_URL=BASE)
    started = client_of_ada.post("/connections/badgr/connect/")
    assert started.cookies["__Host-connected_accounts_token"]["domain"] == ""


def test_deploy_check_speaks_of_hosts_that_share_no_session(
    settings: Any, app_settings: Any
) -> None:
    app_settings(REDIRECT_BASE_URL=BASE)
    settings.ALLOWED_HOSTS = [".example.org"]
    [message] = messages_of(checks.check_address, "W024")
    assert 'SESSION_COOKIE_DOMAIN = ".example.org"' in message
    settings.SESSION_COOKIE_DOMAIN = ".example.org"
    assert messages_of(checks.check_address, "W024") == []


def test_deploy_check_asks_for_a_public_address(settings: Any) -> None:
    [message] = messages_of(checks.check_address, "W024")
    assert "REDIRECT_BASE_URL" in message


# --- Only a callback ----------------------------------------------------------------------------


def test_a_site_with_the_callback_alone_ends_on_its_own_first_page(
    client_of_ada: Client, badgr: FakeProvider, settings: Any, prefix: Any
) -> None:
    urls: Any = types.ModuleType("urls_with_callback")
    urls.urlpatterns = [path("connections/", include("connected_accounts.callback_urls"))]
    params = badgr.authorize(start(client_of_ada))
    sys.modules[urls.__name__] = urls
    settings.ROOT_URLCONF = urls.__name__
    prefix("/app/")
    done: Any = client_of_ada.get("/connections/badgr/callback/", params)
    assert done["Location"] == "/app/"
    again = begin_again_address(done.wsgi_request, get_provider("badgr"), WayOn())
    assert again == "/app/"


def test_who_must_sign_in_comes_back_to_the_mount(prefix: Any) -> None:
    """From a form whose page is not known."""
    prefix("/app/")
    request = RequestFactory().post("/app/needs/")
    request.user = AnonymousUser()
    answer = connection_required("badgr")(lambda request: None)(request)
    assert query_of(answer["Location"])["next"] == "/app/"


def test_the_mail_is_in_the_language_of_its_link(
    make_account: Any, user: Any, in_languages: None, mailoutbox: list[Any]
) -> None:
    ended = make_account(user=user, status="reconnect_required", reason="revoked")
    with override("fr"):
        assert mail_owner(ended.pk, ended.generation, "de")
    assert f"{BASE}/de/connections/{ended.pk}/reconnect/" in mailoutbox[0].body
