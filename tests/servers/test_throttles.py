"""A server that has had enough: the drain that meets its limit keeps every account."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from connected_accounts.models import ConnectedAccount
from connected_accounts.services import refresh
from connected_accounts.tasks import drain_refreshes
from tests.journeys import expire, start
from tests.servers.bare_client import BareClient
from tests.servers.listed import Running
from tests.servers.person import Person
from tests.servers.test_life import walk

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("better-auth")]
PEOPLE = 5
# The shape of better-auth's own limit, 20 in 60 s, with numbers that a test can wait for.
LIMIT = {"max": PEOPLE + 1, "window": 8}


def test_a_drain_that_meets_the_limit_of_better_auth_keeps_every_account(
    start_server: Callable[..., Running], use_server: Any, django_user_model: Any
) -> None:
    server = start_server("better-auth", limited=LIMIT)
    use_server(server)
    for number in range(PEOPLE):
        client = Client()
        client.force_login(django_user_model.objects.create_user(f"person-{number}"))
        person = Person(server.entry)
        expire(walk(client, person, start(client, "stock"), BareClient(server)))
        person.close()
    ConnectedAccount.objects.update(refresh_at=ConnectedAccount.objects.latest("pk").connected_at)
    drain_refreshes.apply(args=["stock"]).get()
    # It says how long in X-Retry-After, and has no Retry-After: the drain waits, and gets all.
    accounts = list(ConnectedAccount.objects.all())
    assert {account.status for account in accounts} == {"active"}
    assert {account.failure_count for account in accounts} == {0}
    assert all(account.refreshed_at for account in accounts)
    refresh(accounts[0])
