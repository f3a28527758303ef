"""Granted scopes are compared by what they mean: no page sends people for what they have."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import checks
from django.http import HttpResponse
from django.test import Client

from connected_accounts.decorators import connection_required
from connected_accounts.models import Event, Kind
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import refresh
from connected_accounts.testing import FakeProvider, connect_account
from connected_accounts.tokens.scopes import missing_scopes
from tests.journeys import set_row
from tests.named_server import name_server, with_fields

pytestmark = pytest.mark.django_db

Fakes = Callable[..., FakeProvider]
GITHUB = {"user": ["read:user", "user:email"], "repo": ["public_repo"]}
CASES: dict[str, tuple[list[str], str, str, dict[str, Any]]] = {
    "Google's own names": (
        ["openid", "email", "profile"],
        "openid https://www.googleapis.com/auth/userinfo.email "
        "https://www.googleapis.com/auth/userinfo.profile",
        "email profile",
        {},
    ),
    "another name": (
        ["mail"],
        "https://x.example/mail",
        "mail",
        {"scope_aliases": {"https://x.example/mail": "mail"}},
    ),
    "folded": (
        ["user", "user:email", "repo"],
        "repo,user",
        "user:email public_repo",
        {"granted_scope_separator": ",", "scope_includes": GITHUB},
    ),
    "folded twice": (["a"], "c", "a", {"scope_includes": {"c": ["b"], "b": ["a"]}}),
    "in a circle": (["a"], "b", "a", {"scope_includes": {"a": ["b"], "b": ["a"]}}),
    "case": (["User.Read"], "user.read", "USER.READ", {"scopes_ignore_case": True}),
    "case of another name": (
        ["Mail"],
        "HTTPS://X/MAIL",
        "mail",
        {"scopes_ignore_case": True, "scope_aliases": {"https://x/mail": "MAIL"}},
    ),
    "never named": (["read", "offline_access"], "read", "offline_access", {}),
    "never named, declared": (["read", "base"], "read", "base", {"unnamed_scopes": ["base"]}),
    "not told at all": (["read"], ..., "read", {}),  # type: ignore[dict-item]
}


def page_for(rf: Any, user: Any, needed: str) -> HttpResponse:
    request = rf.get("/page/")
    request.user = user
    view = connection_required("named", scopes=needed.split())(lambda request: HttpResponse("seen"))
    answer: HttpResponse = view(request)
    return answer


@pytest.mark.parametrize("case", CASES)
def test_a_permission_is_seen_under_whatever_name_it_was_granted(
    settings: Any, fake_provider: Fakes, ada: Any, rf: Any, client_of_ada: Client, case: str
) -> None:
    asked, answered, needed, options = CASES[case]
    name_server(settings, "named", options, SCOPES=asked)
    fake = fake_provider("named")
    with_fields(fake, scope=answered)
    account = connect_account(fake, ada)
    assert page_for(rf, ada, needed).status_code == 200
    refresh(account)
    assert page_for(rf, ada, needed).status_code == 200
    assert not Event.objects.filter(kind=Kind.SCOPES_CHANGED).exists()
    assert "not granted" not in client_of_ada.get("/connections/").content.decode()


def test_what_was_not_granted_is_missing_all_the_same(
    settings: Any, fake_provider: Fakes, ada: Any, rf: Any
) -> None:
    options = {"scope_includes": GITHUB}
    name_server(settings, "named", options, SCOPES=["user", "repo", "Gist"])
    fake = fake_provider("named")
    with_fields(fake, scope="user gist")
    connect_account(fake, ada)
    assert page_for(rf, ada, "user:email").status_code == 200
    for needed in ("repo", "public_repo", "Gist"):
        page = page_for(rf, ada, f"user:email {needed}")
        assert page.status_code != 200
        assert b"may call it by another name" in page.content or page.status_code == 303


def test_offline_access_is_not_given_without_a_refresh_token(
    settings: Any, fake_provider: Fakes, ada: Any, rf: Any
) -> None:
    name_server(settings, "named", SCOPES=["read", "offline_access"])
    fake = fake_provider("named", omit_refresh_token=True)
    with_fields(fake, scope="read")
    assert connect_account(fake, ada).scopes_granted == ["read"]
    assert page_for(rf, ada, "offline_access").status_code == 403


def test_names_are_compared_as_they_are_where_settings_have_no_provider() -> None:
    assert missing_scopes(None, ["a", "B"], ["A", "B", 5]) == ["a"]  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", [{"user": "user:email"}, {"user": [1]}, {1: ["a"]}, ["user"]])
def test_a_wrong_list_of_meanings_is_an_error(settings: Any, wrong: Any) -> None:
    name_server(settings, "named", {"scope_includes": wrong})
    found = [m for m in checks.run_checks(tags=["connected_accounts"]) if m.level >= checks.ERROR]
    assert [message.id for message in found] == ["connected_accounts.E011"]
    assert "scope_includes" in found[0].msg


def test_a_whole_authorization_under_new_names_replaces_the_meanings_of_the_class(
    settings: Any,
) -> None:
    name_server(settings, "named", {"scope_aliases": {"a": "b"}})
    assert get_provider("named").scope_aliases == {"a": "b"}


@pytest.mark.parametrize("offered", [True, False])
def test_the_page_offers_to_give_only_what_could_be_given(
    settings: Any, fake_provider: Fakes, ada: Any, rf: Any, offered: bool
) -> None:
    name_server(settings, "named", SCOPES=["read", "write"])
    fake = fake_provider("named")
    with_fields(fake, scope="read")
    account = connect_account(fake, ada)
    if not offered:
        set_row(account, scopes_requested=["read"])
    page = page_for(rf, ada, "write")
    assert page.status_code == 403
    assert (b"Give the permission" in page.content) is offered
    assert (b"does not offer this" in page.content) is not offered
