"""Who may what: nobody gets more than the rows of ``census.py`` say, and nothing has no row."""

from collections.abc import Callable
from itertools import product
from socketserver import BaseServer
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import URLPattern, get_resolver

from connected_accounts import callback_urls, tasks, urls
from connected_accounts.api import urls as api_urls
from connected_accounts.clients.credentials import store_own_client
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.owners import SITE_OWNER
from connected_accounts.provider_state.pauses import get_or_create_state
from connected_accounts.providers.base import Client as ProviderPair
from connected_accounts.secret import Secret
from connected_accounts.testing import FakeProvider
from tests.docs.doc_pages import PACKAGE, sources
from tests.security.census import (
    ADMIN_ACTIONS,
    ADMIN_PAGES,
    CHANGE_NO_ROW,
    COMMANDS,
    ENDPOINTS,
    PAGES,
    Command,
)

pytestmark = pytest.mark.django_db


# --- The census ---------------------------------------------------------------------------------


def test_every_page_has_a_row() -> None:
    assert sorted({str(pattern.name) for pattern in urls.urlpatterns}) == sorted(PAGES)
    for name, page in PAGES.items():
        match = get_resolver().resolve(f"/connections/{page.path.format(pk=1)}")
        assert match.view_name == f"connected_accounts:{name}"


def test_every_endpoint_of_the_api_has_a_row() -> None:
    assert sorted(str(pattern.name) for pattern in api_urls.urlpatterns) == sorted(ENDPOINTS)
    for name, endpoint in ENDPOINTS.items():
        match = get_resolver().resolve(f"/api/connections/{endpoint.path.format(pk=1)}")
        assert match.view_name == f"connected_accounts_api:{name}"
    assert {pattern.name for pattern in callback_urls.urlpatterns} == {
        "callback",
        "client_metadata",
        "jwks",
    }


def admins() -> dict[str, Any]:
    found = {
        model._meta.model_name: made
        for model, made in admin.site._registry.items()
        if model._meta.app_label == "connected_accounts"
    }
    return {str(name): made for name, made in found.items()}


def test_every_page_of_the_admin_has_a_row() -> None:
    found = [
        str(pattern.name).removeprefix("connected_accounts_")
        for made in admins().values()
        for pattern in made.get_urls()
        if isinstance(pattern, URLPattern) and pattern.name
    ]
    assert sorted(found) == sorted(ADMIN_PAGES)


def test_every_action_of_the_admin_has_a_row(rf: Any, django_user_model: Any) -> None:
    request = rf.get("/")
    request.user = django_user_model(is_superuser=True, is_active=True, is_staff=True)
    found = [
        f"{model}.{name}" for model, made in admins().items() for name in made.get_actions(request)
    ]
    assert sorted(found) == sorted(ADMIN_ACTIONS)


def test_every_command_has_a_row() -> None:
    found = {path.stem for path in (PACKAGE / "management" / "commands").glob("[!_]*.py")}
    assert sorted(found) == sorted(COMMANDS)


# --- The people ---------------------------------------------------------------------------------


@pytest.fixture
def ground(
    account: ConnectedAccount,
    ada: Any,
    badgr: FakeProvider,
    make_account: Any,
    app_settings: Any,
    now: Any,
) -> dict[str, Any]:
    """Ada's account, and one row of each kind that the admin shows."""
    from connected_accounts.models import Deployment, Event
    from connected_accounts.models.deployment import confirm_site
    from connected_accounts.services import disconnect
    from tests.journeys import connect

    app_settings(SITE_ID="production")
    confirm_site()
    owner = Client()
    owner.force_login(ada)
    disconnect(connect(owner, badgr, subject="given-up"))
    entered = ProviderPair("entered-id", Secret("entered-secret"))
    badgr.add_client("entered-id", "entered-secret")
    return {
        "pk": account.pk,
        "revocation": Revocation.objects.get().pk,
        "event": Event.objects.latest("pk").pk,
        "deployment": Deployment.objects.get().pk,
        "state": get_or_create_state("badgr").pk,
        "client": store_own_client(entered, provider="badgr", owner=SITE_OWNER, at=now).pk,
        "site": make_account().pk,
    }


@pytest.fixture
def person(django_user_model: Any) -> Callable[..., Client]:
    """``person("staff", "view_event")``: signed in, staff if the name says so."""

    def make(name: str, *permissions: str) -> Client:
        client = Client()
        if name == "anonymous":
            return client
        known = {"is_staff": name.startswith("staff")}
        user, _ = django_user_model.objects.get_or_create(username=name, defaults=known)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return make


VIEW = tuple(
    f"view_{model}"
    for model in (
        "connectedaccount",
        "revocation",
        "event",
        "deployment",
        "providerstate",
        "authorizationrequest",
        "providerclient",
    )
)
PEOPLE: dict[str, tuple[str, ...]] = {
    "anonymous": (),
    "another_user": (),
    "staff_view_only": VIEW,
    "staff_without_permission": (),
}


@pytest.fixture
def unchanged(ground: Any, badgr: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Any:
    """To be called at the end: nothing of Ada's changed, was sent, or was put on a queue."""
    sent: list[Any] = []
    monkeypatch.setattr(tasks, "enqueue", lambda *args: sent.append(args))
    before = state_of_things()
    requests = len(badgr.requests)

    def check() -> None:
        assert state_of_things() == before
        assert (sent, len(badgr.requests)) == ([], requests)

    return check


def state_of_things() -> list[Any]:
    accounts = ConnectedAccount.objects.with_token().order_by("pk").values()
    return [
        [{**row, "token": row["token"].reveal()} for row in accounts],
        list(Revocation.objects.order_by("pk").values("pk", "outcome", "attempts")),
        LogEntry.objects.count(),
    ]


def shows_nothing(response: Any, badgr: FakeProvider, *, of_ada: bool = True) -> None:
    text = response.content.decode()
    assert not [secret for secret in badgr.secrets if secret in text]
    assert "v1." not in text
    assert "entered-secret" not in text
    if of_ada:
        assert "ada@" not in text


# --- Pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_gives_nobody_else_anything_of_adas(
    ground: Any, person: Any, badgr: FakeProvider, unchanged: Any, name: str
) -> None:
    page = PAGES[name]
    url = f"/connections/{page.path.format(**ground)}"
    for who, method in product(PEOPLE, ("get", "post", "put", "patch", "delete")):
        client = person(who, *PEOPLE[who])
        response = getattr(client, method)(url)
        if who == "anonymous" and not page.is_public:
            assert response.status_code == 303
            assert response["Location"].startswith("/accounts/login/")
        else:
            assert response.status_code == {"get": page.get, "post": page.post}.get(method, 405)
        shows_nothing(response, badgr)
    unchanged()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_gives_nobody_else_anything_of_adas(
    ground: Any, person: Any, badgr: FakeProvider, unchanged: Any, name: str
) -> None:
    endpoint = ENDPOINTS[name]
    url = f"/api/connections/{endpoint.path.format(**ground)}"
    for who, method in product(PEOPLE, ("get", "post", "put", "patch", "delete")):
        client = person(who, *PEOPLE[who])
        response = getattr(client, method)(url, content_type="application/json")
        expected = 401 if who == "anonymous" else endpoint.statuses.get(method, 405)
        assert response.status_code == expected
        shows_nothing(response, badgr)
    unchanged()


# --- The admin ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADMIN_PAGES)
def test_a_page_of_the_admin_lets_those_who_may_look_do_no_more(
    ground: Any, person: Any, badgr: FakeProvider, unchanged: Any, name: str
) -> None:
    page = ADMIN_PAGES[name]
    url = f"/admin/connected_accounts/{page.path.format(**ground)}"
    assert get_resolver().resolve(url).url_name == f"connected_accounts_{name}"
    for who, (method, status) in product(PEOPLE, [("get", page.get), ("post", page.post)]):
        client, looks = person(who, *PEOPLE[who]), who == "staff_view_only"
        data = {"post": "yes", "status": "active"} if method == "post" else {}
        response = getattr(client, method)(url, data)
        if who in ("anonymous", "another_user"):
            assert (response.status_code, "/login/" in response["Location"]) == (302, True)
        else:
            assert response.status_code == (status if looks else 403)
        shows_nothing(response, badgr, of_ada=not looks)
    unchanged()


@pytest.mark.parametrize("who", [*PEOPLE, "staff_with_all_but_this"])
@pytest.mark.parametrize("name", ADMIN_ACTIONS)
def test_an_action_is_for_those_with_its_permission(
    ground: Any, person: Any, unchanged: Any, name: str, who: str
) -> None:
    permissions = PEOPLE.get(who)
    if permissions is None:
        others = Permission.objects.exclude(codename=ADMIN_ACTIONS[name])
        permissions = tuple(others.values_list("codename", flat=True))
    client = person(who, *permissions)
    act(client, name, ground)
    unchanged()


def act(client: Client, name: str, ground: dict[str, Any]) -> Any:
    model, _, action = name.partition(".")
    row = ground["pk" if model == "connectedaccount" else model]
    data = {"action": action, "_selected_action": [row], "confirmed": "yes"}
    data["new_owner"] = "team:7"
    return client.post(f"/admin/connected_accounts/{model}/", data)


@pytest.mark.parametrize(
    ("name", "permission"), [row for row in ADMIN_ACTIONS.items() if row[0] not in CHANGE_NO_ROW]
)
def test_an_action_works_for_those_who_may(
    ground: Any, person: Any, unchanged: Any, name: str, permission: str
) -> None:
    """So that the refusals above are refusals of something."""
    model = name.partition(".")[0]
    assert act(person("staff", f"view_{model}", permission), name, ground).status_code == 302
    with pytest.raises(AssertionError):
        unchanged()


# --- Commands -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_a_command_asks_before_what_cannot_be_undone(
    ground: Any, unchanged: Any, monkeypatch: pytest.MonkeyPatch, name: str, command: Command
) -> None:
    ConnectedAccount.objects.transition(endpoint_fingerprint="elsewhere")
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "no")
    # A command that serves until Ctrl-C is told so at once.
    monkeypatch.setattr(BaseServer, "serve_forever", Mock(side_effect=KeyboardInterrupt))
    before = state_of_things()
    if command.asks:
        with pytest.raises(CommandError, match="Nothing was done"):
            call_command(name, *command.arguments)
        assert len(asked) == 1
    else:
        call_command(name, *command.arguments)
    if command.withdraws:
        before[1] = [{**row, "outcome": "revoked", "attempts": 1} for row in before[1]]
    assert state_of_things() == before


def test_no_page_runs_a_command() -> None:
    callers = {path.name for path, text in sources() if "call_command" in text}
    assert callers == set()
