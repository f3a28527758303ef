"""Many processes that want one account's token at the same moment.

``python -m tests.mcp.real.crowd ACCOUNT PROCESSES`` prints a digest of what each of them got.
"""

import fcntl
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django

PATIENCE = 120.0  # seconds
# One crowd at a time: PostgreSQL takes a hundred connections as it is installed.
TURN = Path(tempfile.gettempdir(), "connected-accounts-crowd.lock")


def digest(token: Any) -> str:
    return hashlib.sha256(str(token).encode()).hexdigest()


def want(account_id: int, together: Any, found: Any) -> None:
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token

    account = ConnectedAccount.objects.get(pk=account_id)
    together.wait(PATIENCE)
    found.put(digest(get_access_token(account)))


def main(account_id: int, count: int) -> None:
    from django.conf import settings

    settings.CONNECTED_ACCOUNTS = json.loads(os.environ["SITE_SETTINGS"])
    fork = multiprocessing.get_context("fork")
    together, found = fork.Barrier(count), fork.Queue()
    crowd = [fork.Process(target=want, args=(account_id, together, found)) for _ in range(count)]
    with TURN.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for process in crowd:
            process.start()
        for _ in crowd:
            print(found.get(timeout=PATIENCE))
        for process in crowd:
            process.join(PATIENCE)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), int(sys.argv[2]))
