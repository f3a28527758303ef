"""Everything from outside has a size, and what is shown of it is harmless to what shows it."""

import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.conf import is_safe_url
from connected_accounts.exceptions import AuthorizationDenied, UnexpectedResponse
from connected_accounts.management.output import PlainCommand
from connected_accounts.models import ConnectedAccount, Reason, Revocation
from connected_accounts.oauth2.badge_manifest import _texts
from connected_accounts.oauth2.token import MAX_SCOPE, MAX_SCOPES, read_scope
from connected_accounts.operations.notices import mail_owner
from connected_accounts.providers.base import Identity
from connected_accounts.providers.endpoints import api_base
from connected_accounts.security import one_line, visible
from connected_accounts.services import refresh
from connected_accounts.testing import Answer, FakeProvider, connect_account
from connected_accounts.web.cards import PER_PAGE
from tests.journeys import finish, start, stored

ORDERS = "\x1b[2K\r\x07\x9b1m\n\u2028\u202e"


# --- Answers ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_subject_that_is_too_long_connects_nobody_and_its_grant_is_withdrawn(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    params = badgr.authorize(start(client_of_ada), subject="x" * 900_000)
    assert finish(client_of_ada, params).status_code == 502
    assert not ConnectedAccount.objects.exists()
    assert Revocation.objects.get().subject == ""


def test_scopes_beyond_measure_are_not_kept_and_the_token_is() -> None:
    many = read_scope([f"scope-{n}" for n in range(100_000)], " ")
    assert many is not None
    assert many == tuple(f"scope-{n}" for n in range(MAX_SCOPES))
    assert read_scope(["x" * (MAX_SCOPE + 1), "read"], " ") == ("read",)
    assert len(Identity("s", scopes=tuple(map(str, range(1000)))).scopes or ()) == MAX_SCOPES
    assert len(_texts([f"scope-{n}" for n in range(100_000)])) == MAX_SCOPES


@pytest.mark.django_db
def test_a_refresh_with_sixty_thousand_scopes_keeps_its_tokens_and_a_small_row(
    ada: Any, badgr: FakeProvider
) -> None:
    account = connect_account(badgr, ada)
    scope = " ".join(f"scope-{n}" for n in range(60_000))
    document = {"access_token": "new", "refresh_token": "newer", "scope": scope}
    badgr.script("token", Answer(200, json=document))
    refresh(account)
    assert stored(account)["refresh_token"] == "newer"
    assert len(account.scopes_granted) <= MAX_SCOPES


@pytest.mark.parametrize(
    "url",
    [
        "https://accounts.example/\x1b[2K",
        "https://zz\r1 tokens would go to accounts.honest.example      /x",
        "https://b\u00fccher.example/token",
        "https://accounts.example/a b",
        "https://accounts.example/\u202e",
        "https://accounts.example/" + "x" * 2048,
    ],
    ids=ascii,
)
def test_an_address_is_visible_ascii_and_not_without_end(url: str) -> None:
    assert not is_safe_url(url)
    with pytest.raises(UnexpectedResponse):
        api_base(url, ["accounts.example"])


# --- Labels -------------------------------------------------------------------------------------


def test_a_label_is_one_line_without_anything_that_a_screen_obeys() -> None:
    label = Identity("s", f"ada{ORDERS}\n\nYour account will be closed.{'x' * 900_000}").label
    assert label.startswith("ada [2K 1m Your account will be closed.xxx")
    assert len(label) == 255
    assert label.isprintable()
    assert (
        one_line("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
        == "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )
    assert visible("a\x1b[2K\rb\n") == "a\\x1b[2K\\rb\n"


@pytest.fixture
def empty_cache() -> Iterator[None]:
    """Nobody was written to lately."""
    cache.clear()
    yield
    cache.clear()


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.django_db
def test_what_a_provider_calls_a_person_writes_no_lines_into_the_sites_mail(
    ada: Any, badgr: FakeProvider, app_settings: Any
) -> None:
    app_settings(REDIRECT_BASE_URL="https://site.example")
    label = "ada).\n\nConfirm your password at once:\nhttps://evil.example/login\n\n("
    account = connect_account(badgr, ada, label=label)
    # A row that the site itself made may hold anything.
    ConnectedAccount.objects.filter(pk=account.pk).update(label=label)
    account = ConnectedAccount.objects.get()
    assert "\n" not in str(account)
    account.mark_reconnect_required(Reason.REVOKED)
    assert mail_owner(account.pk, account.generation)
    [message] = mail.outbox
    assert not [line for line in message.body.splitlines() if line.startswith("https://evil")]


# --- What commands and logs print ---------------------------------------------------------------


def test_a_command_prints_nothing_that_a_terminal_obeys() -> None:
    class Command(PlainCommand):
        def handle(self, *args: Any, **options: Any) -> None:
            self.stdout.write(f"to https://evil.example{ORDERS}", self.style.ERROR)
            self.stderr.write(ORDERS)

    for command in (Command(StringIO(), StringIO()), Command()):
        out, err = StringIO(), StringIO()
        call_command(command, stdout=out, stderr=err)
        for said in (out, err):
            assert all(c == "\n" or c.isprintable() for c in said.getvalue())


def test_every_command_of_the_app_is_one_of_these() -> None:
    from django.core.management import get_commands, load_command_class

    ours = [name for name, app in get_commands().items() if app == "connected_accounts"]
    assert len(ours) > 5
    for name in ours:
        assert isinstance(load_command_class("connected_accounts", name), PlainCommand)


@pytest.mark.django_db
def test_a_task_argument_writes_no_line_of_its_own_into_the_log(caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG, "connected_accounts"):
        tasks.drain_refreshes.apply((f"x\nCRITICAL forged line{ORDERS}",)).get()
    assert "forged line" in caplog.text
    for record in caplog.records:
        assert record.getMessage().isprintable()


# --- Lists --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_person_has_no_more_accounts_of_a_provider_than_settings_allow(
    ada: Any, bob: Any, badgr: FakeProvider, provider_settings: Any
) -> None:
    provider_settings("badgr", MAX_ACCOUNTS=2)
    first, _ = (connect_account(badgr, ada, subject=f"person-{n}") for n in range(2))
    with pytest.raises(AuthorizationDenied) as caught:
        connect_account(badgr, ada, subject="person-3")
    assert caught.value.code == "too_many_accounts"
    assert ConnectedAccount.objects.count() == 2
    assert Revocation.objects.get().subject == "person-3", "its grant is withdrawn"
    # What is there is connected again, and another person is not held up.
    assert connect_account(badgr, ada, subject="person-1") == ConnectedAccount.objects.last()
    connect_account(badgr, bob, subject="person-3")
    first.delete()
    connect_account(badgr, ada, subject="person-3")


@pytest.fixture
def crowd(ada: Any, make_account: Any) -> list[ConnectedAccount]:
    return [make_account(ada, label=f"account {n}") for n in range(2 * PER_PAGE + 5)]


def test_a_long_list_has_pages_and_who_is_needed_stands_first(
    crowd: list[ConnectedAccount], client_of_ada: Client
) -> None:
    last = crowd[-1]
    assert last.mark_reconnect_required(Reason.REVOKED)
    seen = []
    for number in (1, 2, 3):
        page = client_of_ada.get("/connections/", {"page": number})
        seen += [card.pk for card in page.context["cards"]]
        assert ('rel="next"' in page.content.decode()) == (number < 3)
    assert seen[0] == last.pk
    assert sorted(seen) == [account.pk for account in crowd]
    for odd in ("0", "-1", "9" * 30, "x", "\u0663"):
        assert client_of_ada.get("/connections/", {"page": odd}).status_code == 200


def test_the_api_gives_a_long_list_by_the_hundred(
    crowd: list[ConnectedAccount], client_of_ada: Client
) -> None:
    seen, number = [], 1
    while number:
        answer = client_of_ada.get("/api/connections/accounts/", {"page": number}).json()
        assert len(answer["accounts"]) <= 100
        seen += [account["id"] for account in answer["accounts"]]
        number = answer["next_page"]
    assert sorted(seen) == [account.pk for account in crowd]
    for odd in ("0", "-1", "9" * 30, "x", "\u0663"):
        answered = client_of_ada.get("/api/connections/accounts/", {"page": odd})
        assert answered.status_code == 200


@pytest.mark.django_db
def test_what_is_shown_of_a_row_stays_small_whatever_is_in_it(
    make_account: Any, ada: Any, client_of_ada: Client
) -> None:
    make_account(ada, label="", subject="s" * 900_000, connected_at=timezone.now())
    for address in ("/connections/", "/api/connections/accounts/"):
        assert len(client_of_ada.get(address).content) < 30_000
