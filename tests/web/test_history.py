"""What a person reads of an account's past, and of a permission that is being withdrawn."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connected_accounts.models import ConnectedAccount, Event, Kind, Revocation
from connected_accounts.services import disconnect
from connected_accounts.web.marks import SHAPES, mark_of
from connected_accounts.web.revocations import open_revocations

pytestmark = pytest.mark.django_db


def history(client: Client, account: ConnectedAccount) -> str:
    text: str = client.get(f"/connections/{account.pk}/history/").content.decode()
    return text


def test_the_history_says_what_happened_newest_first(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    later = timezone.now() + timedelta(minutes=1)
    Event.record(Kind.RECONNECT_REQUIRED, account, at=later, detail="revoked")
    text = history(client_of_ada, account)
    ended = text.index("The connection ended: the service says that the permission has ended.")
    assert ended < text.index("Connected.")


def test_the_history_tells_of_refused_attempts_of_the_owner_alone(
    account: ConnectedAccount, client_of_ada: Client
) -> None:
    refused = {"at": timezone.now(), "provider": "badgr"}
    Event.record(Kind.REFUSED, detail="expired", owner=account.owner_key, **refused)
    Event.record(Kind.REFUSED, detail="wrong_issuer", owner="user:0", **refused)
    text = history(client_of_ada, account)
    assert "An attempt to connect was refused. That took a little too long." in text
    assert "came from elsewhere" not in text


def test_every_kind_of_event_has_words(account: ConnectedAccount, client_of_ada: Client) -> None:
    for kind in Kind:
        Event.record(kind, account, at=timezone.now(), detail="r:profile")
    assert "ca-timeline" in history(client_of_ada, account)


def test_another_account_at_the_same_service_has_a_history_of_its_own(
    account: ConnectedAccount, client_of_ada: Client, make_account: Any, ada: Any
) -> None:
    other = make_account(ada)
    Event.record(Kind.GIVEN_UP, other, at=timezone.now())
    assert "could not be withdrawn" not in history(client_of_ada, account)
    assert "could not be withdrawn" in history(client_of_ada, other)


@pytest.mark.parametrize(
    ("values", "said", "by_hand"),
    [
        ({}, "is being withdrawn", False),
        ({"attempts": 1}, "is tried again", False),
        ({"outcome": "revoked"}, "was withdrawn", False),
        ({"outcome": "already_gone"}, "had ended the permission", False),
        ({"outcome": "unsupported"}, "no way to withdraw", True),
        ({"outcome": "given_up"}, "could not be withdrawn", True),
    ],
)
def test_after_disconnecting_the_page_says_what_became_of_the_permission(
    account: ConnectedAccount,
    client_of_ada: Client,
    ada: Any,
    provider_settings: Any,
    values: Any,
    said: str,
    by_hand: bool,
) -> None:
    manage = "https://badgr.example/settings"
    provider_settings("badgr", OPTIONS={"manage_url": manage})
    disconnect(account)
    Revocation.objects.update(finished_at=timezone.now(), **values)
    text = client_of_ada.get("/connections/").content.decode()
    assert said in text
    assert (f'href="{manage}"' in text) is by_hand
    assert open_revocations(ada, timezone.now())[0].by_hand is by_hand


def test_where_nothing_can_be_withdrawn_the_page_says_so_before(
    account: ConnectedAccount, client_of_ada: Client, provider_settings: Any
) -> None:
    address = f"/connections/{account.pk}/disconnect/"
    assert "is also withdrawn at Badgr" in client_of_ada.get(address).content.decode()
    manage = "https://badgr.example/settings"
    provider_settings("badgr", OPTIONS={"revocation_endpoint": "", "manage_url": manage})
    text = client_of_ada.get(address).content.decode()
    assert "is also withdrawn" not in text
    assert f'href="{manage}"' in text


def test_accounts_that_need_the_person_come_first(
    make_account: Any, client_of_ada: Client, ada: Any
) -> None:
    make_account(ada, label="well@x.example")
    for number in range(2):
        make_account(
            ada, "bitbadges", label=f"ill{number}", status="reconnect_required", reason="revoked"
        )
    text = client_of_ada.get("/connections/").content.decode()
    assert "2 connections need you" in text
    assert text.rindex("ill1") < text.index("well@x.example")


def test_fifty_accounts_with_long_names_are_one_page(
    make_account: Any, client_of_ada: Client, ada: Any
) -> None:
    for number in range(50):
        make_account(ada, label=f"{number}-" + "ж" * 200)
    text = client_of_ada.get("/connections/").content.decode()
    assert text.count('class="ca-card ') == 50


def test_a_mark_is_letters_in_a_shape_and_always_the_same() -> None:
    assert mark_of("bitbadges", "BitBadges").letters == "BB"
    assert mark_of("badgr", "Badgr").letters == "Ba"
    assert mark_of("x", "").letters == "?"
    assert mark_of("badgr", "Badgr") == mark_of("badgr", "Badgr")
    assert {mark_of(str(n), "A").shape for n in range(99)} == set(SHAPES)
