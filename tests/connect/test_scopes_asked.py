"""Scopes that the site wants, that are sent, and that are granted: three things."""

from typing import Any

import pytest
from django.test import Client

from connected_accounts.oauth2 import discovery
from connected_accounts.providers.badge_connect import OB2, OB3
from connected_accounts.services import complete_authorization
from tests.journeys import query_of
from tests.providers.badge_site import HOST, OTHER, Flow, faked_host

pytestmark = pytest.mark.django_db
SENT = [f"{OB2}profile.readonly", f"{OB2}assertion.readonly", "offline_access"]


def test_what_was_never_sent_to_a_host_is_not_shown_as_refused(
    settings: Any, ada: Any, client_of_ada: Client
) -> None:
    with faked_host(settings) as fake:
        flow = Flow(ada)
        account = flow.finish(fake)
    assert query_of(flow.url)["scope"].split() == SENT
    assert account.scopes_requested == account.scopes_granted == SENT
    assert f"{OB3}credential.readonly" in account.scopes_wanted
    page = client_of_ada.get("/connections/").content.decode()
    assert "not granted" not in page
    assert OB3 not in page


def test_what_was_sent_and_refused_is_shown(settings: Any, ada: Any, client_of_ada: Client) -> None:
    with faked_host(settings) as fake:
        flow = Flow(ada)
        params = fake.authorize(flow.url, scopes=[f"{OB2}profile.readonly"])
        complete_authorization(**flow.known, params=params)
    page = client_of_ada.get("/connections/").content.decode()
    missing = page.partition("not granted")[2].partition("</ul>")[0]
    assert f"{OB2}assertion.readonly" in missing
    assert OB3 not in missing


def test_the_connect_page_lists_what_each_host_is_asked_for(
    settings: Any, ada: Any, client_of_ada: Client
) -> None:
    discovery.clear_cache()
    with faked_host(settings) as fake:
        before = client_of_ada.get("/connections/badges/connect/").content.decode()
        Flow(ada).finish(fake)
        after = client_of_ada.get("/connections/badges/connect/").content.decode()
    # Before anything is known of a host, no sentence stands twice.
    assert before.count("See your name and e-mail address") == 2  # one for each host
    assert before.count("whichever of these it offers") == 2
    at_host = after.partition(f"<bdi>{HOST}</bdi>")[2].partition(f"<bdi>{OTHER}</bdi>")[0]
    assert [scope in at_host for scope in SENT] == [True] * 3
    assert OB3 not in at_host


def test_a_reconnect_page_speaks_of_its_own_host_only(
    settings: Any, ada: Any, client_of_ada: Client
) -> None:
    with faked_host(settings) as fake:
        account = Flow(ada).finish(fake)
        page = client_of_ada.get(f"/connections/{account.pk}/reconnect/").content.decode()
    assert HOST in page
    assert OTHER not in page
