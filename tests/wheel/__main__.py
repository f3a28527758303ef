"""``python -m tests.wheel``: the wheel alone in a fresh environment, on each database."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.wheel.build import PIP, build, fresh_environment, run

DRIVERS = ("psycopg[binary]", "pymysql")
EXTRAS = ("django-connected-accounts[prometheus,health-check,httpx,httpx2,drf,strong]", "pytest")


def main(databases: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="wheel-") as place:
        folder = Path(place)
        wheel = build("wheel", folder)
        python = fresh_environment(folder / "environment", [wheel, *DRIVERS])
        script = Path(__file__).with_name("empty_site.py")
        command = [str(python), "-I", str(script)]
        print(f"{wheel.name}, {wheel.stat().st_size // 1024} KiB", flush=True)
        alone = subprocess.run([*command, *databases], cwd=folder, check=False).returncode
        run(python, *PIP, "install", *EXTRAS, cwd=folder)
        command += ["--extras", "sqlite"]
        return alone or subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
