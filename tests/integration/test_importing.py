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

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests/integration/movers"


@pytest.mark.parametrize("path", sorted(CASES.glob("cases_*.py")), ids=lambda path: path.stem)
def test_the_cases_of_a_site_that_moves(path: Path) -> None:
    for package in ("allauth", "social_django", "oauth2_capture"):
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
