"""A site registers itself once, whoever else does at the same time and whatever is undone then."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from connected_accounts.models import ProviderState
from connected_accounts.testing import FakeProvider
from tests.journeys import at_once
from tests.providers.badge_site import Flow, faked_host

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fake(settings: Any) -> Iterator[FakeProvider]:
    with faked_host(settings) as fake:
        yield fake


def test_many_at_once_register_once(fake: FakeProvider, user: Any) -> None:
    assert len(set(at_once(lambda: Flow(user).client_id))) == 1
    assert len(fake.sent_to("registration")) == 1
    assert ProviderState.objects.get().registering_until is None


def test_a_registration_outlives_the_transaction_it_was_made_in(
    fake: FakeProvider, user: Any
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("optional: SQLite has one writer")
    with transaction.atomic():
        first = Flow(user).client_id
        transaction.set_rollback(True)
    assert Flow(user).client_id == first
