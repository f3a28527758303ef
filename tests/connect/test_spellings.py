"""One account under two spellings is one account, whoever connects it."""

from typing import Any

import pytest

from connected_accounts.connect import completion
from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import AuthorizationDenied
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.base import Identity
from connected_accounts.providers.registry import problems
from connected_accounts.testing import FakeProvider, connect_account
from connected_accounts.tokens import identity
from connected_accounts.use import connection_check
from connected_accounts.use.connection_check import CheckOutcome, check_connection

pytestmark = pytest.mark.django_db

BIME = "connected_accounts.providers.bime.Bime"
OLD, NEW = "cosmos1same", "bb1same"


@pytest.fixture
def as_known(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``as_known(NEW, OLD)``: what the provider says of whoever connects next."""

    def say(subject: str, *others: str) -> None:
        told = Identity(subject, other_subjects=frozenset(others))
        monkeypatch.setattr(completion, "identify", lambda *args: told)
        monkeypatch.setattr(identity, "identify", lambda *args: told)

    return say


def test_an_exclusive_account_is_nobody_elses_by_another_spelling(
    app_settings: Any, provider_settings: Any, badgr: FakeProvider, as_known: Any, user: Any
) -> None:
    provider_settings("badgr", EXCLUSIVE=True)
    as_known(OLD)
    connect_account(badgr, user)
    other = type(user).objects.create_user("eve")
    as_known(NEW, OLD)
    with pytest.raises(AuthorizationDenied) as caught:
        connect_account(badgr, other)
    assert caught.value.code == "account_in_use"


def test_who_connects_again_under_another_spelling_has_one_account(
    badgr: FakeProvider, as_known: Any, user: Any
) -> None:
    as_known(OLD)
    first = connect_account(badgr, user)
    as_known(NEW, OLD)
    again = connect_account(badgr, user)
    assert again.pk == first.pk
    assert ConnectedAccount.objects.get().subject == OLD


def test_a_grant_that_is_refused_does_not_end_the_account_of_another_spelling(
    provider_settings: Any,
    badgr: FakeProvider,
    as_known: Any,
    user: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Badgr, "revokes_whole_authorization", True)
    provider_settings("badgr", EXCLUSIVE=True)
    as_known(OLD)
    connect_account(badgr, user)
    as_known(NEW, OLD)
    with pytest.raises(AuthorizationDenied):
        connect_account(badgr, type(user).objects.create_user("eve"))
    assert not Revocation.objects.exists()


def test_a_test_of_the_connection_knows_another_spelling(
    badgr: FakeProvider, as_known: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_known(OLD)
    account = connect_account(badgr, user)
    told = Identity(NEW, other_subjects=frozenset([OLD]))
    monkeypatch.setattr(connection_check, "identity_of", lambda *args: told)
    assert check_connection(account) is CheckOutcome.WORKS


# By another workflow.


@pytest.fixture
def both_ways(settings: Any) -> None:
    """Bime by code, which is exclusive, and by a personal token."""
    code = {"BACKEND": BIME, "CLIENT_ID": "c", "CLIENT_SECRET": "s", "EXCLUSIVE": True}
    code["OPTIONS"] = {"token_info": True}
    token = {"BACKEND": BIME, "OPTIONS": {"grant_type": "personal_token", "token_info": True}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": code, "bime-token": token}}


@pytest.mark.parametrize("code_first", [True, False])
@pytest.mark.parametrize("others", [[], [OLD]])
def test_an_exclusive_account_is_nobody_elses_by_another_workflow(
    both_ways: None,
    as_known: Any,
    user: Any,
    monkeypatch: pytest.MonkeyPatch,
    code_first: bool,
    others: list[str],
) -> None:
    def by_code(whose: Any) -> None:
        with FakeProvider("bime", inputs={"account": "acme"}) as fake:
            connect_account(fake, whose)

    def by_token(whose: Any) -> None:
        entered = {"account": "acme", "personal_token": "a-token"}
        connect_directly(user=whose, provider="bime-token", values=entered)

    ways = [by_code, by_token] if code_first else [by_token, by_code]
    as_known(others[0] if others else NEW)
    ways[0](user)
    as_known(NEW, *others)
    with pytest.raises(AuthorizationDenied) as caught:
        ways[1](type(user).objects.create_user("eve"))
    assert caught.value.code == "account_in_use"
    ways[1](user)
    assert ConnectedAccount.objects.count() == 2


def test_what_a_person_typed_makes_no_account_exclusive(settings: Any) -> None:
    entry: dict[str, Any] = {"BACKEND": BIME, "EXCLUSIVE": True}
    entry["OPTIONS"] = {"grant_type": "personal_token"}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": entry}}
    assert {problem.id for problem in problems()} == {"E015"}
    entry["OPTIONS"]["token_info"] = True
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"bime": entry}}
    assert not list(problems())
