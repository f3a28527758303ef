"""What a site may change of an account, in each of Django's ways, never closes its token, nor the
one that is withdrawn when it is disconnected."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db.models import F, Value
from django.db.models.functions import Concat

from connected_accounts.database.functions import subject_digest
from connected_accounts.models import ConnectedAccount, Revocation
from connected_accounts.sealing import open_document
from connected_accounts.services import disconnect

pytestmark = pytest.mark.django_db

Rows = ConnectedAccount.objects


def by_update(row: ConnectedAccount, **values: Any) -> None:
    Rows.filter(pk=row.pk).update(**values)


def by_update_with_the_same_user(row: ConnectedAccount, **values: Any) -> None:
    Rows.filter(pk=row.pk).update(user=row.user, **values)


def by_save(row: ConnectedAccount, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def by_save_of_the_fields(row: ConnectedAccount, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=[*values])


def by_bulk_update(row: ConnectedAccount, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    Rows.bulk_update([row], [*values])


def by_update_or_create(row: ConnectedAccount, **values: Any) -> None:
    Rows.update_or_create(pk=row.pk, defaults=values)


WAYS = [
    *(by_update, by_update_with_the_same_user, by_save, by_save_of_the_fields),
    *(by_bulk_update, by_update_or_create),
]


@pytest.mark.parametrize("values", [{"subject": "new"}, {"provider": "bitbadges"}], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_an_account_that_is_renamed_stays_open_and_can_be_withdrawn(
    make_account: Any, user: Any, way: Callable[..., None], values: dict[str, Any]
) -> None:
    made = make_account(user, access_token="the-token")
    way(Rows.get(), **values)
    row = Rows.get()
    assert row.pk == made.pk
    assert [getattr(row, name) for name in values] == [*values.values()]
    assert row.subject_digest == subject_digest(row.subject)
    assert row.open_token()["access_token"] == "the-token"
    disconnect(row)
    owed = Revocation.objects.get()
    assert open_document(owed.token, owed)["access_token"] == "the-token"


@pytest.mark.parametrize(
    "values",
    [
        {"subject": Concat(F("subject"), Value("-old"))},
        {"subject_digest": "5" * 43},
    ],
    ids=["an expression", "the digest"],
)
def test_a_subject_and_its_digest_never_part(make_account: Any, values: dict[str, Any]) -> None:
    made = make_account(access_token="the-token")
    before = Rows.values("subject", "subject_digest").get()
    with pytest.raises(FieldError, match="nothing was written"):
        Rows.filter(pk=made.pk).update(**values)
    assert Rows.values("subject", "subject_digest").get() == before
    assert Rows.get().open_token()["access_token"] == "the-token"


def test_an_object_goes_on_after_its_subject_was_written_in_bulk(make_account: Any) -> None:
    row = make_account(access_token="the-token")
    by_bulk_update(row, subject="new")
    row.label = "renamed"
    row.save()
    stored = Rows.get()
    assert (stored.subject, stored.label) == ("new", "renamed")
    assert stored.open_token()["access_token"] == "the-token"
