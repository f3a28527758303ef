"""The settings of one provider: each bad one is a check, and the same error when it is used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks

from connected_accounts import conf
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.options import RESERVED_PARAMS
from connected_accounts.providers.registry import get_provider, get_providers

BADGR = "connected_accounts.providers.badgr.Badgr"
GOOD = {"BACKEND": BADGR, "CLIENT_ID": "client", "CLIENT_SECRET": "client-secret"}


@pytest.fixture
def set_entry(settings: Any) -> Callable[..., None]:
    def change(**values: Any) -> None:
        settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": {**GOOD, **values}}}

    return change


def found() -> list[checks.CheckMessage]:
    tags = ["connected_accounts"]
    return [m for m in checks.run_checks(tags=tags) if m.level >= checks.ERROR]


def endpoint(url: Any) -> dict[str, Any]:
    return {"OPTIONS": {"token_endpoint": url}}


ENTRY: list[tuple[str, dict[str, Any], str]] = [
    ("E007", {"CLIENTID": "x"}, "CLIENT_ID"),
    ("E007", {"scopes": ["x"]}, "SCOPES"),
    ("E008", {"BACKEND": ""}, BADGR),
    ("E008", {"BACKEND": None}, BADGR),
    ("E008", {"BACKEND": dict}, BADGR),
    ("E008", {"BACKEND": "badgr"}, BADGR),
    ("E008", {"BACKEND": "."}, BADGR),
    ("E008", {"BACKEND": ".badgr.Badgr"}, BADGR),
    ("E008", {"BACKEND": "..badgr.Badgr"}, BADGR),
    ("E008", {"BACKEND": "no.such.module"}, BADGR),
    ("E008", {"BACKEND": f"{BADGR}r"}, BADGR),
    ("E008", {"BACKEND": "connected_accounts.providers.badgr.REGIONS"}, BADGR),
    ("E008", {"BACKEND": "connected_accounts.providers.base.Identity"}, BADGR),
    ("E008", {"BACKEND": "connected_accounts.providers.badgr.hosts"}, BADGR),
    ("E010", {"SCOPES": "r:profile"}, '["r:profile", "r:backpack"]'),
    ("E010", {"SCOPES": {"r:profile"}}, '["r:profile", "r:backpack"]'),
    ("E010", {"SCOPES": ["r:profile", ""]}, '["r:profile", "r:backpack"]'),
    ("E010", {"SCOPES": ["r:profile", None]}, '["r:profile", "r:backpack"]'),
    ("E010", {"SCOPES": ["r:profile r:backpack"]}, '["r:profile", "r:backpack"]'),
    ("E010", {"OPTIONAL_SCOPES": ["r:issuer rw:issuer"]}, '["r:profile", "r:backpack"]'),
    ("E010", {"OPTIONAL_SCOPES": "r:issuer"}, '["r:profile", "r:backpack"]'),
    ("E010", {"OPTIONAL_SCOPES": None}, '["r:profile", "r:backpack"]'),
    ("E011", {"OPTIONS": None}, "dict"),
    ("E011", {"OPTIONS": ["region"]}, "dict"),
    ("E011", {"OPTIONS": {"regoin": "eu"}}, "region"),
    ("E011", {"OPTIONS": {"region": "mars"}}, "us, eu"),
    ("E012", {"OPTIONS": {"token_endpoint": "https://{shop}.example/token"}}, "connect_fields"),
    ("E011", {"OPTIONS": {"scope_separator": 5}}, "str"),
    ("E011", {"OPTIONS": {"iss_required": 1}}, "bool"),
    ("E011", {"OPTIONS": {"reuse_window": True}}, "int"),
    ("E011", {"OPTIONS": {"api_hosts": "https://api.example.org"}}, "tuple"),
    ("E011", {"OPTIONS": {"authorization_params": ["x"]}}, ""),
    ("E011", {"OPTIONS": {"authorization_params": {"include_granted_scopes": True}}}, '"true"'),
    ("E011", {"OPTIONS": {"token_request_params": {"tenant": None}}}, "not True"),
    ("E011", {"OPTIONS": {"refresh_request_params": {"version": ["2"]}}}, "not True"),
    ("E011", {"OPTIONS": {"reconnect_params": {5: "x"}}}, "not True"),
    ("E011", {"OPTIONS": {"scope_aliases": {"profile": ["r:profile"]}}}, "not True"),
    ("E011", {"OPTIONS": {"headers": {"X-API-Key": None}}}, "not True"),
    ("E011", {"OPTIONS": {"headers": {"X-API-Key": "key\n"}}}, "line break"),
    ("E011", {"OPTIONS": {"headers": {"X-API-Key:": "key"}}}, "line break"),
    ("E011", {"OPTIONS": {"token_endpoint_auth_method": "post"}}, "client_secret_post"),
    ("E011", {"OPTIONS": {"basic_auth_encoding": "utf-8"}}, "raw"),
    ("E011", {"OPTIONS": {"token_request_format": "xml"}}, "json"),
    ("E011", {"OPTIONS": {"code_challenge_method": "plain"}}, "S256"),
    ("E011", endpoint(5), "str"),
    ("E012", endpoint("http://api.example.org/token"), "https"),
    ("E012", endpoint("http://localhost:9000/token"), "127.0.0.1"),
    ("E012", endpoint("http://localhost.example.org/token"), "127.0.0.1"),
    ("E012", endpoint("http://127.0.0.1.example.org/token"), "127.0.0.1"),
    ("E012", endpoint("http://10.0.0.1/token"), "127.0.0.1"),
    ("E012", endpoint("http://0.0.0.0/token"), "127.0.0.1"),
    ("E012", endpoint("http://2130706433/token"), "127.0.0.1"),
    ("E012", endpoint("//api.example.org/token"), "https"),
    ("E012", endpoint("/token"), "https"),
    ("E012", endpoint("api.example.org/token"), "https"),
    ("E012", endpoint("ftp://api.example.org/token"), "https"),
    ("E012", endpoint("javascript:alert(1)"), "https"),
    ("E012", endpoint("https://"), "https"),
    ("E012", endpoint("https://user:word@api.example.org/token"), "https"),
    ("E012", endpoint("https://api.example.org/token#part"), "https"),
    ("E012", endpoint("https://api.example.org:port/token"), "https"),
    ("E012", endpoint("https://[::1/token"), "https"),
    ("E012", {"OPTIONS": {"api_base": "http://api.example.org"}}, "https"),
    ("E012", {"OPTIONS": {"api_hosts": ["http://api.example.org"]}}, "https"),
    ("E012", {"OPTIONS": {"api_hosts": ["ftp://api.example.org"]}}, "https"),
    ("E012", {"OPTIONS": {"api_hosts": ["user@api.example.org"]}}, "https"),
    ("E012", {"OPTIONS": {"api_hosts": ["*.example.org"]}}, "each host by"),
    ("E014", {"CLIENT_ID": "client\n"}, "line break"),
    ("E014", {"CLIENT_SECRET": " client-secret"}, "line break"),
    ("E014", {"EXCLUSIVE": "no"}, "True or False"),
    ("E014", {"EXCLUSIVE": 1}, "True or False"),
    ("E014", {"REFRESH_POLICY": "never"}, "on_use"),
    ("E014", {"REFRESH_POLICY": ""}, "on_use"),
    ("E014", {"MAX_REQUESTS_PER_SECOND": 0}, "above 0"),
    ("E014", {"MAX_REQUESTS_PER_SECOND": -1}, "above 0"),
    ("E014", {"MAX_REQUESTS_PER_SECOND": "5"}, "above 0"),
    ("E014", {"MAX_REQUESTS_PER_SECOND": True}, "above 0"),
]
ENTRY += [
    ("E013", {"OPTIONS": {"authorization_params": {name: "x"}}}, "Remove it")
    for name in sorted(RESERVED_PARAMS)
]


@pytest.mark.parametrize(("check", "values", "advice"), ENTRY)
def test_a_bad_entry_is_an_error_and_the_same_error_when_used(
    check: str, values: dict[str, Any], advice: str, set_entry: Any
) -> None:
    set_entry(**values)
    messages = found()
    assert {message.id for message in messages} == {f"connected_accounts.{check}"}
    assert all("badgr" in message.msg for message in messages)
    assert advice in str(messages[0].hint)
    assert "client-secret" not in str(messages)
    with pytest.raises(ConfigurationError) as caught:
        get_provider("badgr")
    assert caught.value.code == check
    assert get_providers() == []


@pytest.mark.parametrize("client_id", ["", None])
def test_without_a_client_id_the_provider_waits_for_one_that_an_admin_enters(
    client_id: Any, set_entry: Any
) -> None:
    set_entry(CLIENT_ID=client_id)
    [message] = checks.run_checks(tags=["connected_accounts"])
    assert (message.id, message.level) == ("connected_accounts.W004", checks.WARNING)
    assert "Provider clients" in str(message.hint)
    assert get_provider("badgr").client.client_id == ""


@pytest.mark.parametrize("alias", ["", "a b", "a/b", "ä", "a" * 65, "a.b", "a\n", 5, None])
def test_an_alias_that_cannot_stand_in_a_url_is_an_error(alias: Any, settings: Any) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {alias: dict(GOOD)}}
    (message,) = found()
    assert message.id == "connected_accounts.E006"
    assert "letters, digits" in str(message.hint)


@pytest.mark.parametrize("entry", [None, [], "x", 5, ("BACKEND", BADGR)])
def test_an_entry_that_is_no_dict_is_an_error(entry: Any, settings: Any) -> None:
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": entry}}
    (message,) = found()
    assert message.id == "connected_accounts.E006"
    with pytest.raises(ConfigurationError):
        get_provider("badgr")


def test_a_client_secret_that_the_environment_lacks_is_not_sent_as_none(set_entry: Any) -> None:
    set_entry(CLIENT_SECRET=None)
    try:
        secret = get_provider("badgr").config.client_secret.reveal()
    except ConfigurationError:
        assert [message.id for message in found()] != []
    else:
        assert secret == ""


@pytest.mark.parametrize(
    "values",
    [
        {"SCOPES": []},
        {"SCOPES": None},
        {"SCOPES": ("r:profile",)},
        {"CLIENT_SECRET": ""},
        {"EXCLUSIVE": True, "REFRESH_POLICY": "on_use", "MAX_REQUESTS_PER_SECOND": 2.5},
        {"OPTIONS": {"region": "eu", "brand": "parchment"}},
        {"OPTIONS": {"authorization_params": {"prompt": "consent"}, "reuse_window": 30}},
        {"OPTIONS": {"authorization_params": {"max_age": 3600}}},
        {"OPTIONS": {"api_hosts": ["https://files.example.org", "http://127.0.0.1:9000"]}},
        {"OPTIONS": {"api_hosts": ["files.example.org"]}},  # https
        endpoint("https://api.example.org/token?tenant=1"),
        endpoint("HTTPS://API.example.org:8443/token"),
        endpoint("http://127.0.0.1:9000/token"),
        endpoint("http://127.1.2.3/token"),
        endpoint("http://[::1]:9000/token"),
    ],
    ids=repr,
)
def test_an_entry_in_order_gives_no_error(values: dict[str, Any], set_entry: Any) -> None:
    set_entry(**values)
    assert found() == []
    assert get_provider("badgr").alias == "badgr"


def test_a_class_whose_own_imports_fail_is_told_with_the_reason(
    set_entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "medals_unimportable.py").write_text("import no_such_library\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    set_entry(BACKEND="medals_unimportable.Medals")
    (message,) = found()
    assert str(message.id)[-4:] == "E008"
    assert "no_such_library" in message.msg


@pytest.mark.parametrize("paired", [False, True])
def test_a_key_that_stands_in_place_of_its_file_is_not_shown(paired: bool, set_entry: Any) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIGHthekeyitself\n-----END PRIVATE KEY-----\n"
    set_entry(CLIENT_CERTIFICATE=("client.pem", pem) if paired else pem)
    (message,) = found()
    assert str(message.id)[-4:] == "E014"
    assert "path" in str(message.hint)
    with pytest.raises(ConfigurationError) as caught:
        get_provider("badgr")
    assert "thekeyitself" not in f"{message} {caught.value}"


def test_a_password_in_an_address_is_not_shown(set_entry: Any) -> None:
    set_entry(**endpoint("https://site:thepassword@api.example.org/token"))
    (message,) = found()
    assert "token_endpoint" in message.msg
    assert "thepassword" not in str(message)


def test_several_faults_are_all_told_at_once(set_entry: Any) -> None:
    set_entry(CLIENTID="x", SCOPES="r:profile", REFRESH_POLICY="never")
    assert [str(m.id)[-4:] for m in found()] == ["E007", "E010", "E014"]


def test_one_bad_provider_leaves_the_others_usable(settings: Any) -> None:
    bad = {**GOOD, "BACKEND": "no.such.module"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bad": bad, "good": dict(GOOD)}}
    assert [provider.alias for provider in get_providers()] == ["good"]
    assert get_provider("good").config.client_id == "client"
    assert [str(m.id)[-4:] for m in found()] == ["E008"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_a_loopback_address_is_a_literal(host: str) -> None:
    assert conf.is_loopback_literal(host)


@pytest.mark.parametrize("host", ["", "localhost", "127.1", "0.0.0.0", "10.0.0.1", "::", "evil"])
def test_a_name_and_another_address_are_no_loopback_literal(host: str) -> None:
    assert not conf.is_loopback_literal(host)
