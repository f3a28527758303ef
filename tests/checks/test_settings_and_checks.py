"""Settings: each bad one is a check with a stable id that says what to write instead."""

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import celery
import pytest
from django.core import checks
from django.core.management import call_command

import connected_accounts
from connected_accounts import conf
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider, get_providers
from connected_accounts.schedule import BEAT_SCHEDULE
from connected_accounts.secret import Secret

PACKAGE = Path(connected_accounts.__file__).parent
ERRORS = [f"E{number:03}" for number in (*range(1, 26), 27, 30, 33, 35, 36, 37, 38)]
WARNINGS = [f"W{number:03}" for number in (*range(1, 17), 19, *range(22, 27), 28, 29, 32, 33)]
BADGR = "connected_accounts.providers.badgr.Badgr"
GENERIC = {"BACKEND": "connected_accounts.providers.generic.OAuth2", "CLIENT_ID": "client"}
GOOD = {"BACKEND": BADGR, "CLIENT_ID": "client", "CLIENT_SECRET": "client-secret"}


@pytest.fixture(autouse=True)
def good_site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site whose settings give no message at all."""
    monkeypatch.setattr(celery, "current_app", celery.Celery("checked", set_as_current=False))
    settings.CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": dict(GOOD)}}


@pytest.fixture
def set_top(settings: Any) -> Callable[..., None]:
    def change(**values: Any) -> None:
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": dict(GOOD)}, **values}

    return change


@pytest.fixture
def set_entry(settings: Any) -> Callable[..., None]:
    def change(**values: Any) -> None:
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": {**GOOD, **values}}}

    return change


def found(*, deploy: bool = False) -> list[checks.CheckMessage]:
    tags = ["connected_accounts"]
    return checks.run_checks(tags=tags, include_deployment_checks=deploy)


def ids(*, deploy: bool = False) -> list[str]:
    return [str(message.id).removeprefix("connected_accounts.") for message in found(deploy=deploy)]


def test_good_settings_give_no_message(set_top: Any) -> None:
    set_top(REDIRECT_BASE_URL="https://app.example.org")
    assert found(deploy=True) == []


@pytest.mark.django_db  # from Django 6.1 on the command asks the databases too
def test_the_checks_run_with_the_command(set_top: Any) -> None:
    set_top(STATE_MAXAGE=60)
    with pytest.raises(Exception, match="STATE_MAXAGE") as caught:
        call_command("check")
    assert "connected_accounts.E002" in str(caught.value)


def test_our_tag_alone_asks_no_database() -> None:
    """With no mark for the database, a query would fail this test; Django 6.1 names them all."""
    asked = checks.run_checks(tags=["connected_accounts"], databases=["default"])
    assert asked == []


def test_the_ids_are_the_ones_that_were_ever_given_out() -> None:
    code = "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))
    assert sorted(set(re.findall(r"\b[EW]0\d\d\b", code))) == ERRORS + WARNINGS


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ({**GOOD, "SCOPE": []}, "Did you mean SCOPES?"),
        ({**GENERIC, "OPTIONS": {"token_url": "https://x.example/"}}, "token_endpoint"),
        ({**GENERIC, "OPTIONS": {"autorization_endpoint": "x"}}, "mean authorization_endpoint?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(
    entry: dict[str, Any], asked: str, set_top: Any
) -> None:
    set_top(PROVIDERS={"x": entry})
    hint = next(str(one.hint) for one in found() if str(one.id)[-4:] in ("E007", "E011"))
    assert asked in hint
    assert "Known are: " in hint


def test_urls_that_are_not_included_are_warned_of(settings: Any) -> None:
    urls = types.ModuleType("urls_without_ours")
    urls.urlpatterns = []  # type: ignore[attr-defined]
    sys.modules[urls.__name__] = urls
    settings.ROOT_URLCONF = urls.__name__
    assert ids() == ["W025"]


@pytest.mark.parametrize(
    ("secret", "options", "ids_"),
    [("", {}, ["W026"]), (None, {}, ["W026"]), ("x", {}, []), ("", {"none": True}, [])],
)
def test_a_secret_that_is_written_and_empty_is_warned_of(
    secret: Any, options: dict[str, Any], ids_: list[str], set_top: Any
) -> None:
    public = {"token_endpoint_auth_method": "none"} if options else {}
    where = {"issuer": "https://x.example"} | public
    set_top(PROVIDERS={"x": {**GENERIC, "CLIENT_SECRET": secret, "OPTIONS": where}})
    assert ids() == ids_


# --- The whole ----------------------------------------------------------------------------------

TOP: list[tuple[str, dict[str, Any], str]] = [
    ("E002", {"PROVIDER": {}}, "PROVIDERS"),
    ("E002", {"state_max_age": 1}, "STATE_MAX_AGE"),
    ("E002", {"REFRESH_AHEAD": 1}, "REFRESH_AT"),
    ("E004", {"REDIRECT_BASE_URL": "http://app.example.org"}, "https://app.example.org"),
    ("E004", {"REDIRECT_BASE_URL": "app.example.org"}, "https://app.example.org"),
    ("E004", {"REDIRECT_BASE_URL": "https://"}, "https://app.example.org"),
    ("E004", {"REDIRECT_BASE_URL": "http://localhost.example.org"}, "https://app.example.org"),
    ("E004", {"REDIRECT_BASE_URL": "https://x.example/?a=1"}, "https://app.example.org"),
    ("E016", {"SITE_ID": "x" * 256}, "255"),
    ("E016", {"SITE_ID": 5}, "255"),
    ("E016", {"SITE_ID": ["production"]}, "255"),
    ("E004", {"REDIRECT_BASE_URL": 5}, "https://app.example.org"),
    ("E005", {"PROVIDERS": [GOOD]}, "connected_accounts.providers.badgr.Badgr"),
    ("E005", {"PROVIDERS": None}, "connected_accounts.providers.badgr.Badgr"),
    ("E005", {"PROVIDERS": 5}, "connected_accounts.providers.badgr.Badgr"),
]
TOP += [("E033", {"RECONNECT_MAIL": value}, "True") for value in ("yes", 1, None)]
TOP.append(("E033", {"RECONNECT_MAIL": True}, "https://app.example.org"))
NUMBERS = [name for name, value in conf.DEFAULTS.items() if conf._is_number(value)]
TOP += [("E003", {name: "60"}, "Write a number") for name in NUMBERS]
TOP += [("E003", {name: True}, "Write a number") for name in NUMBERS]
TOP += [("E003", {name: value}, "from") for name in NUMBERS for value in (-1, 1e12, float("nan"))]
TOP += [("E003", {name: None}, str(conf.DEFAULTS[name])) for name in NUMBERS]


@pytest.mark.parametrize(("check", "values", "advice"), TOP)
def test_a_bad_setting_is_an_error_that_says_what_to_write(
    check: str, values: dict[str, Any], advice: str, set_top: Any
) -> None:
    set_top(**values)
    message = found()[0]
    assert (message.id, message.level) == (f"connected_accounts.{check}", checks.ERROR)
    assert advice in str(message.hint)
    (name,) = values
    assert name in message.msg
    assert ids() == [check], "one fault, one message"


@pytest.mark.parametrize("value", [None, [], "badgr", 5])
def test_settings_that_are_no_dict_are_one_error(value: Any, settings: Any) -> None:
    settings.CONNECTED_ACCOUNTS = value
    assert ids() == ["E001"]
    assert ids(deploy=True) == ["E001"]


@pytest.mark.parametrize("value", [None, 5, "badgr", ["badgr"]])
def test_providers_that_are_no_dict_are_an_error_wherever_they_are_used(
    value: Any, set_top: Any
) -> None:
    set_top(PROVIDERS=value)
    assert ids(deploy=True) == ["E005"]
    assert get_providers() == []
    with pytest.raises(ConfigurationError):
        get_provider("badgr")


@pytest.mark.parametrize(
    "values",
    [
        {"SITE_ID": "production"},
        {"REDIRECT_BASE_URL": "https://app.example.org"},
        {"REDIRECT_BASE_URL": "http://127.0.0.1:8000"},
        {"REDIRECT_BASE_URL": "http://localhost:8000"},
        {"REFRESH_AT": 0.5, "HTTP_TIMEOUT": 2.5, "HTTP_DEADLINE": 5},
        {"PROVIDERS": {}},
    ],
)
def test_a_setting_in_order_gives_no_message(values: dict[str, Any], set_top: Any) -> None:
    set_top(**values)
    assert ids() == []


@pytest.mark.parametrize("settings_of", [{}, None])
def test_no_settings_at_all_are_in_order(settings_of: Any, settings: Any) -> None:
    if settings_of is None:
        del settings.CONNECTED_ACCOUNTS
    else:
        settings.CONNECTED_ACCOUNTS = settings_of
    assert ids() == []
    assert conf.get("STATE_MAX_AGE") == 600
    assert get_providers() == []


def test_a_change_of_settings_takes_effect_at_once(settings: Any, set_top: Any) -> None:
    before = get_provider("badgr").config.client_id
    settings.CONNECTED_ACCOUNTS = {
        "STATE_MAX_AGE": 61,
        "PROVIDERS": {"badgr": {**GOOD, "CLIENT_ID": "another"}, "second": dict(GOOD)},
    }
    assert (before, get_provider("badgr").config.client_id) == ("client", "another")
    assert conf.get("STATE_MAX_AGE") == 61
    assert conf.provider_aliases() == ["badgr", "second"]


def test_a_site_is_named_by_its_id_else_by_its_address(set_top: Any) -> None:
    set_top(SITE_ID="production", REDIRECT_BASE_URL="https://app.example.org")
    assert conf.site_id() == "production"
    set_top(REDIRECT_BASE_URL="https://app.example.org")
    assert conf.site_id() == "https://app.example.org"
    set_top()
    assert conf.site_id() == ""


# --- What else must be there --------------------------------------------------------------------


def test_a_site_without_the_beat_entry_is_warned(settings: Any) -> None:
    settings.CELERY_BEAT_SCHEDULE = {"other": {"task": "other", "schedule": 60}}
    assert ids() == ["W001"]
    assert "BEAT_SCHEDULE" in str(found()[0].hint)
    assert found()[0].level == checks.WARNING


def test_the_beat_entry_may_be_in_celerys_own_settings_or_in_the_database(settings: Any) -> None:
    settings.CELERY_BEAT_SCHEDULE = {}
    celery.current_app.conf.beat_schedule = {**BEAT_SCHEDULE}
    assert ids() == []
    celery.current_app.conf.beat_schedule = {}
    settings.CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
    assert ids() == []


def test_a_site_without_providers_needs_no_beat_entry(settings: Any) -> None:
    settings.CELERY_BEAT_SCHEDULE = None
    settings.CONNECTED_ACCOUNTS = {}
    assert ids() == []


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({}, True),
        ({"transaction_mode": None}, True),
        ({"transaction_mode": "DEFERRED"}, True),
        ({"transaction_mode": "immediate"}, False),
        ({"transaction_mode": "EXCLUSIVE"}, False),
    ],
)
def test_sqlite_that_begins_without_a_lock_is_warned_of(
    options: dict[str, Any], warned: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": "x", "OPTIONS": options}
    monkeypatch.setitem(settings.DATABASES, "default", database)
    assert ids() == (["W002"] if warned else [])
    assert not warned or "IMMEDIATE" in str(found()[0].hint)


def test_another_database_is_not_warned_of(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": "x"}
    monkeypatch.setitem(settings.DATABASES, "default", database)
    assert ids() == []


def test_a_provider_on_this_machine_is_warned_of_when_deployed(set_entry: Any) -> None:
    local = "http://127.0.0.1:9000"
    set_entry(OPTIONS={"ui_base": local, "api_base": local})
    assert ids() == []
    assert "W003" in ids(deploy=True)
    assert "https" in next(str(m.hint) for m in found(deploy=True) if "W003" in str(m.id))


def test_the_client_secret_is_hidden_from_the_moment_it_is_read(set_entry: Any) -> None:
    config = get_provider("badgr").config
    assert isinstance(config.client_secret, Secret)
    assert config.client_secret.reveal() == "client-secret"
    assert "client-secret" not in repr(config)
    set_entry(
        OPTIONS={"api_key": "an-api-key"},
        BACKEND=BADGR.replace("badgr.Badgr", "bitbadges.BitBadges"),
    )
    provider = get_provider("badgr")
    assert "an-api-key" not in f"{provider!r} {provider.config!r}"


def test_the_registry_makes_providers_of_their_own_class(set_entry: Any) -> None:
    assert isinstance(get_provider("badgr"), Provider)
    assert [provider.alias for provider in get_providers()] == ["badgr"]
    with pytest.raises(ConfigurationError) as caught:
        get_provider("other")
    assert caught.value.code == "unknown_provider"


@pytest.mark.parametrize(("endpoint", "warned"), [("x", ["W006"]), ("token", [])])
def test_two_servers_with_one_issuer_are_warned_of(
    settings: Any, endpoint: str, warned: list[str]
) -> None:
    def entry(token_endpoint: str) -> dict[str, Any]:
        origin = "https://one.example"
        options = {
            "issuer": origin,
            "authorization_endpoint": f"{origin}/authorize",
            "token_endpoint": f"{origin}/{token_endpoint}",
        }
        return {**GENERIC, "OPTIONS": options}

    providers = {"first": entry("token"), "second": entry(endpoint)}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": providers}
    assert ids() == warned
