"""A provider class of the site's own: what it declares wrongly is told before anybody connects."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.core import checks
from django.utils.translation import gettext_lazy

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers import registry
from connected_accounts.providers.base import Identity, Provider
from connected_accounts.providers.generic import OAuth2
from connected_accounts.providers.registry import get_provider

SetClass = Callable[..., type[Provider]]


class Medals(Provider):
    authorization_endpoint = "https://medals.example/authorize"
    token_endpoint = "https://medals.example/token"

    def fetch_identity(self, session: Any, token: Any) -> Identity:
        return Identity("4711")


@pytest.fixture
def set_class(settings: Any, monkeypatch: pytest.MonkeyPatch) -> SetClass:
    """Derive a class that declares these values, and name it in settings."""
    module = ModuleType("medals_of_this_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def do(base: type[Provider] = Medals, options: Any = None, **declared: Any) -> type[Provider]:
        made = type("Own", (base,), declared)
        monkeypatch.setattr(module, "Own", made, raising=False)
        monkeypatch.setattr(registry, "_in_order", {})  # the class changes, its path does not
        entry = {"BACKEND": f"{module.__name__}.Own", "CLIENT_ID": "a", "CLIENT_SECRET": "b"}
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"medals": entry | {"OPTIONS": options or {}}}}
        return made

    return do


def found() -> list[tuple[str, str, str]]:
    messages = checks.run_checks(tags=["connected_accounts"])
    return [(str(m.id)[-4:], m.msg, str(m.hint)) for m in messages]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # The forgotten comma: each letter would be a text that ends a grant, or a scope.
        ("dead_grant_text", ("token expired")),
        ("dead_grant_errors", ("invalid_grant")),
        ("default_scopes", "read write"),
        ("connect_fields", "account"),
        ("dead_token_statuses", 401),
        ("revocation_endpoint", None),
        ("authorization_params", None),
        ("authorization_params", [("access_type", "offline")]),
        ("default_expires_in", "3600"),
        ("iss_required", "yes"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_it(
    name: str, value: Any, set_class: SetClass
) -> None:
    set_class(**{name: value})
    ((check, message, hint),) = found()
    assert check == "E008"
    assert f"Own.{name}" in message
    assert "medals" in message
    assert hint
    with pytest.raises(ConfigurationError):
        get_provider("medals")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_scopes", ["read", "write"]),
        ("name", gettext_lazy("Medals")),
        ("token_endpoint", property(lambda self: "https://medals.example/token")),
        ("scope_descriptions", {"read": gettext_lazy("Read your data")}),
    ],
)
def test_other_ways_to_declare_are_none(name: str, value: Any, set_class: SetClass) -> None:
    set_class(**{name: value})
    assert found() == []
    get_provider("medals")


def test_an_option_of_ones_own_comes_besides_those_of_the_class_above(set_class: SetClass) -> None:
    endpoints = {
        "authorization_endpoint": "https://medals.example/authorize",
        "token_endpoint": "https://medals.example/token",
        "userinfo_endpoint": "https://medals.example/me",
    }
    made = set_class(OAuth2, {"color": "red", **endpoints}, own_options={"color": "blue"})
    assert found() == []
    assert get_provider("medals").options["color"] == "red"
    assert made.own_options == {**OAuth2.own_options, "color": "blue"}
    assert "color" not in OAuth2.own_options


@pytest.mark.parametrize("lacks", ["authorization_endpoint", "token_endpoint"])
def test_a_class_without_the_endpoints_of_its_grant_is_an_error(
    lacks: str, set_class: SetClass
) -> None:
    set_class(**{lacks: ""})
    ((check, _, hint),) = found()
    assert (check, lacks in hint) == ("E015", True)
    set_class(**{lacks: ""}, options={lacks: "https://medals.example/elsewhere"})
    assert found() == []


def test_a_class_that_does_not_ask_whose_an_account_is_is_warned_of(set_class: SetClass) -> None:
    set_class(fetch_identity=Provider.fetch_identity)
    ((check, _, hint),) = found()
    assert (check, "fetch_identity" in hint) == ("W007", True)
