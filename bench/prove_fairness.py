"""A provider that answers slowly, but rightly, beside a quick one; and revocations that fail beside
another person's. At the documented minimum: one worker with two processes, a beat each minute.

``python -m bench.prove_fairness [SLOW QUICK FAILING]``. PostgreSQL and Redis are our own.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.servers import PostgreSQL, Redis
from bench.stage import Site, machine, scratch, table, tell, wait_until
from bench.stub import running, token

WORKER = ("--pool=prefork", "--concurrency=2")
LATENCY = 25.0  # seconds; HTTP_DEADLINE is 30, and HTTP_TIMEOUT as much here
LONGEST = 1200.0  # seconds in which all must have happened
GOOD = "good"


class Revocations(BaseHTTPRequestHandler):
    """503 for every token but the good one, whose arrival is noted."""

    failed = 0
    failed_before_good: int | None = None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        good = GOOD in body
        if good and Revocations.failed_before_good is None:
            Revocations.failed_before_good = Revocations.failed
        Revocations.failed += not good
        self.send_response(200 if good else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def revocation_server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Revocations)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()


# In the site's processes: models are imported late.


def seed(alias: str, count: int, name: str, due_in: float = -1) -> int:
    """Accounts of one person at a provider, due in so many seconds."""
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from connected_accounts.database.functions import subject_digest
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.owners import owner_key
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.sealing import seal_document

    provider, now = get_provider(alias), timezone.now()
    user, _ = get_user_model().objects.get_or_create(username=name)
    rows = []
    for number in range(count):
        key = f"{name}-{number}"
        row = ConnectedAccount(
            user=user,
            owner_key=owner_key(user),
            provider=alias,
            subject=key,
            subject_digest=subject_digest(key),
            connected_at=now,
            expires_at=now + timedelta(seconds=max(due_in, 0)),
            refresh_at=now + timedelta(seconds=due_in),
            client_id="c",
            endpoint_fingerprint=provider.endpoints({}).token_fingerprint(),
        )
        document = {"access_token": token("a", key, 0), "refresh_token": token("r", key, 0)}
        row.token = seal_document(document, row)  # type: ignore[assignment]
        rows.append(row)
    ConnectedAccount.objects.bulk_create(rows, batch_size=500)
    return count


def refreshed(alias: str) -> int:
    from connected_accounts.models import ConnectedAccount

    return ConnectedAccount.objects.at(alias).filter(refreshed_at__isnull=False).count()


def failed(alias: str) -> int:
    from connected_accounts.models import ConnectedAccount

    return ConnectedAccount.objects.at(alias).filter(failure_count__gt=0).count()


def owe() -> int:
    """Disconnect those people; what is not the good one's has failed for an hour already."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount, Revocation
    from connected_accounts.services import disconnect_all

    for _ in disconnect_all(ConnectedAccount.objects.filter(user__username__in=("failing", GOOD))):
        pass
    failing = Revocation.objects.exclude(subject__startswith=GOOD)
    before = timezone.now() - timedelta(hours=1)
    return failing.update(attempts=5, created_at=before, next_attempt_at=before)


def outcome_of_good() -> str:
    from connected_accounts.models import Revocation

    return Revocation.objects.get(subject__startswith=GOOD).outcome


# In this process.


def prove_refreshes(site: Site, slow: int, quick: int) -> dict[str, Any]:
    site.do("bench.prove_fairness:seed", "slow", slow, "slow")
    site.do("bench.prove_fairness:seed", "quick", quick, "quick")
    began = time.monotonic()
    first = 0.0

    def is_done() -> bool:
        nonlocal first
        count = site.do("bench.prove_fairness:refreshed", "quick")
        first = first or (time.monotonic() - began if count else 0.0)
        return bool(count == quick)

    site.worker("one", *WORKER)
    site.beat(60)
    wait_until(is_done, LONGEST, 1.0)
    done = time.monotonic() - began
    wait_until(lambda: site.do("bench.prove_fairness:refreshed", "slow") > slow / 10, LONGEST, 1.0)
    return {
        "slow due": slow,
        "quick due": quick,
        "first quick after, s": round(first),
        "all quick after, s": round(done),
        "a tenth of the slow after, s": round(time.monotonic() - began),
        "slow failed": site.do("bench.prove_fairness:failed", "slow"),
    }


def prove_revocations(site: Site, failing: int) -> dict[str, Any]:
    site.do("bench.prove_fairness:seed", "quick", failing, "failing", 3600)
    site.do("bench.prove_fairness:seed", "quick", 1, GOOD, 3600)
    site.do("bench.prove_fairness:owe")
    began = time.monotonic()
    wait_until(lambda: site.do("bench.prove_fairness:outcome_of_good") == "revoked", LONGEST, 1.0)
    return {
        "failing, one person's": failing,
        "the other's withdrawn after, s": round(time.monotonic() - began),
        "failed calls before it": Revocations.failed_before_good,
    }


def prove(folder: Path, slow: int, quick: int, failing: int) -> None:
    database, redis = PostgreSQL(folder / "postgresql"), Redis(folder / "redis")
    try:
        with running(LATENCY) as slowly, running(0.05) as quickly, revocation_server() as revoking:
            url = "http://127.0.0.1:9"  # no sandbox is asked
            site = Site(folder / "site", database.url, redis.url, url, HTTP_TIMEOUT=30)
            site.environment |= {
                "DJANGO_SETTINGS_MODULE": "bench.fairness_settings",
                "BENCH_SLOW_URL": slowly.url,
                "BENCH_QUICK_URL": quickly.url,
                "BENCH_REVOCATION_URL": revoking,
            }
            try:
                site.open()
                site.do("command", "migrate", "--verbosity=0")
                table([prove_refreshes(site, slow, quick)])
                table([prove_revocations(site, failing)])
            finally:
                site.close()
    finally:
        redis.stop()
        database.stop()


def main() -> None:
    slow, quick, failing = map(int, sys.argv[1:] or (1000, 400, 600))
    tell(machine())
    with scratch() as folder:
        prove(folder, slow, quick, failing)


if __name__ == "__main__":
    main()
