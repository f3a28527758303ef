"""Tokens that do not open: a typed failure, one event, and all is well when the key is back."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test import Client
from django.utils import timezone

from connected_accounts import tasks
from connected_accounts.exceptions import Undecryptable
from connected_accounts.models import ConnectedAccount, Event
from connected_accounts.refresh.carried_grant import store_sealed
from connected_accounts.refresh.drain import drain
from connected_accounts.sealing import column_bytes, key_id
from connected_accounts.services import get_access_token, get_session, refresh
from connected_accounts.testing import FakeProvider
from tests.journeys import connect, expire, finish, set_row, start

pytestmark = pytest.mark.django_db

OTHER = Fernet.generate_key().decode()
OLD = Fernet.generate_key().decode()


def write_past_the_field(account: ConnectedAccount, text: str) -> None:
    held = column_bytes(text) if text.startswith("v1.") else text
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE connected_accounts_connectedaccount SET token = %s WHERE id = %s",
            [held, account.pk],
        )


def ciphertext(account: ConnectedAccount) -> str:
    text: str = ConnectedAccount.objects.with_token().get(pk=account.pk).token.reveal()
    return text


def told() -> list[tuple[str, str]]:
    kinds = ("undecryptable", "refresh_failed", "reconnect_required")
    rows = Event.objects.filter(kind__in=kinds).order_by("pk")
    return list(rows.values_list("kind", "detail"))


def swapped(mine: ConnectedAccount, other: ConnectedAccount) -> str:
    return ciphertext(other)


def truncated(mine: ConnectedAccount, other: ConnectedAccount) -> str:
    return ciphertext(mine)[:-24]


def downgraded(mine: ConnectedAccount, other: ConnectedAccount) -> str:
    """The same, said to be sealed by a key that is good no more."""
    return f"v1.{key_id(OLD)}.{ciphertext(mine)[12:]}"


def foreign(mine: ConnectedAccount, other: ConnectedAccount) -> str:
    """Sealed by a key that this site does not have."""
    return f"v1.{key_id(OTHER)}.{Fernet(OTHER.encode()).encrypt(b'[]').decode()}"


def plain(mine: ConnectedAccount, other: ConnectedAccount) -> str:
    return '{"access_token": "planted"}'


WAYS = [
    (swapped, "foreign"),
    (truncated, "tampered"),
    (downgraded, "key_missing"),
    (foreign, "key_missing"),
    (plain, "not_sealed"),
]


@pytest.mark.parametrize(("way", "code"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_what_does_not_open_is_a_typed_failure_and_one_event(
    way: Any, code: str, client_of_ada: Client, badgr: FakeProvider
) -> None:
    mine = connect(client_of_ada, badgr, subject="mine")
    other = connect(client_of_ada, badgr, subject="other")
    write_past_the_field(mine, way(mine, other))
    sent = len(badgr.requests)
    uses = (
        lambda: get_access_token(mine),
        lambda: refresh(mine),
        lambda: get_session(mine).get("/v2/users/self"),
        lambda: refresh(mine),
    )
    for use in uses:
        with pytest.raises(Undecryptable) as caught:
            use()
        assert caught.value.code == code
    mine.refresh_from_db()
    assert (mine.status, mine.last_error) == ("active", "undecryptable")
    assert told() == [("undecryptable", code)]
    assert len(badgr.requests) == sent, "nothing was sent"
    assert get_access_token(other), "the others go on"


def test_a_lost_key_hurts_only_what_it_sealed_and_its_return_heals_every_row(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    first = settings.FIELD_ENCRYPTION_KEY[0]
    old = [connect(client_of_ada, badgr, subject=f"old-{n}") for n in range(3)]
    settings.FIELD_ENCRYPTION_KEY = [OTHER]
    new = connect(client_of_ada, badgr, subject="new")
    before = {account.pk: ciphertext(account) for account in old}
    now = timezone.now()
    ConnectedAccount.objects.update(refresh_at=now)

    # While the key is away: sweeps, pages, admin, deletions of others all go on.
    tasks.refresh_due_accounts.apply().get()
    ConnectedAccount.objects.filter(pk__in=before).update(refresh_at=now)
    drain("badgr")
    assert client_of_ada.get("/connections/").status_code == 200
    assert get_access_token(new)
    new.refresh_from_db()
    assert (new.failure_count, new.refreshed_at is None) == (0, False)
    for account in old:
        account.refresh_from_db()
        assert (account.status, account.failure_count) == ("active", 2)
        assert ciphertext(account) == before[account.pk]
    assert told() == [("undecryptable", "key_missing")] * 3

    # It comes back, as the second of two.
    settings.FIELD_ENCRYPTION_KEY = [OTHER, first]
    ConnectedAccount.objects.filter(pk__in=before).update(refresh_at=now)
    drained = drain("badgr")
    assert (drained.refreshed, drained.failed) == (3, 0)
    for account in old:
        account.refresh_from_db()
        assert (account.status, account.failure_count, account.last_error) == ("active", 0, "")
        assert get_access_token(account)
    assert badgr.reuses == 0


def test_without_the_key_a_token_that_is_still_good_is_not_given_out_wrongly(
    account: ConnectedAccount, settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = [OTHER]
    expire(account)
    with pytest.raises(Undecryptable):
        get_access_token(account)
    assert told() == [("undecryptable", "key_missing")]


def test_a_second_loss_after_a_healing_is_told_again(
    account: ConnectedAccount, settings: Any
) -> None:
    good = settings.FIELD_ENCRYPTION_KEY
    for keys in ([OTHER], [OTHER], good, [OTHER]):
        settings.FIELD_ENCRYPTION_KEY = keys
        try:
            refresh(account)
        except Undecryptable:
            assert keys == [OTHER]
    assert told() == [("undecryptable", "key_missing")] * 2


def test_a_verifier_that_does_not_open_ends_the_flow_calmly_and_is_told(
    client_of_ada: Client, badgr: FakeProvider, settings: Any
) -> None:
    params = badgr.authorize(start(client_of_ada))
    settings.FIELD_ENCRYPTION_KEY = [OTHER]
    assert finish(client_of_ada, params).status_code == 400
    assert told() == [("undecryptable", "key_missing")]
    assert not badgr.sent_to("token")


def test_a_grant_from_the_broker_that_does_not_open_is_told_and_not_stored(
    client_of_ada: Client, badgr: FakeProvider
) -> None:
    mine = connect(client_of_ada, badgr, subject="mine")
    other = connect(client_of_ada, badgr, subject="other")
    before = ciphertext(mine)
    assert not store_sealed(mine.pk, mine.generation, ciphertext(other))
    assert ciphertext(mine) == before
    assert told() == [("undecryptable", "foreign")]


def test_a_failure_before_the_key_was_lost_does_not_hide_the_event(
    account: ConnectedAccount, badgr: FakeProvider, settings: Any
) -> None:
    set_row(account, failure_count=3, last_error="status_503")
    settings.FIELD_ENCRYPTION_KEY = [OTHER]
    with pytest.raises(Undecryptable):
        refresh(account)
    assert told() == [("undecryptable", "key_missing")]
