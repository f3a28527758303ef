"""A user who was deactivated: the tokens rest, nothing is lost, and reactivating is enough."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from connected_accounts.exceptions import ProviderUnavailable
from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.refresh.drain import drain
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import expire

pytestmark = pytest.mark.django_db


@pytest.fixture
def of_inactive(account: ConnectedAccount, ada: Any) -> ConnectedAccount:
    type(ada).objects.update(is_active=False)
    return account


def test_the_token_of_a_deactivated_user_is_not_given_out(
    of_inactive: ConnectedAccount, badgr: FakeProvider
) -> None:
    sent = len(badgr.requests)
    uses = (
        lambda: get_access_token(of_inactive),
        lambda: refresh(of_inactive),
        lambda: get_session(of_inactive).get("/v2/users/self"),
    )
    for use in uses:
        with pytest.raises(ProviderUnavailable) as caught:
            use()
        assert (caught.value.code, caught.value.sent) == ("owner_inactive", False)
    assert len(badgr.requests) == sent


def test_it_is_looked_at_once_a_day_and_nothing_counts_as_a_failure(
    of_inactive: ConnectedAccount, badgr: FakeProvider
) -> None:
    now = timezone.now()
    ConnectedAccount.objects.update(refresh_at=now)
    sent = len(badgr.requests)
    drain("badgr", now=now)
    row = ConnectedAccount.objects.get()
    assert (row.status, row.failure_count, row.last_error) == ("active", 0, "owner_inactive")
    assert timedelta(hours=23) < row.refresh_at - now < timedelta(hours=25)
    assert (row.lease_holder, row.attempt_started_at) == (None, None)
    assert drain("badgr", now=now + timedelta(hours=23)).failed == 0
    assert len(badgr.requests) == sent
    assert not Event.objects.filter(kind="refresh_failed").exists()


def test_a_user_who_is_let_in_again_goes_on_at_once(
    of_inactive: ConnectedAccount, badgr: FakeProvider, ada: Any
) -> None:
    ConnectedAccount.objects.update(refresh_at=timezone.now())
    drain("badgr")
    expire(of_inactive)
    type(ada).objects.update(is_active=True)
    assert get_access_token(of_inactive) == badgr.grants[0].access_token
    of_inactive.refresh_from_db()
    assert (of_inactive.status, of_inactive.last_error) == ("active", "")


def test_an_account_of_the_sites_own_has_no_owner_to_be_inactive(
    make_account: Any, badgr: FakeProvider
) -> None:
    assert get_access_token(make_account()) == "stored-access-token"


def test_the_state_of_the_owner_costs_no_query_of_its_own(
    account: ConnectedAccount, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        get_access_token(account)


def test_a_user_model_without_the_field_counts_as_active(
    account: ConnectedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.auth.models import Group

    monkeypatch.setattr("connected_accounts.models.accounts.get_user_model", lambda: Group)
    assert get_access_token(account)
