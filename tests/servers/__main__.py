"""``make servers``: installs the real servers, takes the app through each, asks, writes the page.

``--check`` writes nothing, and ends with 1 where the page would be another (its date aside).
``--install`` installs them, and no more."""

import difflib
import os
import shutil
import sys
from datetime import UTC, datetime

from tests.servers.group import end_on_sigterm, run_as_group
from tests.servers.installation import install_all
from tests.servers.listed import INSTALLED, ROOT, Listed, applications, listed
from tests.servers.page import PAGE, ask_all, page, without_date
from tests.servers.strict import installation as strict

FILES = (
    "test_life.py",
    "test_credentials.py",
    "test_throttles.py",
    "test_applications.py",
    "strict",
)
TESTS = (*(f"tests/servers/{name}" for name in FILES), "-q", "-n", "2", "--dist", "loadgroup")


def main(arguments: list[str]) -> int:
    end_on_sigterm()
    entries = list(listed().values())
    install_all([*entries, *applications().values()])
    strict.install()
    if "--install" in arguments:
        return 0
    if status := _take_the_app_through():
        return status
    return _compare(entries) if "--check" in arguments else _write(entries)


def _take_the_app_through() -> int:
    shutil.rmtree(INSTALLED / "seen", ignore_errors=True)
    environment = {**os.environ, "CONNECTED_ACCOUNTS_SERVERS": str(INSTALLED)}
    command = [sys.executable, "-m", "pytest", *TESTS]
    return run_as_group(command, cwd=ROOT, env=environment)


def _write(entries: list[Listed]) -> int:
    PAGE.write_text(page(entries, ask_all(entries), datetime.now(UTC).date()))
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


def _compare(entries: list[Listed]) -> int:
    committed = without_date(PAGE.read_text())
    seen = without_date(page(entries, ask_all(entries), datetime.now(UTC).date()))
    difference = difflib.unified_diff(
        committed.splitlines(), seen.splitlines(), "committed", "seen now", lineterm="", n=0
    )
    print("\n".join(difference) or "As committed.")
    return int(committed != seen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
