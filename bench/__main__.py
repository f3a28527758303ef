"""All measurements, each in a process of its own: ``make bench``, or ``python -m bench``.

Prints the tables. ``--json FILE`` writes the figures, ``--only refresh,page`` takes some of them,
``--scale 0.1`` is a tenth of the size, to see that everything works; with ``--busy`` one of the
cores is another process's. Ends with 1 where a budget is not met or somebody did not do the work.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from bench import harness, postgres, refresh, report

MODULES = (
    "refresh",
    "wide",
    "strong",
    "reading",
    "connecting",
    "page",
    "startup",
    "due",
    "rekeying",
    "growth",
    "workers",
)
PACKAGES = (
    "Django",
    "requests",
    "requests-oauthlib",
    "cryptography",
    "psycopg",
    "django-allauth",
    "social-auth-app-django",
    "social-auth-core",
    "Authlib",
)


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as told:
        names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    return f"{len(names)} cores ({names[0] if names else platform.machine()})"


def machine(url: str) -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    with psycopg.connect(url) as server:
        database = server.info.server_version // 10000
    system = f"{platform.system()} {platform.machine()}"
    busy = f"load average at the start {os.getloadavg()[0]:.1f}"
    return (
        f"{processor()}, {pages * size / 2**30:.0f} GiB of memory, {system}, "
        f"Python {platform.python_version()}, PostgreSQL {database}, {busy}"
    )


def measured(module: str, scale: float, url: str) -> list[dict[str, Any]]:
    harness.say(f"{module}:")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "figures.json")
        command = [sys.executable, "-m", f"bench.{module}", "--scale", str(scale)]
        environment = {**os.environ, "DATABASE_URL": url}
        subprocess.run([*command, "--out", str(out)], check=True, env=environment)
        found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(MODULES), help="names with commas between")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--json", default="", help="a file for the figures")
    parser.add_argument("--busy", action="store_true", help="another process has one of the cores")
    options = parser.parse_args()
    with postgres.database() as url, refresh.busy_core() if options.busy else nullcontext():
        results = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(url) + ", one core taken by another process" * options.busy,
            "versions": {name: version(name) for name in PACKAGES},
            "scale": dict.fromkeys(options.only.split(","), options.scale),
            "measured": [],
        }
        for module in options.only.split(","):
            results["measured"] += measured(module, options.scale, url)
            if options.json:
                text = json.dumps(results, indent=1, ensure_ascii=False)
                Path(options.json).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(report.text(results))
    ratios = [ratio for figures in results["measured"] for ratio in figures["ratios"]]
    return int(any(ratio["met"] is False for ratio in ratios))


if __name__ == "__main__":
    raise SystemExit(main())
