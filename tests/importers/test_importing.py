"""Moving from allauth, social-auth and oauth2-capture, with those packages as they are published.

They need settings and apps of their own, so the cases run in another pytest.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import stub
from tests.services import service

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests/importers/movers"
PACKAGES = ("allauth", "social_django", "oauth2_capture")


@pytest.mark.parametrize("path", sorted(CASES.glob("cases_*.py")), ids=lambda path: path.stem)
def test_the_cases_of_a_site_that_moves(path: Path) -> None:
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed")
    wanted = len(re.findall(r"^def test_", path.read_text("utf-8"), re.MULTILINE))
    with stub.running() as provider:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "DJANGO_"))}
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
                # What the other packages use of others that is deprecated there is not ours.
                *("-W", "default", "--ds=bench.movers_settings", str(path)),
            ],
            cwd=ROOT,
            env={**environ, "BENCH_STUB_URL": provider.url, "DATABASE_URL": "sqlite://:memory:"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= wanted > 0
    assert "skipped" not in run.stdout


@pytest.mark.postgres
def test_a_killed_run_is_gone_on_with_by_two_at_once_and_nothing_is_lost_or_twice() -> None:
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed")
    service("postgresql")
    run = subprocess.run(
        [sys.executable, "-m", "bench.prove_import", "1200", "social-auth"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "| 1200 | 1200 | 0 | 0 |" in run.stdout
