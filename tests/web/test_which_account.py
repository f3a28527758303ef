"""A person who chose a host, an account or a server sees afterwards which one it is."""

from typing import Any

import pytest
from django.core import mail
from django.test import Client

from connected_accounts.models import Event, Reason, Revocation
from connected_accounts.models.history import display_name
from connected_accounts.operations.notices import mail_owner
from connected_accounts.services import disconnect
from tests.journeys import set_row
from tests.providers.badge_site import HOST, OTHER, Flow, faked_host

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(settings: Any, ada: Any) -> Any:
    with faked_host(settings) as fake:
        yield Flow(ada).finish(fake)


def test_every_page_of_an_account_says_at_which_host_it_is(
    account: Any, client_of_ada: Client
) -> None:
    shown = f"{account.label} ({HOST})"
    listed = client_of_ada.get("/connections/").content.decode()
    # The card itself, and the names of its four buttons.
    assert listed.count(shown) == 5
    for page in ("reconnect", "disconnect", "history"):
        assert shown in client_of_ada.get(f"/connections/{account.pk}/{page}/").content.decode()


def test_history_mails_and_what_was_disconnected_say_the_host(
    settings: Any, account: Any, client_of_ada: Client
) -> None:
    shown = f"{account.label} ({HOST})"
    assert set(Event.objects.filter(kind="connected").values_list("label", flat=True)) == {shown}
    settings.CONNECTED_ACCOUNTS = {
        **settings.CONNECTED_ACCOUNTS,
        "REDIRECT_BASE_URL": "https://site.example",
    }
    set_row(account, status="reconnect_required", reason=Reason.REVOKED)
    assert mail_owner(account.pk, account.generation)
    assert shown in mail.outbox[0].body
    disconnect(account)
    assert shown in str(Revocation.objects.get())
    assert shown in client_of_ada.get("/connections/").content.decode()


def test_staff_see_the_host(account: Any, admin_client: Client) -> None:
    changelist = "/admin/connected_accounts/connectedaccount/"
    for page in (changelist, f"{changelist}{account.pk}/change/"):
        assert f"{account.label} ({HOST})" in admin_client.get(page).content.decode()
    disconnect(account)
    assert HOST in admin_client.get("/admin/connected_accounts/revocation/").content.decode()


@pytest.mark.parametrize(
    ("label", "inputs", "shown"),
    [
        ("Ada", {}, "Ada"),
        ("Ada", {"host": OTHER}, f"Ada ({OTHER})"),
        ("acme", {"account": "acme"}, "acme"),  # it says so already
        ("c-1", {"a": "x", "b": "y"}, "c-1 (x, y)"),
        ("Ada", 5, "Ada"),  # a damaged row
        ("Ada", {"host": None}, "Ada"),
    ],
)
def test_the_place_is_said_once(label: str, inputs: Any, shown: str) -> None:
    assert display_name(label, inputs) == shown
