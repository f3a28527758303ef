"""A call that wants more than the account was given: the person is asked, and not in circles."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import RequestFactory

from connected_accounts.decorators import connection_required
from connected_accounts.exceptions import InsufficientScope
from connected_accounts.models import ConnectedAccount
from connected_accounts.services import get_session, start_authorization
from connected_accounts.web.way import way_to_more
from tests.mcp.guarded import Guarded
from tests.mcp.person import Person

pytestmark = pytest.mark.django_db(transaction=True)

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}}


@connection_required("mcp")
def add_note(request: HttpRequest) -> HttpResponse:
    account = request.connected_account  # type: ignore[attr-defined]
    get_session(account).post(account.inputs["server"], json=CALL).raise_for_status()
    return HttpResponse("added")


@pytest.fixture
def account(person: Person, guarded: Guarded) -> ConnectedAccount:
    found: ConnectedAccount = person.connect(guarded.server)
    return found


def visit(person: Person) -> HttpResponse:
    request = RequestFactory().get("/notes/")
    request.user = person.user
    return add_note(request)  # type: ignore[no-any-return]


def test_a_refused_call_raises_with_the_union_of_scopes(
    account: ConnectedAccount, guarded: Guarded
) -> None:
    guarded.needs = ("write", "read")
    with pytest.raises(InsufficientScope) as caught:
        get_session(account).post(guarded.server, json=CALL)
    assert caught.value.scopes == ("read", "write")
    assert caught.value.account_id == account.pk


def test_the_decorator_leads_through_it_and_back(
    account: ConnectedAccount, person: Person, guarded: Guarded
) -> None:
    guarded.needs = ("write",)
    asked = visit(person)
    assert asked.status_code == 303
    assert asked["Location"] == f"/connections/{account.pk}/reconnect/?next=%2Fnotes%2F&scope=write"
    page = person.browser.get(asked["Location"]).content.decode()
    assert "<code>write</code>" in page
    assert person.give_more(asked["Location"]).pk == account.pk
    account.refresh_from_db()
    assert account.scopes_granted == ["read", "write"]
    assert visit(person).content == b"added"


def test_who_gave_less_than_asked_is_told_and_not_sent_round(
    account: ConnectedAccount, person: Person, guarded: Guarded
) -> None:
    guarded.needs = ("write",)
    person.decide = lambda url: guarded.allow(url, scope="read")
    person.give_more(visit(person)["Location"])
    told = visit(person)
    assert told.status_code == 403
    assert "A permission is missing" in told.content.decode()
    assert "<code>write</code>" in told.content.decode()


def test_a_server_that_always_wants_something_new_is_obeyed_three_times(
    account: ConnectedAccount, person: Person, guarded: Guarded
) -> None:
    for number in range(3):
        guarded.needs = (f"more-{number}",)
        person.decide = lambda url: guarded.allow(url, scope="read")
        person.give_more(visit(person)["Location"])
    guarded.needs = ("more-3",)
    assert visit(person).status_code == 403


def test_the_three_times_are_counted_where_the_way_back_names_its_host(
    account: ConnectedAccount, person: Person, guarded: Guarded
) -> None:
    """As from a tenant's host, since the callback is at another."""
    for number in range(3):
        assert way_to_more(account, [f"more-{number}"], "/notes/")
        start_authorization(
            user=person.user,
            provider="mcp",
            redirect_uri="https://app.example.org/connections/mcp/callback/",
            browser_secret="of a test",
            account=account,
            inputs={"server": guarded.server},
            next="https://tenant1.example.org/notes/",
        )
    assert way_to_more(account, ["more-3"], "/notes/") == ""
    assert way_to_more(account, ["more-3"], "/others/")


def test_a_connection_that_is_made_anew_keeps_what_was_given(
    account: ConnectedAccount, person: Person, guarded: Guarded
) -> None:
    person.give_more(way_to_more(account, ["write"], "/"))
    account.refresh_from_db()
    person.give_more(f"/connections/{account.pk}/reconnect/")
    account.refresh_from_db()
    assert account.scopes_requested == ["read", "write"]


def test_a_site_may_keep_to_its_own_list_of_scopes(
    configure: Any, person: Person, guarded: Guarded
) -> None:
    configure(scopes="listed", entry={"SCOPES": ["read"], "OPTIONAL_SCOPES": ["write"]})
    guarded.scope = "read admin"
    account = person.connect(guarded.server)
    assert account.scopes_requested == ["read"]
    assert way_to_more(account, ["admin"], "/") == ""
    assert way_to_more(account, ["write"], "/")
    page = person.browser.get(f"/connections/{account.pk}/reconnect/?scope=admin")
    assert page.status_code == 400


def test_what_the_person_unticks_is_not_asked_for_again(
    configure: Any, person: Person, guarded: Guarded
) -> None:
    configure(scopes="listed", entry={"SCOPES": ["read"], "OPTIONAL_SCOPES": ["write"]})
    account = person.connect(guarded.server, scope="write")
    assert account.scopes_requested == ["read", "write"]
    path = f"/connections/{account.pk}/reconnect/"
    way = person.see_way(path, scope="").content.decode()
    assert '<input type="hidden" name="scope" value="">' in way
    assert person.give_more(path).scopes_requested == ["read"]


def test_the_tag_shows_the_way_or_nothing(account: ConnectedAccount) -> None:
    template = Template("{% load connected_accounts %}{% permission_button account scopes '/n/' %}")
    shown = template.render(Context({"account": account, "scopes": ["read", "write"]}))
    assert f"/connections/{account.pk}/reconnect/?next=%2Fn%2F&amp;scope=write" in shown
    assert not template.render(Context({"account": account, "scopes": ["read"]})).strip()


@pytest.mark.parametrize("scope", ['a"b', "a b", "x" * 201, "é", ""])
def test_what_is_no_scope_cannot_be_asked_for(
    account: ConnectedAccount, person: Person, scope: str
) -> None:
    assert way_to_more(account, [scope], "/") == ""
