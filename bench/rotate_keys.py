"""Key rotation on PostgreSQL: against a loop of ``save()``, and beside live refreshes.

    python -m bench.rotate_keys [--accounts 20000] [--workers 3]

Each worker is a process that refreshes its own accounts as fast as it can, through
``services.refresh`` and a token endpoint in memory that rotates the refresh token and remembers the
newest one. At the end what is stored is compared with it. Exits 1 where an update was lost.
"""

import argparse
import json
import multiprocessing
import random
import time
from typing import Any

from bench import ground

OLD = "b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="  # that of tests.settings
NEW = "YW5vdGhlci1rZXktMDEyMzQ1Njc4OTAxMjM0NTY3ODk="
SAMPLE = 2000  # accounts for the loop


def use_keys(*keys: str) -> None:
    from django.conf import settings

    settings.FIELD_ENCRYPTION_KEY = list(keys)


def save_loop(pks: list[int]) -> float:
    """Rows per second of the obvious way: load, seal anew, save."""
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.sealing import reseal

    with ground.timed() as took:
        for row in ConnectedAccount.objects.with_token().filter(pk__in=pks).iterator():
            row.token = reseal(row.token)
            row.save()
    return len(pks) / took[0]


def rotate() -> tuple[float, Any]:
    from connected_accounts.operations.key_rotation import rekey

    with ground.timed() as took:
        *_, figures = rekey()
    return figures.resealed / took[0], figures


def endpoint(newest: dict[str, int]) -> Any:
    """A token endpoint in memory: who presents the newest refresh token gets the next one."""
    from urllib.parse import parse_qs

    from connected_accounts.testing.adapter import FakeAdapter
    from connected_accounts.testing.faults import Answer

    def answer(request: Any) -> Any:
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        account, _, number = parse_qs(body)["refresh_token"][0].partition(".")
        if newest.get(account, 0) != int(number):
            return Answer(400, json={"error": "invalid_grant"})
        newest[account] = int(number) + 1
        token = {
            "access_token": "b" * 40,
            "refresh_token": f"{account}.{newest[account]}",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return Answer(200, json=token)

    return FakeAdapter(lambda url: True, answer, lambda request: AssertionError(request.url))


def refresher(url: str, mine: list[int], stop: Any, results: Any) -> None:
    """One worker: refreshes its accounts until told to stop, then compares what is stored."""
    ground.set_up(url)
    use_keys(NEW, OLD)
    from connected_accounts.exceptions import ConnectedAccountsError
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.oauth2 import transport
    from connected_accounts.services import refresh

    newest: dict[str, int] = {}
    transport.install_adapter(endpoint(newest))
    done = failed = 0
    while not stop.is_set():
        try:
            refresh(ConnectedAccount.objects.get(pk=random.choice(mine)))
            done += 1
        except ConnectedAccountsError:
            failed += 1
    stored = {}
    for row in ConnectedAccount.objects.with_token().filter(pk__in=mine).iterator():
        account, _, number = row.open_token()["refresh_token"].partition(".")
        stored[account] = int(number)
    lost = sum(stored[account] != number for account, number in newest.items())
    results.put((done, failed, lost))


def rotate_under_load(url: str, pks: list[int], workers: int) -> dict[str, Any]:
    from django.db import connections

    connections.close_all()
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    # A tenth of the accounts is refreshed over and over, so that many meet the rotation.
    hot = random.sample(pks, len(pks) // 10)
    crew = [
        context.Process(target=refresher, args=(url, hot[n::workers], stop, results))
        for n in range(workers)
    ]
    for process in crew:
        process.start()
    time.sleep(5)  # until all of them are at it
    rate, figures = rotate()
    runs, busy = 1, figures.busy
    while figures.busy:
        _, figures = rotate()
        runs, busy = runs + 1, busy + figures.busy
    stop.set()
    counts = [results.get(timeout=120) for _ in crew]
    for process in crew:
        process.join()
    done, failed, lost = (sum(count[n] for count in counts) for n in range(3))
    return {
        "rows per second under load": round(rate),
        "refreshes beside it": done,
        "refreshes that failed": failed,
        "rows left to a further run": busy,
        "runs": runs,
        "lost updates": lost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ground.fresh_database() as url:
        use_keys(OLD)
        ground.make_accounts(options.accounts)
        from connected_accounts.models import ConnectedAccount
        from connected_accounts.operations.keys_in_use import count_by_key

        pks = list(ConnectedAccount.objects.order_by("pk").values_list("pk", flat=True))
        use_keys(NEW, OLD)
        loop = save_loop(pks[: min(SAMPLE, len(pks) // 2)])
        rate, _ = rotate()
        use_keys(OLD, NEW)
        rotate()  # back, so that there is something to do
        use_keys(NEW, OLD)
        figures: dict[str, Any] = {
            "accounts": options.accounts,
            "rows per second, save() loop": round(loop),
            "rows per second, rotate_token_keys": round(rate),
            "ratio": round(rate / loop, 1),
            **rotate_under_load(url, pks, options.workers),
            "keys in use afterwards": len(count_by_key()),
        }
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:36} {value}")
    if figures["lost updates"] or figures["refreshes that failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
