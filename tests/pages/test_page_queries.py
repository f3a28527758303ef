"""How much each page asks of the database: the same for one account and for twenty, and never for a
token."""

from typing import Any

import pytest
from django.db import connection
from django.template import Context
from django.test import Client
from django.test.utils import CaptureQueriesContext

from connected_accounts.admin.accounts import ConnectedAccountAdmin
from connected_accounts.models import ConnectedAccount
from connected_accounts.templatetags.connected_accounts import needs_you_banner
from connected_accounts.testing import FakeProvider
from connected_accounts.web.cards import PER_PAGE
from tests.journeys import connect
from tests.security.census import ADMIN_PAGES, PAGES

pytestmark = pytest.mark.django_db

SHOWN = [
    f"/connections/{page.path}"
    for page in PAGES.values()
    if page.get in (200, 404) and not page.is_public
]
ADMIN = [
    f"/admin/connected_accounts/{page.path}"
    for name, page in ADMIN_PAGES.items()
    if name.startswith("connectedaccount") and page.get in (200, 403) and "add/" not in page.path
]
ACCOUNTS = "/admin/connected_accounts/connectedaccount/"


@pytest.fixture
def client_of_root(ada: Any) -> Client:
    ada.is_staff = ada.is_superuser = True
    ada.save()
    client = Client()
    client.force_login(ada)
    return client


def asked(client: Client, path: str) -> list[str]:
    client.get(path)  # what is read once in a process, and messages that are shown once
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path, follow=True).status_code == 200, path
    return [query["sql"] for query in queries]


@pytest.mark.parametrize("path", [*SHOWN, *ADMIN, f"{ACCOUNTS}?q=ada", f"{ACCOUNTS}?expiring=day"])
def test_a_page_asks_as_much_for_twenty_accounts_as_for_one(
    account: ConnectedAccount, client_of_root: Client, badgr: FakeProvider, path: str
) -> None:
    site = ConnectedAccount.objects.create(
        provider="badgr", subject="site", connected_at=account.connected_at
    )
    path = path.format(pk=account.pk, site=site.pk)
    one = asked(client_of_root, path)
    for number in range(19):
        connect(client_of_root, badgr, subject=f"ada-{number}")
    twenty = asked(client_of_root, path)
    assert len(twenty) <= len(one)
    if "delete" not in path:  # where Django reads the whole of what it is about to delete
        assert not [sql for sql in twenty if '"token"' in sql or "client_secret" in sql]


def test_the_admins_list_is_read_by_its_key_and_no_further_than_its_page(
    account: ConnectedAccount,
    client_of_root: Client,
    make_account: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a million rows are neither sorted nor read for one page of them."""
    make_account()
    monkeypatch.setattr(ConnectedAccountAdmin, "list_per_page", 1)
    table = ConnectedAccount._meta.db_table
    listed = [sql for sql in asked(client_of_root, ACCOUNTS) if "ORDER BY" in sql and table in sql]
    (sql,) = [sql.replace("`", '"') for sql in listed]
    assert sql.endswith(f'ORDER BY "{table}"."id" DESC LIMIT 1')
    assert "JOIN" in sql  # the users come along


def test_a_persons_list_is_read_no_further_than_its_page(
    ada: Any, client_of_ada: Client, make_account: Any
) -> None:
    for number in range(PER_PAGE + 3):
        make_account(user=ada, subject=f"s{number}", label=f"Account {number:03}")
    last = ConnectedAccount.objects.get(label="Account 052")
    ConnectedAccount.objects.filter(pk=last.pk).transition(status="reconnect_required")
    table = ConnectedAccount._meta.db_table
    for path in ("/connections/", "/connections/?page=2"):
        read = [sql for sql in asked(client_of_ada, path) if f'FROM "{table}"' in sql]
        assert read
        assert not [sql for sql in read if "LIMIT" not in sql and "COUNT" not in sql]
    pages = [
        client_of_ada.get(f"/connections/?page={number}").context["cards"] for number in (1, 2)
    ]
    assert (len(pages[0]), len(pages[1])) == (PER_PAGE, 3)
    assert pages[0][0].pk == last.pk
    assert len({card.pk for page in pages for card in page}) == PER_PAGE + 3


def test_the_banner_reads_no_more_than_a_page(
    ada: Any, client_of_ada: Client, make_account: Any
) -> None:
    for number in range(PER_PAGE + 3):
        make_account(user=ada, subject=f"s{number}", status="reconnect_required")
    assert len(needs_you_banner(Context({"user": ada}))["needing"]) == PER_PAGE
