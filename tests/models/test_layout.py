"""Where the columns lie that a refresh writes.

Of an UPDATE within a page PostgreSQL logs what lies between the first and the last byte that differ
(``log_heap_update``), so what is written together stands together.
"""

import uuid
from datetime import datetime
from typing import Any

from django.db import connection

from connected_accounts.models import ConnectedAccount
from connected_accounts.models.lease import AFTER_SUCCESS
from connected_accounts.services import refresh

OF_A_GRANT = {"token", "expires_at", "refresh_token_expires_at", "refresh_at", "refreshed_at"}
OF_A_REFRESH = OF_A_GRANT | {"generation", "revision", *AFTER_SUCCESS}


def row() -> dict[str, Any]:
    """The only account, in the order of its columns."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {ConnectedAccount._meta.db_table}")
        [values] = cursor.fetchall()
        assert cursor.description is not None
        return dict(zip([column[0] for column in cursor.description], values, strict=True))


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in before if bytes_of(before[name]) != bytes_of(after[name])]


def bytes_of(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def test_a_claim_writes_columns_beside_each_other(account: ConnectedAccount, now: datetime) -> None:
    before = row()
    [claimed] = ConnectedAccount.objects.claim(
        [account.pk], holder=uuid.uuid4(), seconds=60, now=now
    )
    assert claimed.pk == account.pk
    written = differing(before, row())
    names = [*before]
    first = names.index(written[0])
    assert written == names[first : first + len(written)]
    assert {"lease_holder", "lease_until", "generation"} <= {*written}


def test_a_refresh_writes_the_last_columns_alone(account: ConnectedAccount) -> None:
    before = row()
    refresh(account)
    names = [*before]
    assert names[-1] == "token"  # the longest: a claim's stretch ends before it
    assert {*names[-len(OF_A_REFRESH) :]} == OF_A_REFRESH
    written = differing(before, row())
    assert {"token", "refresh_at", "revision"} <= {*written} <= OF_A_REFRESH
