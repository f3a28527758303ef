"""Reverts by the packages themselves, against a live change in between; and imports."""

from typing import Any

import pytest
import reversion
import tablib
from django.core import checks
from django.core.exceptions import FieldError
from django.db import connection
from import_export.exceptions import ImportError
from import_export.resources import modelresource_factory

from connected_accounts.exceptions import ReauthorizationRequired
from connected_accounts.models import ConnectedAccount
from connected_accounts.revoke.outbox import revoke_pending
from connected_accounts.services import disconnect, get_access_token, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.past_rows import columns_of

pytestmark = pytest.mark.django_db(transaction=True)
Rows = ConnectedAccount.objects


@pytest.fixture
def account(ada: Any, badgr: FakeProvider) -> ConnectedAccount:
    connect_account(badgr, ada, subject="ada")
    with reversion.create_revision():
        row = Rows.with_token().get()
        row.label = "of old"
        row.save()
    return Rows.get()


def change(account: ConnectedAccount, badgr: FakeProvider) -> None:
    for _ in range(2):
        refresh(account)
    Rows.update(label="of today")


def revert_by_simple_history(account: ConnectedAccount) -> None:
    past = account.history.filter(label="of old").latest()  # type: ignore[attr-defined]
    past.instance.save()


def revert_by_reversion(account: ConnectedAccount) -> None:
    from reversion.models import Version

    Version.objects.get_for_object_reference(ConnectedAccount, account.pk)[0].revision.revert()


def import_a_file(account: ConnectedAccount, **options: Any) -> None:
    resource = modelresource_factory(ConnectedAccount, meta_options=options)()
    row = dict(resource.export(Rows.all()).dict[0]) | {"label": "of old"}
    sheet = tablib.Dataset(list(row.values()), headers=list(row))
    resource.import_data(sheet, raise_errors=True)


def import_labels(account: ConnectedAccount) -> None:
    import_a_file(account, fields=["id", "user", "provider", "subject", "label"])


@pytest.mark.parametrize("revert", [revert_by_simple_history, revert_by_reversion, import_labels])
def test_a_revert_brings_back_the_label_and_no_token(
    account: ConnectedAccount, badgr: FakeProvider, revert: Any
) -> None:
    change(account, badgr)
    live = columns_of(account)
    revert(account)
    assert columns_of(account) == {**live, "label": "of old"}
    refresh(Rows.get())
    assert get_access_token(Rows.get()) == badgr.grants[0].access_token


def test_a_file_of_all_columns_is_refused_in_words(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    live = columns_of(account)
    with pytest.raises(ImportError, match="does not write"):
        import_a_file(account, exclude=["token"])
    assert columns_of(account) == live


@pytest.mark.parametrize("revert", [revert_by_simple_history, revert_by_reversion])
def test_a_revert_does_not_bring_a_disconnected_account_back_to_life(
    account: ConnectedAccount, badgr: FakeProvider, revert: Any
) -> None:
    disconnect(Rows.get())
    revoke_pending()
    sent = len(badgr.requests)
    revert(account)
    with pytest.raises(ReauthorizationRequired) as caught:
        get_access_token(Rows.get())
    assert (caught.value.code, len(badgr.requests)) == ("restored_copy", sent)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="optional: PostgreSQL's triggers")
def test_a_revert_by_pghistory_which_names_every_column_is_refused_in_words(
    account: ConnectedAccount, badgr: FakeProvider
) -> None:
    from tests.models.histories.site.models import ConnectedAccountEvent

    change(account, badgr)
    live = columns_of(account)
    with pytest.raises(FieldError, match="token"):
        ConnectedAccountEvent.objects.filter(generation=0).earliest("pgh_id").revert()
    assert columns_of(account) == live
    refresh(Rows.get())


def test_a_check_names_each_place_that_keeps_tokens() -> None:
    [found] = [m for m in checks.run_checks() if m.id == "connected_accounts.W014"]
    assert "histories_site.HistoricalConnectedAccount" in found.msg
    assert "django-reversion" in found.msg
    assert ("histories_site.ConnectedAccountEvent" in found.msg) == (
        connection.vendor == "postgresql"
    )
