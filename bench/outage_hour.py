"""A provider that is away for an hour, with 10,000 accounts due: ``python -m bench.outage_hour``.

The clock is simulated, the answers come from memory, the database is real: the one that
``DATABASE_URL`` names (a test database beside it), or SQLite. Prints what happened; exits 1 where
that is not what is promised.
"""

import argparse
import logging
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    import django

    django.setup()
    from django.conf import settings
    from django.test.utils import setup_databases, teardown_databases
    from django.utils import timezone

    from connected_accounts.testing import FakeProvider
    from tests.hour import live_through, store_due_accounts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=400, help="MAX_REQUESTS_PER_SECOND")
    options = parser.parse_args()
    logging.getLogger("connected_accounts").setLevel(logging.ERROR)
    badgr = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]
    badgr["MAX_REQUESTS_PER_SECOND"] = options.rate
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        with FakeProvider("badgr") as fake:
            now = timezone.now()
            store_due_accounts(fake, options.accounts, now)
            began = time.monotonic()
            seen = live_through(fake, now)
            took = time.monotonic() - began
    finally:
        teardown_databases(databases, verbosity=0)
    print(f"accounts                            {options.accounts}")
    print(f"requests in the hour of the outage  {seen.asked_in_outage}")
    print(f"  of these probes, in minute        {', '.join(map(str, seen.probes))}")
    print(f"  most in one step                  {seen.most_in_a_step}")
    print(f"accounts counted as failed          {seen.failed_accounts}")
    print(f"accounts whose status changed       {seen.statuses_changed}")
    print(f"not refreshed in the end            {seen.left}")
    print(f"grants ended by a reused token      {seen.reuses}")
    print(f"all fresh after, in minutes         {seen.minutes_to_refresh_all}")
    print(f"  in real seconds                   {seen.seconds_to_refresh_all:.1f}")
    print(f"most requests in one second         {seen.most_in_a_second} (limit {options.rate:.0f})")
    print(f"took                                {took:.1f} s")
    kept = seen.most_in_a_second <= options.rate * 1.1
    good = not (seen.left or seen.statuses_changed or seen.reuses) and seen.most_in_a_step <= 1
    return 0 if good and kept else 1


if __name__ == "__main__":
    sys.exit(main())
