"""Packages that keep the history of rows, as they are published, beside the accounts.

They need settings and apps of their own, so the cases run in another pytest.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import service

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests/models/histories"
PACKAGES = ("simple_history", "reversion", "import_export", "pghistory")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("path", sorted(CASES.glob("cases_*.py")), ids=lambda path: path.stem)
def test_the_cases_of_a_site_that_keeps_histories(path: Path, database: str) -> None:
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed")
    url = "sqlite://:memory:" if database == "sqlite" else service("postgresql")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "DJANGO_"))}
    environ |= {"DATABASE_URL": url, "HISTORIES_EXCLUDE": "yes" if "left" in path.stem else ""}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            # What the other packages use of others that is deprecated there is not ours.
            # The site's tables of history have no migrations.
            *(
                "--no-migrations",
                "-W",
                "default",
                "--ds=tests.models.histories.settings",
                str(path),
            ),
        ],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) > 0
