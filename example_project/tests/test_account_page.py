"""The page that calls a provider's API: in good times, and when something is wrong."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connected_accounts.providers.registry import get_provider
from connected_accounts.services import get_access_token, refresh
from connected_accounts.tasks import refresh_due_accounts
from connected_accounts.testing import (
    CANARY,
    Answer,
    BadGateway,
    ConnectionRefused,
    DropAnswer,
    Timeout,
    TooManyRequests,
)


def badges() -> list[Answer]:
    """An assertion has only addresses; what they are called stands there."""
    public = f"{get_provider('badgr').endpoints().api_base_url}/public"
    badge = {
        "entityId": "1",
        "badgeclassOpenBadgeId": f"{public}/badges/1",
        "issuerOpenBadgeId": f"{public}/issuers/1",
        "image": f"{public}/assertions/1/image",
    }
    documents: list[Any] = [{"result": [badge]}, {"name": "Welder"}, {"name": "Guild"}]
    return [Answer(json=document) for document in documents]


TRY_LATER = "cannot be reached right now"
RECONNECT = "Reconnect Badgr"


def text_of(browser: Client, account: Any) -> str:
    return browser.get(reverse("account", args=[account.pk])).content.decode()


def test_badges_are_shown_and_no_token_is(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada)
    fake_provider("badgr").script("api", *badges())

    text = text_of(browser, account)

    assert "Welder" in text
    assert "from Guild" in text
    assert "/public/assertions/1/image" in text
    assert CANARY not in text


def test_a_token_whose_life_is_over_is_renewed_on_the_way(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada)
    badgr = fake_provider("badgr")
    badgr.advance(days=2)
    badgr.script("api", *badges())

    assert "Welder" in text_of(browser, account)
    assert sum(badgr.presentations.values()) == 1


def test_beat_refreshes_what_is_due(ada: Any, fake_provider: Any, connected_account: Any) -> None:
    account = connected_account("badgr", ada)
    badgr = fake_provider("badgr")
    before = get_access_token(account)

    badgr.advance(hours=23)
    refresh_due_accounts.apply()

    assert get_access_token(account) != before
    assert sum(badgr.presentations.values()) == 1


@pytest.mark.parametrize("fault", [TooManyRequests(), BadGateway(), Timeout()])
def test_a_provider_in_trouble_is_said_to_be_so(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any, fault: Any
) -> None:
    account = connected_account("badgr", ada)
    badgr = fake_provider("badgr")
    badgr.advance(days=2)
    badgr.script("token", fault, fault)

    assert TRY_LATER in text_of(browser, account)


def test_who_withdrew_the_permission_is_asked_to_connect_again(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada)
    fake_provider("badgr").advance(minutes=1)  # a younger token is not taken for dead
    fake_provider("badgr").withdraw()

    assert RECONNECT in text_of(browser, account)


def test_an_answer_that_was_lost_after_a_rotation_costs_the_connection(
    browser: Client, ada: Any, fake_provider: Any, connected_account: Any
) -> None:
    account = connected_account("badgr", ada)
    badgr = fake_provider("badgr")
    badgr.advance(days=2)
    badgr.script("token", DropAnswer(), ConnectionRefused())  # it is asked again at once

    assert TRY_LATER in text_of(browser, account)
    with pytest.raises(Exception, match="connect"):
        refresh(account)

    assert badgr.reuses == 1
    assert RECONNECT in text_of(browser, account)
