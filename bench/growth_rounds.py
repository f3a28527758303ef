"""Rounds of refreshing in a database of its own, and what PostgreSQL took for each, as JSON.

Run as text by ``bench.growth``, in this tree or in that of an earlier commit, so it names what both
have. Each round is a life of the tokens later than the last: nothing but the drain writes.
"""

import gc
import json
import os
import sys
from datetime import timedelta
from typing import Any

from bench import harness, site, stub

TABLES = ("connected_accounts_connectedaccount", "connected_accounts_ledgerentry")


def main(accounts: int, rounds: int) -> dict[str, Any]:
    site.start("http://127.0.0.1:9", concurrency=64)
    from django.conf import settings
    from django.db import connection

    from bench import rows
    from bench.refresh import move_stub

    told: dict[str, Any] = {"rounds": []}
    with stub.running() as provider:
        move_stub(settings, provider.url)
        rows.make_ours(rows.make_users(accounts))
        with connection.cursor() as cursor:
            shuffle(cursor)
            told["new"] = size(cursor, accounts)
            for number in range(1, rounds + 1):
                if number == 1:
                    cursor.execute("CHECKPOINT")
                told["rounds"].append(one_round(cursor, number, accounts))
        rows.check_ours(rounds)
    return told


def shuffle(cursor: Any) -> None:
    """Rows lie as people connected, and are due in another order."""
    cursor.execute(f"UPDATE {TABLES[0]} SET refresh_at = refresh_at + random() * interval '1 hour'")
    cursor.execute("VACUUM FULL ANALYZE")


def one_round(cursor: Any, number: int, accounts: int) -> dict[str, Any]:
    """Refresh each account once; bytes, seconds and updates for one of them."""
    from django.utils import timezone

    from connected_accounts.refresh.drain import drain

    now = timezone.now() + timedelta(seconds=number * stub.LIFE)
    before = taken(cursor)
    drained = drain("gitea", now=now, seconds=600)
    harness.expect(drained.refreshed == accounts, f"round {number}: {drained}")
    found = {name: (n - before[name]) / accounts for name, n in taken(cursor).items()}
    gc.collect()
    return found | size(cursor, accounts) | {"memory": resident()}


def taken(cursor: Any) -> dict[str, float]:
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute(
        "SELECT pg_current_wal_insert_lsn() - '0/0', sum(n_tup_upd), sum(n_tup_hot_upd), "
        "pg_backend_pid() FROM pg_stat_user_tables WHERE relname = ANY(%s)",
        [list(TABLES)],
    )
    log, updates, hot, backend = cursor.fetchone()
    return {
        "log": float(log),
        "updates": float(updates),
        "hot": float(hot),
        "cpu": harness.process_cpu(backend),
    }


def size(cursor: Any, accounts: int) -> dict[str, float]:
    """Of the table of accounts and of all that a refresh writes; bytes for each account."""
    cursor.execute(
        "SELECT pg_table_size(%s), pg_indexes_size(%s), pg_total_relation_size(%s)",
        [TABLES[0], TABLES[0], TABLES[1]],
    )
    table, indexes, ledger = cursor.fetchone()
    return {
        "table": table / accounts,
        "indexes": indexes / accounts,
        "ledger": ledger / accounts,
    }


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
