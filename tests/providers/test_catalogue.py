"""The files of the catalogue hold to their schema; settings name a service in place of a class."""

import json
import re
import subprocess
import sys
import tomllib
from datetime import date
from typing import Any

import pytest
from django.core import checks

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.oauth2.jose import new_key
from connected_accounts.providers.base import DECLARED
from connected_accounts.providers.catalogue.phrases import PHRASES
from connected_accounts.providers.catalogue.services import (
    FOLDER,
    GENERIC,
    Service,
    nearest,
    service,
    service_names,
)
from connected_accounts.providers.generic import OAuth2
from connected_accounts.providers.registry import get_provider
from connected_accounts.web.marks import mark_of
from tests.docs.doc_pages import column, table
from tests.providers.catalogue_page import PAGE, with_table

NAMES = service_names()
KEY = new_key("ES384").private_pem().reveal()
KEYS = {"name", "backend", "groups", "sources", "checked", "quirks", "options", "scopes"}
LIVES = {"access_token_life", "refresh_token_life", "refresh"}
ANSWERS = {"token", "identity", "dead_grant", "dead_code", "wrong_client"}
PLACES = {"access_token", "refresh_token", "expires_in", "scope", "scopes", "subject", "label"}
PLACES |= {"id_token"}


def named(name: str) -> Service:
    found = service(name)
    assert found is not None
    return found


def entry_of(name: str) -> dict[str, Any]:
    by_key = named(name).options.get("token_endpoint_auth_method") == "private_key_jwt"
    hosts = ["one.example.org"] if "host" in named(name).options.get("connect_fields", ()) else []
    return {
        "SERVICE": name,
        "CLIENT_ID": "the-client",
        **({"CLIENT_KEY": KEY} if by_key else {"CLIENT_SECRET": "the-secret"}),
        **({"OPTIONS": {"hosts": hosts}} if hosts or name == "badge-connect" else {}),
    }


def configure(settings: Any, **entry: Any) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"one": {"CLIENT_ID": "the-client", **entry}}}


def found(level: int = checks.ERROR) -> list[checks.CheckMessage]:
    messages = checks.run_checks(tags=["connected_accounts"])
    return [m for m in messages if m.level >= level and m.id != "connected_accounts.W001"]


# --- The files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_short_and_says_where_its_values_are_from(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)
    assert len(text.splitlines()) <= 40
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert set(told) <= KEYS | LIVES
    assert told["name"]
    assert told["sources"]
    assert all(re.fullmatch(r"https://[^/\s]+/\S*", source) for source in told["sources"])
    assert len(set(told["sources"])) == len(told["sources"])
    assert date(2026, 1, 1) <= told["checked"]
    assert all(quirk.endswith(".") for quirk in told.get("quirks", ()))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_only_values_that_a_site_could_write(name: str, settings: Any) -> None:
    one = named(name)
    own = set(OAuth2.own_options)
    assert set(one.options) <= DECLARED | own
    assert one.refresh in ("rotates", "keeps", "yes", "again", "none")
    assert set(one.groups) <= {"education"}
    for life in (one.access_token_life, one.refresh_token_life):
        assert life is None or life > 0
    if one.backend.startswith(GENERIC.rpartition(".")[0]) or name in ("mastodon", "slack-user"):
        # What is asked for is never left to chance.
        assert "default_scopes" in one.options
    entry = entry_of(name)
    if name == "badge-connect":
        entry["OPTIONS"] = {"hosts": ["badges.example.org"]}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"one": entry}}
    assert found(checks.WARNING) == []
    assert set(one.options.get("identity_scopes", ())) <= set(one.options.get("default_scopes", ()))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_scope_does_is_said_in_translated_words(name: str) -> None:
    told = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    assert set(told.get("scopes", {}).values()) <= set(PHRASES)


def test_every_phrase_is_used() -> None:
    used: set[str] = set()
    for name in NAMES:
        used |= set(tomllib.loads((FOLDER / f"{name}.toml").read_text()).get("scopes", {}).values())
    assert used == set(PHRASES)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_recorded_answers_are_whole(file: Any) -> None:
    told = json.loads(file.read_text(encoding="utf-8"))
    assert file.stem in NAMES
    assert {"token"} <= set(told) <= ANSWERS
    text = json.dumps(told)
    assert "<access_token>" in json.dumps(told["token"])
    assert ("<subject>" in text) is (named(file.stem).options.get("identity_source") != "none")
    assert set(re.findall(r"<(\w+)>", text)) <= PLACES
    for name in ANSWERS - {"token", "identity"}:
        assert set(told.get(name, {"status": 0, "json": 0})) == {"status", "json"}


def test_there_is_no_other_file() -> None:
    assert {file.suffix for file in FOLDER.iterdir()} == {".toml", ".json"}


NAMED = """github gitlab bitbucket atlassian google microsoft slack discord zoom dropbox box notion
    asana clickup figma miro hubspot salesforce pipedrive mailchimp stripe paypal quickbooks xero
    spotify strava fitbit reddit linkedin x tiktok youtube twitch patreon wordpress todoist calendly
    typeform surveymonkey eventbrite coinbase orcid canvas moodle gitlab-self-managed mastodon
    nextcloud shopify zendesk freshdesk okta auth0 keycloak google-classroom clever credly badgr
    open-badge-factory"""


def test_the_catalogue_has_what_people_look_for() -> None:
    assert set(NAMED.split()) <= set(NAMES)


# Of each kind of trap at least one service has it; tests/providers/test_every_service.py and
# test_declared_values.py show what comes of it.
TRAPS: dict[str, tuple[str, str]] = {
    "a life of nought": ("mailchimp", ""),
    "no refresh token with a second consent": ("google", "authorization_params"),
    "scopes under other names": ("google", "scope_aliases"),
    "scopes that swallow others": ("github", "scope_includes"),
    "scopes that are never named": ("microsoft", "unnamed_scopes"),
    "a dead grant in other words": ("github", "dead_grant_errors"),
    "an error code elsewhere": ("strava", "error_path"),
    "a refresh token's life under another name": ("quickbooks", "refresh_token_expires_in_field"),
    "a life that is not told": ("salesforce", "default_expires_in"),
    "a 401 that is not about the token": ("canvas", "requires_challenge"),
    "a refresh that is not taken early": ("headhunter", "refresh_margin"),
    "an address of the API in the token answer": ("zoho", "api_base_field"),
    "a client id under another name": ("tiktok", "client_id_parameter"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_each_kind_of_trap_is_known_of_a_service(trap: str) -> None:
    name, value = TRAPS[trap]
    if value:
        assert named(name).options[value]
    else:
        told = json.loads((FOLDER / f"{name}.json").read_text())
        assert told["token"]["expires_in"] == 0


# --- SERVICE in settings --------------------------------------------------------------------------


def test_a_service_stands_in_place_of_a_backend(settings: Any) -> None:
    configure(settings, SERVICE="github")
    provider = get_provider("one")
    assert type(provider) is OAuth2
    assert (provider.name, provider.scopes) == ("GitHub", ("read:user",))
    assert provider.token_endpoint == "https://github.com/login/oauth/access_token"
    assert str(provider.scope_descriptions["read:user"]) == "See your profile"
    assert found() == []


def test_options_and_settings_win_over_the_catalogue(settings: Any) -> None:
    options = {"name": "Code", "api_base_url": "https://github.example/api"}
    configure(settings, SERVICE="github", SCOPES=["gist"], OPTIONS=options)
    provider = get_provider("one")
    assert (provider.name, provider.scopes) == ("Code", ("gist",))
    assert provider.endpoints().api_base_url == "https://github.example/api"
    assert provider.endpoints().token_endpoint == "https://github.com/login/oauth/access_token"


def test_what_settings_add_to_a_mapping_leaves_the_rest_of_the_catalogues(settings: Any) -> None:
    """Without access_type Google gives no refresh token."""
    options = {
        "authorization_params": {"prompt": "select_account"},
        "scope_descriptions": {"openid": "See who you are"},
    }
    configure(settings, SERVICE="google", OPTIONS=options)
    provider = get_provider("one")
    sent = {"access_type": "offline", "prompt": "select_account"}
    assert provider.authorization_params == sent
    assert provider.scope_descriptions["openid"] == "See who you are"
    assert provider.scope_descriptions["email"]


def test_a_change_of_settings_takes_effect(settings: Any) -> None:
    configure(settings, SERVICE="github")
    assert get_provider("one").name == "GitHub"
    configure(settings, SERVICE="gitlab")
    assert get_provider("one").name == "GitLab"


def test_scopes_without_which_nobody_can_connect_are_demanded(settings: Any) -> None:
    calendar = "https://www.googleapis.com/auth/calendar.readonly"
    configure(settings, SERVICE="google", SCOPES=[calendar])
    [warning] = found(checks.WARNING)
    assert warning.id == "connected_accounts.W012"
    assert "'openid'" in warning.msg
    configure(settings, SERVICE="google", SCOPES=["openid", calendar])
    assert found(checks.WARNING) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [("githb", "github"), ("GitHub", "github"), ("sales_force", "salesforce"), ("slak", "slack")],
)
def test_an_unknown_service_is_an_error_that_proposes_the_nearest(
    settings: Any, written: str, meant: str
) -> None:
    assert meant in nearest(written)
    configure(settings, SERVICE=written)
    [error] = found()
    assert error.id == "connected_accounts.E021"
    assert repr(written) in error.msg
    assert repr(meant) in str(error.hint)
    with pytest.raises(ConfigurationError) as caught:
        get_provider("one")
    assert meant in caught.value.message


def test_a_service_that_nobody_knows_has_no_nearest(settings: Any) -> None:
    configure(settings, SERVICE="zzzzzzzz")
    [error] = found()
    assert "Did you mean" not in str(error.hint)


@pytest.mark.parametrize("written", ["../catalogue/github", "github.toml", "", "a/../github"])
def test_a_name_is_no_path(written: str) -> None:
    assert service(written) is None


@pytest.mark.parametrize(
    "entry",
    [{"SERVICE": 7}, {"SERVICE": ["github"]}, {"SERVICE": "github", "BACKEND": GENERIC}],
)
def test_of_service_and_backend_there_is_one(settings: Any, entry: dict[str, Any]) -> None:
    configure(settings, **entry)
    assert [error.id for error in found()] == ["connected_accounts.E021"]


STARTED = """
import sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "connected_accounts"],
    FIELD_ENCRYPTION_KEY="b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI=",
    CONNECTED_ACCOUNTS={"PROVIDERS": {"one": {"SERVICE": "github", "CLIENT_ID": "c"}}},
)
import django
django.setup()
loaded = {"tomllib", "connected_accounts.providers.catalogue.services"} & set(sys.modules)
from connected_accounts.providers.registry import get_provider
assert get_provider("one").name == "GitHub"
print(sorted(loaded))
"""


def test_nothing_of_the_catalogue_is_read_at_start_up() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STARTED], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name",
    ["localhost", "10.0.0.1", "a b.example", "evil.example/x", "evil.example:80", "x", "é.example"],
)
def test_where_people_name_a_host_it_is_a_public_name(settings: Any, name: str) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"m": {"SERVICE": "mastodon"}}}
    provider = get_provider("m")
    [field] = provider.asked_fields()
    assert field.fault(name)
    assert not field.fault("social.example.org")
    with pytest.raises(ConfigurationError):
        provider.endpoints({"host": name})
    assert provider.endpoints({"host": "social.example.org"}).public_only


def test_a_place_in_an_address_is_asked_for_with_an_example(settings: Any) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"z": {"SERVICE": "zendesk", "CLIENT_ID": "c"}}}
    [field] = get_provider("z").asked_fields()
    assert (field.kind, str(field.label)) == ("label", "Subdomain")
    assert "acme.zendesk.com" in str(field.help_text)


# --- The documentation ----------------------------------------------------------------------------


def test_the_table_of_the_documentation_is_that_of_the_files() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_table(page), "run: python -m tests.providers.catalogue_page"
    assert "| `orcid` |" in page


def test_the_page_on_education_names_every_service_of_that_group() -> None:
    listed = column(table("how-to/education.md", "Learning, badges and credentials"), "`SERVICE`")
    assert sorted(listed) == [name for name in NAMES if "education" in named(name).groups]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_a_neutral_mark_of_letters(name: str) -> None:
    mark = mark_of(name, named(name).name)
    assert 1 <= len(mark.letters) <= 2
    assert mark.letters.isascii()
