"""A connect that fails leaves what support can find: log line, Event, and a code on the page."""

import logging
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client

from connected_accounts.connect import failures
from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import ClientRejected, UnexpectedResponse
from connected_accounts.models import Event
from connected_accounts.testing import Answer, FakeProvider, Timeout
from tests.journeys import finish, query_of, start

pytestmark = pytest.mark.django_db


def failed_event() -> Event:
    return Event.objects.get(kind="connect_failed")


@pytest.mark.parametrize(
    ("endpoint", "answer", "code", "detail"),
    [
        ("token", Answer(400, json={"error": "invalid_request"}), "invalid_request", 400),
        ("token", Answer(403, body="no"), "status_403", 403),
        ("token", Answer(200, body="<html>"), "not_json", 200),
        ("token", Answer(503), "status_503", 503),
        ("token", Timeout(), "timeout", None),
        ("token", Answer(401, json={"error": "invalid_client"}), "invalid_client", 401),
        ("identity", Answer(500), "status_500", 500),
        ("identity", Answer(200, json={}), "no_identity", None),
    ],
    ids=repr,
)
def test_a_failed_exchange_or_identity_is_found_by_its_reference(
    client_of_ada: Client,
    admin_client: Client,
    ada: Any,
    badgr: FakeProvider,
    caplog: pytest.LogCaptureFixture,
    endpoint: str,
    answer: Any,
    code: str,
    detail: int | None,
) -> None:
    params = badgr.authorize(start(client_of_ada))
    badgr.script(endpoint, answer)
    with caplog.at_level(logging.WARNING, "connected_accounts"):
        page = finish(client_of_ada, params).content.decode()
    event = failed_event()
    assert event.detail == (f"{code}, status {detail}" if detail else code)
    assert (event.provider, event.owner_key) == ("badgr", f"user:{ada.pk}")
    assert f"<code>{event.reference}</code>" in page
    assert code not in page
    lines = [line for line in caplog.messages if "connect failed" in line]
    assert lines == [
        f"connect failed: provider=badgr code={code} status={detail} reference={event.reference}"
    ]
    found = admin_client.get("/admin/connected_accounts/event/", {"q": event.reference})
    assert found.content.decode().count(f">{event.reference}<") == 1
    filtered = admin_client.get("/admin/connected_accounts/event/?kind__exact=connect_failed")
    assert event.reference in filtered.content.decode()
    for secret in badgr.secrets:
        assert secret not in "".join(caplog.messages) + event.detail + page


@pytest.mark.parametrize("error", ["invalid_scope", "invalid_request", "server_error", "made up"])
def test_an_error_that_the_provider_sends_back_leaves_one_too(
    client_of_ada: Client, badgr: FakeProvider, error: str
) -> None:
    state = query_of(start(client_of_ada))["state"]
    page = finish(client_of_ada, {"error": error, "state": state}).content.decode()
    event = failed_event()
    assert event.detail == (error if error != "made up" else "authorization_error")
    assert event.reference in page


def test_a_person_who_says_no_has_not_failed(client_of_ada: Client, badgr: FakeProvider) -> None:
    params = badgr.authorize(start(client_of_ada), deny=True)
    page = finish(client_of_ada, params).content.decode()
    assert "people who run this site" not in page
    assert not Event.objects.filter(kind="connect_failed").exists()


def test_what_a_person_mistyped_is_no_failure_of_the_site(ada: Any, provider_settings: Any) -> None:
    provider_settings("badgr", OPTIONS={"region": "us", "grant_type": "personal_token"})
    with FakeProvider("badgr"), pytest.raises(ClientRejected):
        connect_directly(user=ada, provider="badgr", values={"personal_token": "wrong"})
    assert not Event.objects.filter(kind="connect_failed").exists()


def test_a_start_that_fails_leaves_a_trace(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connected_accounts.providers.badgr import Badgr

    def away(self: Badgr, inputs: Any) -> Any:
        raise UnexpectedResponse("no_metadata", sent=False)

    monkeypatch.setattr(Badgr, "resolve_endpoints", away)
    page = client_of_ada.post("/connections/badgr/connect/").content.decode()
    assert failed_event().detail == "no_metadata"
    assert failed_event().reference in page


def test_who_keeps_failing_fills_no_table(
    client_of_ada: Client, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "EVENTS_A_MINUTE", 2)
    for _ in range(4):
        state = query_of(start(client_of_ada))["state"]
        finish(client_of_ada, {"error": "invalid_scope", "state": state})
    assert Event.objects.filter(kind="connect_failed").count() == 2


def test_the_person_finds_it_in_the_history_without_the_code(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    account = finish(client_of_ada, badgr.authorize(start(client_of_ada)))
    assert account.status_code == 303
    state = query_of(start(client_of_ada))["state"]
    finish(client_of_ada, {"error": "invalid_scope", "state": state})
    from connected_accounts.models import ConnectedAccount

    pk = ConnectedAccount.objects.get().pk
    history = client_of_ada.get(f"/connections/{pk}/history/").content.decode()
    assert "An attempt to connect failed." in history
    assert "invalid_scope" not in history


def test_the_admin_filters_and_searches() -> None:
    options = admin.site._registry[Event]
    assert "kind" in options.list_filter
    assert "reference__exact" in options.search_fields
