"""The site's habits beside drains and refreshes on demand: old copies that are saved, rows that are
put back, cloned and brought back, persons that are merged, tenants, transactions that are undone.

``python -m bench.prove_habits [SECONDS ACCOUNTS [DATABASE…]]``. A process for each habit beside a
real worker and beat, on PostgreSQL, MariaDB and SQLite, and Redis. The sandbox ends a grant when a
spent refresh token comes again. The ways of saving, cloning and bringing back are those of the
tests. Tenants are schemas, so PostgreSQL alone has them. On SQLite no transaction is undone: a
refresh inside would be undone with it, as docs/explanation/refreshing.md says.
"""

import copy
import os
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import requests

from bench.servers import Redis, own_database
from bench.stage import Sandbox, Site, machine, scratch, stage, table, tell, wait_until

ACCESS_TOKEN_SECONDS = 20
HTTP_TIMEOUT = 30  # seconds: a slow machine is not what this is about
IN_FLIGHT = 4  # calls of one worker: the sandbox is one small process
PAUSE = 0.1  # seconds at most between two deeds of one process
OF_OLD = 5  # rows that are held in memory until they are old
LEAST = OF_OLD + 3  # rounds of each, however slow the machine is
TENANT, TENANTS_ACCOUNTS = "tenant", 5
# A fifth of the accounts is put back, another fifth ended and brought back; the others must live.
PUT_BACK, ENDED, LIVING = [0], [1], [2, 3, 4]
Seen = dict[str, int]


# --- What is done in processes of their own ------------------------------------------------------


def rounds(seconds: float) -> Iterator[None]:
    ends, done = time.monotonic() + seconds, 0
    while time.monotonic() < ends or done < LEAST:
        yield
        done += 1
        time.sleep(random.uniform(0, PAUSE))


def accounts(*parts: int) -> Any:
    """The accounts of these fifths, with their tokens; no clone of any."""
    from connected_accounts.models import ConnectedAccount

    numbers = range(int(os.environ["BENCH_ACCOUNTS"]))
    subjects = [f"person-{number}" for number in numbers if number % 5 in parts]
    rows = ConnectedAccount.objects.with_token().filter(subject__in=subjects)
    return rows.exclude(user__username__startswith="clone")


def some(*parts: int) -> Any:
    return accounts(*parts).order_by("?").first()


def use_tokens(seconds: float) -> Seen:
    """Views and tasks that use tokens, some in a transaction that is undone behind them."""
    from django.db import connection, transaction

    from connected_accounts.exceptions import ConnectedAccountsError
    from connected_accounts.services import get_access_token, refresh

    seen: Counter[str] = Counter()
    can_undo = connection.vendor != "sqlite"
    for _ in rounds(seconds):
        row, use = some(*PUT_BACK, *ENDED, *LIVING), random.choice((refresh, get_access_token))
        undone = can_undo and random.random() < 0.3
        try:
            with transaction.atomic() if undone else nullcontext():
                use(row)
                if undone:
                    transaction.set_rollback(True)
            seen["asked for"] += 1
            seen["asked for in a transaction that was undone"] += undone
        except ConnectedAccountsError as error:
            seen[f"refused: {error.code}"] += 1
    return seen


def save_old_copies(seconds: float) -> Seen:
    from django.db import connection

    from tests.models.test_stale_copies import WAYS, upsert

    can_upsert = connection.features.supports_update_conflicts_with_target
    ways = [way for way in WAYS if can_upsert or way is not upsert]
    held: deque[Any] = deque()
    saved = 0
    for _ in rounds(seconds):
        held.append(some(*PUT_BACK, *LIVING))
        if len(held) > OF_OLD:
            stale = held.popleft()
            stale.label = f"label {saved}"
            random.choice(ways)(stale)
            saved += 1
    return {"old copies saved": saved}


def put_rows_back(seconds: float) -> Seen:
    """All columns at once, as packages of histories and dumps do it."""
    from tests.past_rows import columns_of, put_back

    held: deque[dict[str, Any]] = deque()
    count = 0
    for _ in rounds(seconds):
        held.append(columns_of(some(*PUT_BACK)))
        if len(held) > OF_OLD:
            put_back(held.popleft())
            count += 1
    return {"rows put back": count}


def clone_rows(seconds: float) -> Seen:
    """Each clone is used at once, and some are disconnected."""
    from django.contrib.auth import get_user_model

    from connected_accounts.exceptions import ReauthorizationRequired
    from connected_accounts.services import disconnect, get_access_token, refresh
    from tests.models.test_restored_rows import CLONES, cloned_by_fixture

    # That one gives keys which come again.
    ways = [way for way in CLONES if way is not cloned_by_fixture]
    count, refused = 0, Counter[str]()
    for _ in rounds(seconds):
        owner = get_user_model().objects.create(username=f"clone-{count}")
        twin = random.choice(ways)(some(*LIVING), owner)
        try:
            random.choice((refresh, get_access_token))(twin)
        except ReauthorizationRequired as error:
            refused[error.code] += 1
        if random.random() < 0.3:
            assert disconnect(twin) is None, "the grant of its original is not a clone's to end"
        count += 1
    assert refused == {"restored_copy": count}, refused
    return {"rows cloned": count}


def merge_people(seconds: float) -> Seen:
    from django.contrib.auth import get_user_model

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import move_to_owner

    people = [get_user_model().objects.create(username=f"merged-{n}") for n in range(3)]
    count = 0
    for _ in rounds(seconds):
        row, person = some(*LIVING), random.choice(people)
        way = random.choice(("save", "update", "service"))
        if way == "save":
            row.user = person
            row.save()
        elif way == "update":
            ConnectedAccount.objects.filter(pk=row.pk).update(user=person)
        else:
            move_to_owner(row, person)
        now = ConnectedAccount.objects.get(pk=row.pk)
        assert (now.user, now.owner_key) == (person, f"user:{person.pk}")
        count += 1
    return {"merged": count}


def end_and_bring_back(seconds: float) -> Seen:
    """Disconnect accounts one by one, and let an old copy of each come back."""
    from connected_accounts.services import disconnect
    from tests.models.test_restored_rows import revived_by_save, revived_by_sql

    rows = list(accounts(*ENDED))
    for row in rows:
        time.sleep(seconds / len(rows) / 2)
        old = copy.copy(row)
        assert disconnect(row) is not None
        time.sleep(seconds / len(rows) / 2)
        random.choice((revived_by_save, revived_by_sql))(old)
    return {"disconnected and brought back": len(rows)}


def set_search_path(schema: str, how_long: str = "SESSION") -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SET {how_long} search_path TO {schema}")


def open_tenant(path: str) -> int:
    """The same tables in a schema of their own, whose accounts have the same numbers."""
    from django.db import connection

    from bench.deeds import seed

    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {TENANT}")
        for name in tables:
            cursor.execute(f'CREATE TABLE {TENANT}."{name}" (LIKE public."{name}" INCLUDING ALL)')
    set_search_path(TENANT)
    return seed(path)


def use_tenants(seconds: float) -> Seen:
    """Views in transactions, of one tenant and then of the other: whose is the token?"""
    from django.conf import settings
    from django.db import transaction

    from connected_accounts.exceptions import ConnectedAccountsError
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token, refresh

    def token_of(schema: str, number: int, *uses: Any) -> str:
        with suppress(ConnectedAccountsError), transaction.atomic():
            set_search_path(schema, "LOCAL")
            row = ConnectedAccount.objects.get(pk=number)
            for use in uses:
                use(row)
            return get_access_token(row)
        return ""

    url, seen = f"{settings.SANDBOX_URL}/badgr/v2/users/self", Counter[str]()
    for _ in rounds(seconds):
        for schema, person in ((TENANT, "Grace"), ("public", "Ada")):
            number = random.choice(LIVING) + 1
            token = token_of(schema, number, random.choice((refresh, get_access_token)))
            if not token:
                continue
            answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
            if answer.status_code == 401:
                # Another process renews it; a token that stays stored works.
                wait_until(lambda: token_of(schema, number) != token, 60)  # noqa: B023
                continue
            seen["tenants' tokens"] += 1
            seen["of another tenant"] += answer.json()["result"][0]["firstName"] != person
    return seen


def drain_tenant(seconds: float) -> Seen:
    from connected_accounts.refresh.drain import drain

    set_search_path(TENANT)
    return {"refreshed in the tenant": sum(drain("badgr").refreshed for _ in rounds(seconds))}


HABITS: tuple[Callable[[float], Seen], ...] = (
    *(use_tokens, save_old_copies, put_rows_back, clone_rows, merge_people, end_and_bring_back),
)
HABITS_OF_TENANTS = (use_tenants, drain_tenant)


def habits(seconds: float, tenants: bool) -> Seen:
    """All of them at the same time."""
    from bench.crew import answer_of, begin

    all_of_them = (*HABITS, *(HABITS_OF_TENANTS if tenants else ()))
    begun = [begin(f"bench.prove_habits:{habit.__name__}", [seconds]) for habit in all_of_them]
    seen: Counter[str] = Counter()
    for answer in [answer_of(*one) for one in begun]:
        assert "answer" in answer, answer["error"]
        seen.update(answer["answer"])
    return seen


# --- What came of it -----------------------------------------------------------------------------


def spend_once_more(schema: str | None) -> int:
    """Refresh all that is active, for the strictest test of a stored refresh token is to spend it;
    how many could not be."""
    from bench.deeds import drain, due

    if schema:
        set_search_path(schema)
    return due() - drain(600)["refreshed"]


def let_leases_run_out() -> int:
    """A lease that was put back runs out, as any does; nobody waits for that here."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    held = ConnectedAccount.objects.exclude(lease_until=None)
    return int(held.transition(lease_until=timezone.now()))


def ends() -> dict[str, int]:
    """How many of the accounts of each kind have ended, by reason."""
    from connected_accounts.models import ConnectedAccount

    clones = ConnectedAccount.objects.filter(user__username__startswith="clone")
    kinds = {"put back": accounts(*PUT_BACK), "brought back": accounts(*ENDED)}
    kinds |= {"living": accounts(*LIVING), "clone": clones}
    return {
        f"{name}: {reason or 'active'}": count
        for name, rows in kinds.items()
        for reason, count in Counter(rows.values_list("reason", flat=True)).items()
    }


def verdict(
    site: Site, sandbox: Sandbox, count: int, schemas: tuple[str | None, ...]
) -> dict[str, Any]:
    site.stop_beat()
    for pid in list(site.workers):
        assert site.terminate(pid) == 0
    site.do("bench.prove_habits:let_leases_run_out")
    site.do("due")
    site.do("command", "refresh_connections")  # what was put back is found out, what is owed paid
    found = site.do("bench.prove_habits:ends")
    spend = "bench.prove_habits:spend_once_more"
    silent = sum(site.do(spend, schema) for schema in schemas)
    state, ended = sandbox.state(), count // 5
    alive = state["alive_by_user"]
    pending = sum(outcome == "pending" for outcome, _ in site.do("revocations"))
    assert pending == 0, site.do("revocations")
    assert found.pop("living: active") == count - 2 * ended, found
    assert found.pop("brought back: restored_copy") == ended, found
    told = found.pop("put back: restored_copy", 0)
    assert told + found.pop("put back: active", 0) == ended, found
    found.pop("clone: restored_copy", 0)
    assert not found, found
    counted = {
        "spent twice": state["reuse_detected"] + state["sent_while_pending"],
        "lost in silence": silent,
        "grants brought back to life": alive["ada"] - (count - ended),
    }
    assert set(counted.values()) == {0}, (counted, state)
    assert alive.get("grace", 0) == TENANTS_ACCOUNTS * (len(schemas) - 1), state
    # A refresh may be under way when its account is disconnected, and come behind the revocation.
    assert state["failed_token_requests"] <= ended, state
    return {"put back, and told so": told, **counted}


def prove(folder: Path, broker: str, database: str, seconds: float, count: int) -> dict[str, Any]:
    options: dict[str, Any] = {"ACCOUNTS": count, "access_token_seconds": ACCESS_TOKEN_SECONDS}
    options |= {"REFRESH_CONCURRENCY": IN_FLIGHT}
    options |= {"HTTP_DEADLINE": HTTP_TIMEOUT, "HTTP_TIMEOUT": HTTP_TIMEOUT}
    schemas: tuple[str | None, ...] = (
        ("public", TENANT) if database.startswith("postgres") else (None,)
    )
    with stage(folder / "habits", database, broker, count, **options) as (site, sandbox):
        if TENANT in schemas:
            grants = folder / "tenant.json"
            sandbox.grants(TENANTS_ACCOUNTS, grants, "grace")
            site.do("bench.prove_habits:open_tenant", str(grants))
        site.worker("worker", "--pool=prefork", "--concurrency=2")
        site.beat(1)
        wait_until(lambda: sandbox.refreshes() > 0, 60)
        seen = site.do("bench.prove_habits:habits", seconds, TENANT in schemas)
        under_way = sandbox.refreshes()
        assert seen.get("of another tenant", 0) == 0
        return {**seen, "refreshes": under_way, **verdict(site, sandbox, count, schemas)}


def main() -> None:
    seconds, count = map(int, sys.argv[1:3] or (120, 200))
    tell(machine())
    with scratch() as folder:
        redis = Redis(folder / "redis")
        try:
            for kind in sys.argv[3:] or ("postgresql", "mariadb", "sqlite"):
                with own_database(kind, folder) as database:
                    counted = prove(folder / kind, redis.url, database, seconds, count)
                table([{kind: name, "count": number} for name, number in counted.items()])
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
