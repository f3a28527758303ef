"""The same trackers without the columns that the page names: nothing is kept, reverts work."""

from typing import Any

import pytest
import reversion
from django.core import checks
from django.db import connection

from connected_accounts.models import ConnectedAccount
from connected_accounts.services import get_access_token, refresh
from connected_accounts.testing import FakeProvider, connect_account
from tests.models.histories.cases_reverts import revert_by_simple_history

pytestmark = pytest.mark.django_db(transaction=True)
Rows = ConnectedAccount.objects


def everything_stored() -> str:
    """Every column of every table but ours, as text."""
    text = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if not table.startswith("connected_accounts_"):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                text.append(repr(cursor.fetchall()))
    return "".join(text)


def test_no_table_keeps_a_token_and_no_check_complains(ada: Any, badgr: FakeProvider) -> None:
    account = connect_account(badgr, ada, subject="ada")
    with reversion.create_revision():
        row = Rows.with_token().get()
        row.label = "of old"
        row.save()
    refresh(account)
    kept = everything_stored()
    assert "of old" in kept
    assert "v1." not in kept
    assert not [m for m in checks.run_checks() if m.id == "connected_accounts.W014"]
    Rows.update(label="of today")
    revert_by_simple_history(account)
    row = Rows.get()
    assert row.label == "of old"
    assert get_access_token(row) == badgr.grants[0].access_token
    refresh(row)
