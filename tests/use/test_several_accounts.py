"""Several accounts of one provider, and how it is said which one is meant."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import Client, RequestFactory

from connected_accounts.decorators import connection_required
from connected_accounts.models import ConnectedAccount, Status
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, query_of, set_row, start

pytestmark = pytest.mark.django_db


def used(user: Any, query: str = "") -> Any:
    """The account that a view gets; None where it is not called."""
    seen: list[ConnectedAccount] = []

    @connection_required("badgr")
    def view(request: Any) -> HttpResponse:
        seen.append(request.connected_account)
        return HttpResponse()

    request = RequestFactory().get(f"/page/{query}")
    request.user = user
    view(request)
    return seen[0] if seen else None


def test_a_view_gets_the_newest_or_the_one_that_is_named(
    client_of_ada: Client, client_of_bob: Client, ada: Any, badgr: FakeProvider
):
    home = connect(client_of_ada, badgr, subject="home")
    work = connect(client_of_ada, badgr, subject="work")
    bobs = connect(client_of_bob, badgr, subject="bobs")

    assert used(ada) == work
    assert used(ada, f"?connection={home.pk}") == home
    for other in (bobs.pk, 9999, "x", "", "1 OR 1"):
        assert used(ada, f"?connection={other}") == work
    set_row(home, status=Status.RECONNECT_REQUIRED)
    assert used(ada, f"?connection={home.pk}") == work
    assert used(AnonymousUser()) is None


def test_one_account_again_is_the_same_row(client_of_ada: Client, badgr: FakeProvider):
    first = connect(client_of_ada, badgr, subject="same")
    assert connect(client_of_ada, badgr, subject="same").pk == first.pk
    connect(client_of_ada, badgr, subject="another")
    assert ConnectedAccount.objects.count() == 2


def test_the_same_backend_twice_keeps_its_accounts_apart(
    client_of_ada: Client, ada: Any, settings: Any, badgr: FakeProvider
):
    badgr_us = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]
    eu = {**badgr_us, "OPTIONS": {"region": "eu"}}
    settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {"badgr": badgr_us, "badgr-eu": eu}}
    here = connect(client_of_ada, badgr, subject="ada")
    with FakeProvider("badgr-eu") as europe:
        there = connect(client_of_ada, europe, "badgr-eu", subject="ada")
    assert here.pk != there.pk
    assert {a.provider for a in ConnectedAccount.objects.for_user(ada)} == {"badgr", "badgr-eu"}
    assert "eu.badgr.com" in start(client_of_ada, "badgr-eu")


def test_a_reconnect_tells_the_provider_which_account_is_meant(
    client_of_ada: Client, badgr: FakeProvider, provider_settings: Any
):
    account = connect(client_of_ada, badgr, subject="ada")
    options = {
        "authorization_params": {"prompt": "select_account"},
        "reconnect_params": {"login_hint": "{label}"},
    }
    provider_settings("badgr", OPTIONS=options)
    query = query_of(start(client_of_ada))
    assert query["prompt"] == "select_account"
    assert "login_hint" not in query
    response = client_of_ada.post(f"/connections/{account.pk}/reconnect/")
    query = query_of(response["Location"])
    assert (query["login_hint"], query["prompt"]) == ("ada@example.org", "select_account")


def test_a_reconnect_may_not_set_what_the_flow_makes(provider_settings: Any):
    from django.core import checks

    provider_settings("badgr", OPTIONS={"reconnect_params": {"state": "mine"}})
    found = [m.id for m in checks.run_checks(tags=["connected_accounts"])]
    assert "connected_accounts.E013" in found
