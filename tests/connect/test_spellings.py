"""One account under two spellings is one account, whoever connects it."""

from typing import Any

import pytest

from connected_accounts.connect import completion
from connected_accounts.exceptions import AuthorizationDenied
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.providers.badgr import Badgr
from connected_accounts.providers.base import Identity
from connected_accounts.testing import FakeProvider, connect_account
from connected_accounts.use import connection_check
from connected_accounts.use.connection_check import CheckOutcome, check_connection

pytestmark = pytest.mark.django_db

OLD, NEW = "cosmos1same", "bb1same"


@pytest.fixture
def as_known(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``as_known(NEW, OLD)``: what the provider says of whoever connects next."""

    def say(subject: str, *others: str) -> None:
        told = Identity(subject, other_subjects=frozenset(others))
        monkeypatch.setattr(completion, "identify", lambda *args: told)

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
