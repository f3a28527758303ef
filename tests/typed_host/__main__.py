"""Checks the typed site against the wheel, where the source is out of reach: mypy, then pyright."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.wheel.build import PIP, build, fresh_environment, run

HERE = Path(__file__).parent
EXTRAS = "django-connected-accounts[prometheus,health-check,httpx,httpx2,drf]"
# As in the extra "dev"; what a site installs that wants types.
TYPES = ("django-stubs[compatible-mypy]>=6,<7", "mypy>=2,<3", "celery-types", "types-requests")
PYRIGHT = "pyright@1.1.414"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="typed-host-") as place:
        folder = Path(place)
        site = folder / "site"
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HERE / "typed_site", site / "typed_site", ignore=skipped)
        for name in ("mypy.ini", "pyrightconfig.json"):
            shutil.copy(HERE / name, site)
        python = fresh_environment(folder / "environment", [build("wheel", folder), *TYPES])
        run(python, *PIP, "install", EXTRAS, "pytest>=9,<10", cwd=folder)
        npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, PYRIGHT)
        run(*npm, cwd=folder)
        pyright = folder / "node_modules" / ".bin" / "pyright"
        checks = {
            "mypy --strict": [python, "-m", "mypy", "typed_site"],
            "pyright": [pyright, "--pythonpath", python],
        }
        failed = 0
        for name, command in checks.items():
            print(f"{name}:", flush=True)
            done = subprocess.run([str(part) for part in command], cwd=site, check=False)
            failed += done.returncode != 0
        return failed


if __name__ == "__main__":
    sys.exit(main())
