"""A site with a tool, served by gunicorn or uvicorn, and what the tool kept of a life there."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import requests

from tests.tools.collector import Collector
from tests.tools.life import PASSWORD, Life

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0  # seconds
SEALED = re.compile(r"v1\.[0-9a-f]{8}\.")
# The bytes of a sealed column in SQL: a 1, four of the key id, and a Fernet token's first, 0x80.
COLUMN = re.compile(r"X'{1,2}01[0-9A-F]{8}80", re.IGNORECASE)
USER = """
import django; django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0, run_syncdb=True)
User.objects.create_superuser("ada", "ada@site.example", {password!r})
"""


def environment(tool: str, recipe: bool, folder: Path, collector: str) -> dict[str, str]:
    return {
        **os.environ,
        "TOOL": tool,
        "RECIPE": str(int(recipe)),
        "FOLDER": str(folder),
        "COLLECTOR": collector,
        "DJANGO_SETTINGS_MODULE": "tests.tools.settings",
        "PYTHONPATH": str(ROOT),
    }


@cache
def database_of(tool: str, recipe: bool) -> Path:
    """A migrated database with ada in it, to be copied."""
    folder = Path(mkdtemp(prefix="tools-"))
    done = subprocess.run(
        [sys.executable, "-c", USER.format(password=PASSWORD)],
        cwd=ROOT,
        env=environment(tool, recipe, folder, "http://127.0.0.1:9"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "db.sqlite3"


@dataclass
class Kept:
    """What was found of a life: ``found`` names the kinds of secrets, by place."""

    statuses: list[tuple[str, int]]
    found: dict[str, set[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


def live(tool: str, server: str, *, recipe: bool) -> Kept:
    """Lead the life at a site with the tool, and look through all that was kept and sent."""
    folder = Path(mkdtemp(prefix="tools-"))
    shutil.copy(database_of(tool, recipe and tool == "histories"), folder / "db.sqlite3")
    (folder / "mail").mkdir()
    collector = Collector()
    port = free_port()
    command = {
        "gunicorn": [
            *("gunicorn", "tests.tools.serve:wsgi", "--bind", f"127.0.0.1:{port}"),
            *("--workers", "1", "--threads", "4", "--access-logfile", str(folder / "access.log")),
        ],
        "uvicorn": ["uvicorn", "tests.tools.serve:asgi", "--port", str(port), "--lifespan", "off"],
    }[server]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment(tool, recipe, folder, collector.address),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        life = Life(f"http://127.0.0.1:{port}", collector)
        try:
            wait_until_ready(life.site, process, folder)
            life.lead()
            settle(collector)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            collector.shutdown()
            collector.server_close()
    kept = looked_through(folder, life, collector)
    shutil.rmtree(folder)
    return kept


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(site: str, process: subprocess.Popen[Any], folder: Path) -> None:
    ends = time.monotonic() + DEADLINE
    while time.monotonic() < ends and process.poll() is None:
        try:
            if requests.get(f"{site}/ready/", timeout=DEADLINE).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError((folder / "server.log").read_text()[-3000:])


def settle(collector: Collector) -> None:
    """Wait until a tool that sends from a thread of its own has sent nothing for a moment."""
    ends, before = time.monotonic() + 10, -1
    while time.monotonic() < ends and before != len(collector.kept):
        before = len(collector.kept)
        time.sleep(1.0 if before else 0.2)


def looked_through(folder: Path, life: Life, collector: Collector) -> Kept:
    places = {
        "sent": b"\n".join(collector.kept),
        "database": b"\n".join(path.read_bytes() for path in folder.glob("db.sqlite3*")),
        "mail": b"\n".join(unfolded(path.read_bytes()) for path in folder.glob("mail/*")),
        "log": (folder / "site.log").read_bytes() + (folder / "server.log").read_bytes(),
    }
    if (folder / "access.log").exists():
        places["access log"] = (folder / "access.log").read_bytes()
    kept = Kept(life.statuses)
    if sealed_elsewhere(folder / "db.sqlite3"):
        kept.found["database"] = {"sealed"}
    for place, raw in places.items():
        kept.sizes[place] = len(raw)
        for kind, values in (life.secrets | collector.secrets).items():
            if any(value.encode() in raw for value in values):
                kept.found.setdefault(place, set()).add(kind)
    return kept


def sealed_elsewhere(database: Path) -> bool:
    """Whether a table of a tool has a sealed text (a session has one while somebody signs in)."""
    with closing(sqlite3.connect(database)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        tools = [name for name in names if not name.startswith(("connected_accounts", "django_s"))]
        dump = [
            line
            for line in connection.iterdump()
            if line.startswith("INSERT") and line.split('"')[1] in tools
        ]
    return any(SEALED.search(line) or COLUMN.search(line) for line in dump)


def unfolded(mail: bytes) -> bytes:
    """A mail's text, whose long lines are broken in quoted-printable."""
    return mail.replace(b"=\n", b"").replace(b"=\r\n", b"").replace(b"=3D", b"=")
