"""No backend without recordings and contract for its grants, and no case gone unnoticed."""

import inspect
import json
import logging
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

import connected_accounts.providers
from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.providers.base import Provider
from connected_accounts.providers.options import CHOICES
from connected_accounts.testing import CANARY
from connected_accounts.testing.conformance import CONTRACTS, ProviderContract
from connected_accounts.testing.conformance.client_credentials import ClientCredentialsCases
from connected_accounts.testing.conformance.code import CodeCases
from connected_accounts.testing.conformance.failures import FailureCases
from connected_accounts.testing.conformance.identity import IdentityCases
from connected_accounts.testing.conformance.personal_token import PersonalTokenCases
from connected_accounts.testing.conformance.revocation import NoRevocationCases, RevocationCases
from connected_accounts.testing.conformance.tokens import TokenCases
from tests.providers.harness import (
    CLIENT_ID,
    CLIENT_SECRET,
    RECORDINGS,
    Harness,
    assert_hidden,
    leaks_in,
    texts_of_record,
)

NOT_BACKENDS = {
    *("badge_client", "badge_hosts", "base", "catalogue", "client", "endpoints", "hooks", "hosts"),
    *("inputs", "options", "paths", "registry"),
}
BACKENDS = sorted(
    module.name
    for module in pkgutil.iter_modules(connected_accounts.providers.__path__)
    if module.name not in NOT_BACKENDS
)
FILES = sorted(RECORDINGS.glob("*/*.json"))

# What the contract promises, by the grants that it is for. A case that is renamed, added or deleted
# is so here too.
PROMISED: dict[type[Harness], dict[str, list[str]]] = {
    TokenCases: {
        "expires_in number, string": ["the_life_of_a_token_is_read_from"],
        "expires_in missing": ["a_life_that_is_not_told_is_not_known"],
        "expires_in nought, negative": ["a_life_of_nought_or_less_has_not_ended_already"],
        "expires_in absurd": ["a_life_beyond_all_measure_is_bounded"],
    },
    FailureCases: {
        "429": [
            "a_throttled_refresh_is_tried_again",
            "a_throttled_refresh_waits_as_long_as_retry_after_says",
        ],
        "500": ["a_server_error_is_tried_again"],
        "timeout": [
            "a_timeout_is_tried_again_and_may_have_spent_the_token",
            "a_refused_connection_is_tried_again_and_has_spent_nothing",
        ],
        "redirect refused": ["a_redirect_is_refused_and_nothing_is_sent_on"],
        "200 with an error body": ["an_error_under_status_200_is_no_success"],
        "not JSON": ["an_answer_that_is_not_json_is_tried_again"],
        "huge body": ["a_huge_answer_is_not_read_to_its_end"],
        "missing or empty access_token": ["an_answer_has_failed_whose_access_token_is"],
        "no secret": ["an_error_that_quotes_our_secrets_is_not_repeated"],
    },
    IdentityCases: {
        "identity": ["the_identity_has_a_stable_subject_and_a_label_for_people"],
        "identity refused": ["an_identity_that_is_no_identity_is_refused"],
    },
    ProviderContract: {
        "no secret": [
            "nothing_that_can_be_printed_shows_a_secret",
            "the_database_holds_no_secret_in_the_clear",
        ],
    },
    CodeCases: {
        "success": [
            "a_person_connects_and_the_account_is_stored",
            "the_code_is_exchanged_as_it_was_asked_for",
        ],
        "refresh rotates": [
            "a_refresh_replaces_both_tokens",
            "each_refresh_presents_the_newest_refresh_token_once",
        ],
        "refresh omits refresh_token": ["a_refresh_that_gives_no_refresh_token_keeps_the_old_one"],
        "second authorization omits it": [
            "a_second_authorization_that_gives_no_refresh_token_keeps_the_old_one"
        ],
        "refusal": ["a_refusal_in_whatever_word_is_the_persons_own"],
        "dead refresh token": [
            "a_dead_refresh_token_must_be_connected_again",
            "a_dead_code_ends_the_authorization_and_stores_nothing",
        ],
        "wrong client secret": ["a_wrong_client_secret_is_the_sites_fault_and_ends_no_account"],
        "timeout": ["a_token_that_is_dead_after_a_lost_answer_was_lost_in_rotation"],
        "identity refused": ["a_refused_identity_connects_nobody_and_withdraws_the_grant"],
    },
    ClientCredentialsCases: {
        "success": [
            "the_site_connects_with_its_own_credentials",
            "a_person_connects_with_credentials_that_are_kept_as_long_as_the_account",
            "the_token_is_asked_for_with_the_owners_credentials",
        ],
        "asked for again": [
            "renewing_is_asking_again",
            "a_token_at_its_end_is_renewed_when_it_is_used",
        ],
        "wrong credentials": [
            "credentials_that_are_refused_connect_nobody",
            "refused_credentials_of_the_site_touch_no_users_account",
            "a_persons_refused_credentials_end_that_account_only_and_are_not_sent_again",
        ],
        "timeout": [
            "an_answer_that_was_lost_costs_nothing",
            "an_outage_is_not_taken_for_wrong_credentials",
        ],
        "identity refused": ["a_refused_identity_connects_nobody"],
    },
    PersonalTokenCases: {
        "success": [
            "a_token_is_looked_at_once_and_stored",
            "a_newer_token_takes_the_place_of_the_old_one",
        ],
        "no refresh": ["it_is_never_refreshed"],
        "dead token": [
            "a_token_that_is_refused_is_not_stored",
            "a_refusal_at_use_ends_it_after_one_look",
            "a_call_that_is_refused_alone_ends_nothing",
        ],
        "timeout": ["an_outage_is_not_taken_for_a_wrong_token"],
        "identity refused": ["a_refused_identity_connects_nobody"],
        "newline": ["a_token_that_no_header_could_carry_is_not_sent"],
    },
    RevocationCases: {
        "revoke done": [
            "a_revoked_grant_is_done_with",
            "a_disconnected_grant_is_dead_at_the_provider",
        ],
        "revoke unknown": ["a_grant_that_the_provider_does_not_know_is_done_with"],
        "revoke replaced": ["a_replaced_grant_is_dead_too_after_the_disconnect"],
        "revoke public client": ["a_client_without_a_secret_names_itself_unless_declared_bare"],
        "revoke refused": [
            "a_refused_revocation_is_tried_until_it_is_done",
            "a_provider_without_the_endpoint_does_not_hold_up_the_outbox",
            "a_revocation_without_an_answer_or_redirected_is_tried_again",
        ],
    },
    NoRevocationCases: {
        "no revocation": ["disconnecting_is_done_without_asking_the_provider"],
    },
}
# The cases of each grant.
COMMON: Final = {IdentityCases, ProviderContract}
ASKED: Final = {TokenCases, FailureCases}
OF_GRANT: Final = {
    "authorization_code": {CodeCases, *ASKED, *COMMON},
    "client_credentials": {ClientCredentialsCases, *ASKED, *COMMON},
    "personal_token": {PersonalTokenCases, *COMMON},
}


def contracts_in(module: ModuleType) -> list[type[ProviderContract]]:
    """The contract classes that pytest collects in a module."""
    return [
        value
        for name, value in vars(module).items()
        if name.startswith("Test")
        and isinstance(value, type)
        and issubclass(value, ProviderContract)
    ]


def test_modules_are_scanned():
    assert {"badgr", "bitbadges"} <= set(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_held_to_the_contract(name: str):
    module = import_module(f"connected_accounts.providers.{name}")
    backends = {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Provider)
        and value.__module__ == module.__name__
    }
    assert backends, f"{name} defines no provider: is it one of {NOT_BACKENDS}?"

    held = {
        contract.backend for contract in contracts_in(import_module(f"tests.providers.test_{name}"))
    }

    assert held >= {f"{backend.__module__}.{backend.__qualname__}" for backend in backends}


def provider_of(contract: type[ProviderContract], settings: Any) -> Provider:
    harness = contract()
    harness.settings = settings
    harness.configure()
    return harness.provider


def cases_of(kind: type) -> set[str]:
    """The cases that a class has, its own and those of the classes it is made of."""
    return {name for name, _ in inspect.getmembers(kind) if name.startswith("test_")}


def promised(kind: type[Harness]) -> list[str]:
    return [f"test_{name}" for names in PROMISED[kind].values() for name in names]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_held_to_the_contract_of_each_of_its_grants(name: str, settings: Any):
    for contract in contracts_in(import_module(f"tests.providers.test_{name}")):
        provider = provider_of(contract, settings)
        assert issubclass(contract, CONTRACTS[provider.grant_type])
        # With the endpoint or without it: the cases of one of both, and of the right one.
        assert issubclass(contract, RevocationCases) is not issubclass(contract, NoRevocationCases)
        if issubclass(contract, NoRevocationCases):
            assert not provider.known_endpoints().revocation_endpoint


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_has_every_recording(name: str):
    for contract in contracts_in(import_module(f"tests.providers.test_{name}")):
        there = {file.stem for file in (RECORDINGS / contract.alias).glob("*.json")}
        needed = set().union(*(vars(kind).get("needs", ()) for kind in contract.__mro__))
        assert needed
        assert there >= needed


@pytest.mark.parametrize("kind", PROMISED)
def test_the_contract_has_exactly_the_cases_it_promises(kind: type[Harness]):
    assert sorted(n for n in vars(kind) if n.startswith("test_")) == sorted(promised(kind))


def test_every_grant_type_has_a_contract_of_its_cases():
    of_mcp_alone = {"identity_assertion"}  # tests/mcp/test_identity_assertion.py
    assert set(CONTRACTS) == set(OF_GRANT) == set(CHOICES["grant_type"]) - of_mcp_alone
    for grant_type, contract in CONTRACTS.items():
        wanted = {
            f"test_{n}" for k in OF_GRANT[grant_type] for ns in PROMISED[k].values() for n in ns
        }
        assert cases_of(contract) == wanted


@pytest.mark.parametrize("name", BACKENDS)
def test_no_backend_overrides_or_skips_a_case(name: str):
    module = import_module(f"tests.providers.test_{name}")
    assert not hasattr(module, "pytestmark")
    for contract in contracts_in(module):
        assert getattr(contract, "__test__", True)
        assert marks_of(contract) == {"django_db"}
        for kind in set(contract.__mro__) & set(PROMISED):
            for case in (name for name in vars(kind) if name.startswith("test_")):
                function = vars(kind)[case]
                assert getattr(contract, case) is function
                assert marks_of(function) <= {"parametrize"}


def marks_of(thing: Any) -> set[str]:
    return {mark.name for mark in getattr(thing, "pytestmark", [])}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_recording_says_where_it_is_from_and_holds_no_real_secret(file: Path):
    document = json.loads(file.read_text())

    assert set(document) <= {"source", "status", "headers", "json", "body"}
    assert ("json" in document) is not ("body" in document)
    assert document["source"].startswith(("Seen ", "Not seen", "From "))
    content = document.get("json") or {}
    if isinstance(content, dict):
        assert_only_canaries(content)


def assert_only_canaries(content: dict[str, Any]) -> None:
    public = {content.get(key) for key in ("address", "bitbadgesAddress")}
    for key in ("access_token", "refresh_token", "accessToken", "refreshToken", "_docId"):
        value = content.get(key) or ""
        assert value == "" or value.startswith(CANARY) or value in public


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_recording_is_used(file: Path):
    folders = (Path(__file__).parent, Path(inspect.getfile(Harness)).parent)
    code = "".join(source.read_text() for folder in folders for source in folder.glob("*.py"))
    without, _, _ = file.stem.rpartition("_access_token")
    written = [file.stem, *([] if not without else ["token_{lack}_access_token"])]
    if file.stem.startswith("token_expires_in_"):
        written.append("token_expires_in_{written_as}")

    assert any(f'"{name}"' in code for name in written)


# The scan itself.


@pytest.mark.parametrize(
    "shown",
    [
        "canary-access-1",
        f"secret={CLIENT_SECRET}",
        "Basic dGhlLWNsaWVudDpjYW5hcnktY2xpZW50LXNlY3JldA==",
    ],
)
def test_the_scan_finds_a_secret(shown: str):
    assert CLIENT_ID == "the-client"
    assert leaks_in(shown)
    assert not leaks_in("the-client ***")


def test_the_scan_looks_behind_an_exception():
    def fails() -> None:
        try:
            raise ValueError("canary-access-1")
        except ValueError:
            raise UnexpectedResponse("not_json") from None

    with pytest.raises(UnexpectedResponse) as caught:
        fails()

    with pytest.raises(AssertionError, match="UnexpectedResponse"):
        assert_hidden(caught.value)


def test_the_scan_reads_the_arguments_of_a_log_line():
    line = logging.LogRecord("a", 10, "a.py", 1, "token %.0s", ("canary-access-1",), None)

    assert "canary" not in line.getMessage()
    assert any(map(leaks_in, texts_of_record(line)))
