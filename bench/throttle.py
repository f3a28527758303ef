"""A drain at a provider that locks for a step after each dead grant: ``python -m bench.throttle``.

216 living and 24 dead accounts and badgr-server's step of two seconds, by the test that the suite
runs with fewer. Ends with 1 where the drain takes more than 1.2 times as long as a client that
waits as it is told, ends a living account, or asks while locked more than once for a lock.
"""

import argparse
import os
import subprocess
import sys

TEST = (
    "tests/refresh/test_throttle.py::"
    "test_many_living_and_some_dead_accounts_wait_no_longer_than_they_are_told"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=240, help="a tenth of them is dead")
    parser.add_argument("--step", type=float, default=2.0, help="seconds")
    options = parser.parse_args()
    environment = os.environ | {
        "THROTTLED_ACCOUNTS": str(options.accounts),
        "THROTTLED_STEP": str(options.step),
    }
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rP", TEST]
    return 0 if subprocess.run(command, env=environment).returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
