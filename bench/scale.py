"""Rows by the million, and the time that finding and claiming due work takes among them."""

import time
from datetime import timedelta
from typing import Any

ALIAS, BATCH = "badgr", 64


def load(rows: int, due: int) -> int:
    """That many accounts, of which so many are due and the others come due within a day."""
    from django.db import connection
    from django.utils import timezone

    from connected_accounts.database.functions import subject_digest
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.models.ledger import LedgerEntry
    from connected_accounts.owners import SITE_OWNER
    from connected_accounts.provider_state.pauses import get_or_create_state
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.sealing import seal_document

    get_or_create_state(ALIAS)
    now = timezone.now()
    document = {"access_token": "a" * 40, "refresh_token": "r" * 40, "token_type": "Bearer"}
    first = ConnectedAccount(
        provider=ALIAS,
        owner_key=SITE_OWNER,
        subject="0",
        subject_digest=subject_digest("0"),
        connected_at=now,
        refresh_at=now,
        expires_at=now,
        client_id=get_provider(ALIAS).config.client_id,
        endpoint_fingerprint="f" * 64,
    )
    first.token = seal_document(document, first)  # type: ignore[assignment]
    first.save(force_insert=True)
    columns = [field.column for field in ConnectedAccount._meta.concrete_fields]
    made = {
        "id": "n",
        "seal_id": "gen_random_uuid()",
        "subject": "n::text",
        "subject_digest": "md5(n::text) || left(md5('x' || n::text), 11)",
        # In no order, as tokens come due in none.
        "refresh_at": f"now() + (hashint4(n::int) %% 1000) * interval '1 second' + CASE WHEN "
        f"hashint8(n) & 2147483647 < {due / rows} * 2147483648 THEN interval '-1 hour' "
        f"ELSE interval '1 hour' + n %% 86400 * interval '1 second' END",
    }
    chosen = ", ".join(made.get(column, f'"{column}"') for column in columns)
    table = ConnectedAccount._meta.db_table
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table}, "
            f"generate_series(%s, %s) n WHERE id = %s",
            [first.pk + 1, first.pk + rows - 1, first.pk],
        )
        entries = LedgerEntry._meta.db_table
        cursor.execute(
            f"INSERT INTO {entries} (seal_id, account_pk, revision) "
            f"SELECT seal_id, id, revision FROM {table} WHERE id <> %s",
            [first.pk],
        )
        cursor.execute(f"VACUUM ANALYZE {table}, {entries}")
    found: int = ConnectedAccount.objects.due_for_refresh(timezone.now()).count()
    return found


def measure(rounds: int) -> dict[str, float]:
    """The median time of a look and a claim, in milliseconds; what was claimed is put back."""
    from statistics import median

    from django.db import transaction
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.models.lease import LEASE_RELEASED
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.refresh.attempts import claim
    from connected_accounts.refresh.due import is_due

    provider, now = get_provider(ALIAS), timezone.now()
    times: dict[str, list[float]] = {"find": [], "claim": []}
    for number in range(rounds + 5):
        began = time.perf_counter()
        assert is_due(ALIAS, now)
        found = time.perf_counter()
        with transaction.atomic():
            due = ConnectedAccount.objects.at(ALIAS).due_for_refresh(now)
            free = due.select_for_update(skip_locked=True)
            attempts = claim(list(free.values_list("pk", flat=True)[:BATCH]), provider, now=now)
        ended = time.perf_counter()
        assert len(attempts) == BATCH
        if number >= 5:
            times["find"].append(found - began)
            times["claim"].append(ended - found)
        pks = [attempt.account.pk for attempt in attempts]
        later = now + timedelta(days=1)
        ConnectedAccount.objects.filter(pk__in=pks).transition(
            refresh_at=later, attempt_started_at=None, **LEASE_RELEASED
        )
    return {name: round(median(values) * 1000, 3) for name, values in times.items()}


def plans() -> dict[str, str]:
    """How PostgreSQL goes about each hot query."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    now = timezone.now()
    due = ConnectedAccount.objects.at(ALIAS).due_for_refresh(now)
    return {
        "whether anything is due": due.values_list("pk", flat=True)[:1].explain(),
        "which are due": due.values_list("pk", "failure_count")[:BATCH].explain(),
        "which are due, for a status": due.order_by("refresh_at")
        .values("refresh_at")[:1]
        .explain(),
    }


def table_size() -> dict[str, Any]:
    from django.db import connection

    from connected_accounts.models import ConnectedAccount

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_size_pretty(pg_total_relation_size(%s))", [ConnectedAccount._meta.db_table]
        )
        return {"rows": ConnectedAccount.objects.count(), "size": cursor.fetchone()[0]}
