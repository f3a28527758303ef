"""The documentation of providers says what they declare, take and override."""

import importlib
import inspect
import pkgutil

import pytest
from django.test import override_settings

from connected_accounts import providers
from connected_accounts.providers import registry
from connected_accounts.providers.badge_connect import BadgeConnect
from connected_accounts.providers.badgr import REGIONS, Badgr, hosts
from connected_accounts.providers.base import DECLARED, ENDPOINT_NAMES, Provider
from connected_accounts.providers.bime import Bime
from connected_accounts.providers.bitbadges import BitBadges
from connected_accounts.providers.bits import Bits
from tests.docs.doc_pages import column, names, page, section, table, tables, value

PAGES = {BadgeConnect: "badge-connect"}


def bundled() -> dict[str, type[Provider]]:
    found = {}
    for module in pkgutil.walk_packages(providers.__path__, f"{providers.__name__}."):
        loaded = importlib.import_module(module.name)
        for name, kind in inspect.getmembers(loaded, inspect.isclass):
            if kind.__module__ == loaded.__name__ and issubclass(kind, Provider):
                found[f"{loaded.__name__}.{name}"] = kind
    del found["connected_accounts.providers.base.Provider"]
    return found


def test_every_included_provider_is_documented() -> None:
    rows = table("reference/providers.md", "Included")
    assert {names(row["`BACKEND`"])[0]: row["Name"][1:].partition("]")[0] for row in rows} == {
        path: kind.name for path, kind in bundled().items()
    }


def test_every_declared_value_is_documented_with_its_default() -> None:
    documented = {
        name: value(row["Default"])
        for row in table("reference/providers.md", "Declared values")
        for name in names(row["Value"])
    }
    assert documented == {name: getattr(Provider, name) for name in DECLARED}


@pytest.mark.parametrize("kind", [Badgr, BitBadges, Bits, Bime, BadgeConnect])
def test_what_an_included_provider_declares_is_documented(kind: type[Provider]) -> None:
    shown = {
        names(row["Value"])[0]: value(row[kind.name])
        for row in tables(page("auditors/provider-values.md"))[0]
    }
    assert shown == {name: getattr(kind, name) for name in shown}
    declared = DECLARED & set(vars(kind))
    assert declared - set(shown) <= {"name", "scope_descriptions", *ENDPOINT_NAMES}


@pytest.mark.parametrize("kind", [Badgr, BitBadges, Bits, Bime, BadgeConnect])
def test_a_providers_page_has_its_options_and_scopes(kind: type[Provider]) -> None:
    name = f"how-to/{PAGES.get(kind, kind.__name__.lower())}.md"
    options = {names(row["Option"])[0]: value(row["Default"]) for row in table(name, "Options")}
    assert options == kind.own_options
    notes = "auditors/provider-notes.md"
    if kind in (BitBadges, BadgeConnect):  # many: the words are not on the page
        rows = table(notes, f"Scopes of {kind.name} and what people read")
        assert column(rows, "Scope") == names(section(name, "Scopes"))[: len(rows)]
        rows += table(notes, "Scopes of the dialect `oauth`") if kind is BitBadges else []
    else:
        rows = table(name, "Scopes") if kind.scope_descriptions else []
    scopes = {names(row["Scope"])[0]: row["Lets your site"] for row in rows}
    assert scopes == {scope: str(words) for scope, words in kind.scope_descriptions.items()}


def test_badgrs_notes_have_the_hosts_of_every_region() -> None:
    rows = table("auditors/provider-notes.md", "Hosts of every region")
    assert {
        names(row["Region"])[0]: tuple(
            names(row[f"{what} (`{brand}`)"])[0]
            for brand in ("badgr", "parchment")
            for what in ("Pages", "API")
        )
        for row in rows
    } == {region: hosts("badgr", region) + hosts("parchment", region) for region in REGIONS}


def test_bitbadges_notes_have_the_endpoints_of_each_dialect() -> None:
    for row in table("auditors/provider-notes.md", "Endpoints of each dialect"):
        entry = {
            "BACKEND": "connected_accounts.providers.bitbadges.BitBadges",
            "CLIENT_ID": "client",
            "OPTIONS": {"dialect": names(row["Dialect"])[0]},
        }
        with override_settings(CONNECTED_ACCOUNTS={"PROVIDERS": {"bitbadges": entry}}):
            endpoints = registry.get_provider("bitbadges").endpoints()
        assert names(row["Authorize"]) == [endpoints.authorization_endpoint]
        assert names(row["Token"]) == [endpoints.token_endpoint]
        assert names(row["Revoke"]) == [endpoints.revocation_endpoint]


def test_every_hook_is_documented() -> None:
    rows = table("how-to/write-a-provider.md", "Hooks")
    for row in rows:
        name, parameters = names(row["Hook"])[0].rstrip(")").split("(")
        signature = inspect.signature(getattr(Provider, name))
        assert list(signature.parameters)[1:] == [p for p in parameters.split(", ") if p]
    hooks = {names(row["Hook"])[0].partition("(")[0] for row in rows}
    assert hooks == set(names(section("reference/providers.md", "Hooks")))
