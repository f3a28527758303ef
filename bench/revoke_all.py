"""How long an operator waits for ``revoke_all`` in an incident, on PostgreSQL.

    python -m bench.revoke_all [--accounts 100000]

Each account belongs to a user of its own. A tenth as many of the site's own were connected before
``--since`` and must be left alone.
"""

import argparse
import json
from datetime import timedelta
from io import StringIO
from typing import Any

from bench import ground


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ground.fresh_database():
        from django.core.management import call_command
        from django.utils import timezone

        from connected_accounts.models import ConnectedAccount, Event, Revocation

        now = timezone.now()
        ground.make_accounts(options.accounts, owners=True)
        ground.make_accounts(options.accounts // 10)
        ConnectedAccount.objects.filter(user=None).update(connected_at=now - timedelta(days=30))
        with ground.timed() as took:
            call_command(
                "revoke_all",
                "--provider=badgr",
                f"--since={(now - timedelta(days=1)).isoformat()}",
                "--no-input",
                stdout=StringIO(),
            )
        figures: dict[str, Any] = {
            "disconnected": Event.objects.filter(kind="disconnected").count(),
            "queued for revocation": Revocation.objects.filter(outcome="pending").count(),
            "left alone": ConnectedAccount.objects.count(),
            "seconds": round(took[0], 1),
            "rows per second": round(options.accounts / took[0]),
        }
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    expected = (options.accounts, options.accounts, options.accounts // 10)
    if tuple(figures.values())[:3] != expected:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
