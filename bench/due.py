"""Finding due work and claiming it, and the admin's list, with ten thousand rows to a million.

Each size has tables of its own, in a schema that the connection is pointed to; all are asked in
turn. A thousand accounts are due in each, spread over the table.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench import harness, site
from bench.harness import Figures, Goal, expect

SIZES = (10_000, 100_000, 1_000_000)
DUE = 1000
TABLE = "connected_accounts_connectedaccount"
ADMIN_PATH = "/admin/connected_accounts/connectedaccount/"


def named(size: int) -> str:
    return f"{size:,} rows"


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9")
    from bench import rows

    rows.delete_rows()
    sizes = [max(int(size * scale), 200) for size in SIZES]
    boss = rows.make_users(1)[0]
    boss.is_staff = boss.is_superuser = True
    boss.save()
    for size in sizes:
        fill(size, boss)
    claims = harness.interleaved({named(n): lambda n=n: claiming(n) for n in sizes}, runs=25)
    plans = {size: plan(size) for size in sizes}
    for size, text in plans.items():
        if size < SIZES[0]:
            continue  # a small table is read whole, and rightly
        by_index = "Index Cond" in text and "Seq Scan" not in text
        expect(by_index, f"{size} rows: the index is not used:\n{text}")
    firsts: dict[str, list[float]] = {named(n): [] for n in sizes}
    pages = harness.interleaved(
        {named(n): opening(n, boss, firsts[named(n)]) for n in sizes}, runs=15
    )
    bytes_ = sizes_on_disk(sizes[-1])
    for size in sizes:
        drop(size)
    few, many = named(sizes[0]), named(sizes[-1])
    claim = Figures("Due scan and claim of 64", "ms", claims)
    claim.goals = [Goal(many, few, "<=", 1.3, "due scan and claim, 1 M against 10 k rows")]
    admin = Figures("Admin list of connected accounts", "ms", pages)
    admin.goals = [Goal(many, few, "<=", 1.5, "admin list, 1 M against 10 k rows")]
    admin.note = "the figures above the list are those of the last minute where they took a while"
    first = Figures("Admin list, the first look in a minute", "ms", firsts)
    first.goals = [Goal(many, few)]
    disk = Figures("Disk, for each account", "bytes", {what: [n] for what, n in bytes_.items()})
    disk.note = f"{sizes[-1]} rows just written"
    return [claim, admin, first, disk]


def schema(size: int) -> str:
    return f"rows_{size}"


def execute(statement: str, *parameters: Any) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def inside(size: int) -> Iterator[None]:
    """The connection sees the tables of one size."""
    execute(f"SET search_path TO {schema(size)}, public")
    try:
        yield
    finally:
        execute("SET search_path TO public")


def fill(size: int, owner: Any) -> None:
    """Copies of one row of ours, each with its own owner key, subject and times."""
    from django.db import connection
    from django.utils import timezone

    from bench import rows

    harness.say(f"  filling {size} rows")
    one = rows.our_row(0, owner)
    values = {
        f.column: f.get_db_prep_save(getattr(one, f.attname), connection)
        for f in one._meta.concrete_fields
    }
    now = timezone.now()
    spread = {
        "user_id": "%s::int",
        "owner_key": "'user:' || n",
        "subject": "n::text",
        "subject_digest": "md5(n::text) || left(md5('x' || n::text), 11)",
        "label": "'u' || n || '@provider.example'",
        "refresh_at": f"%s::timestamptz + (CASE WHEN n %% {max(size // DUE, 1)} = 0 "
        "THEN -1 ELSE 1 END) * (1 + n %% 3600) * interval '1 second'",
        "seal_id": "gen_random_uuid()",
    }
    execute(f"CREATE SCHEMA {schema(size)}")
    execute(f"CREATE TABLE {schema(size)}.{TABLE} (LIKE public.{TABLE} INCLUDING ALL)")
    columns = [c for c in values if c != "id"]
    selected = ", ".join(spread.get(c, "%s") for c in columns)
    given = [
        owner.pk if c == "user_id" else now if c == "refresh_at" else values[c]
        for c in columns
        if "%s" in spread.get(c, "%s")
    ]
    execute(
        f"INSERT INTO {schema(size)}.{TABLE} ({', '.join(columns)}) "
        f"SELECT {selected} FROM generate_series(1, {size}) AS n",
        *given,
    )
    execute(f"VACUUM ANALYZE {schema(size)}.{TABLE}")


def claiming(size: int) -> float:
    """ms on the wall for the look, the claim and the rows with their tokens; then all is undone."""
    from django.utils import timezone

    from bench import drains
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.refresh.due import is_due

    with inside(size):
        began = time.perf_counter()
        due = is_due("gitea", timezone.now())
        attempts = drains.claim_due("gitea", 64)
        took = (time.perf_counter() - began) * 1000
        good = due and len(attempts) == 64 and all(one.account.lease_holder for one in attempts)
        expect(good, f"{size} rows: {len(attempts)} claimed")
        ConnectedAccount.objects.filter(pk__in=[one.account.pk for one in attempts]).transition(
            lease_holder=None, lease_until=None, attempt_started_at=None
        )
    return took


def plan(size: int) -> str:
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    with inside(size):
        due = ConnectedAccount.objects.at("gitea").due_for_refresh(timezone.now())
        return str(due.values_list("pk", flat=True)[:64].explain(analyze=True))


def opening(size: int, boss: Any, firsts: list[float]) -> Callable[[], float]:
    from django.core.cache import cache

    from bench.wsgi import Visitor, handler

    visitor = Visitor(handler(), boss)

    def once() -> float:
        cache.clear()  # the sizes share it
        with inside(size):
            firsts.append(seen(visitor))
            return seen(visitor)

    return once


def seen(visitor: Any) -> float:
    began = time.perf_counter()
    answer = visitor.get(ADMIN_PATH)
    took = (time.perf_counter() - began) * 1000
    expect(answer.status == 200, f"admin list answers {answer.status}")
    expect(answer.body.count(b"action-checkbox") >= 100, "admin list: a hundred rows")
    return took


def sizes_on_disk(size: int) -> dict[str, float]:
    table = f"'{schema(size)}.{TABLE}'"
    [(heap,)] = execute(f"SELECT pg_table_size({table})")
    [(indexes,)] = execute(f"SELECT pg_indexes_size({table})")
    [(due,)] = execute(
        "SELECT pg_relation_size(indexrelid) FROM pg_index "
        f"WHERE indrelid = {table}::regclass AND pg_get_indexdef(indexrelid) ~ 'refresh_at'"
    )
    return {"table": heap / size, "all indexes": indexes / size, "index on due": due / size}


def drop(size: int) -> None:
    execute(f"DROP SCHEMA {schema(size)} CASCADE")


if __name__ == "__main__":
    harness.publish(measure)
