"""What a proof needs around it: a sandbox that counts, a site with so many accounts, its workers.

All of it real processes: see crew.py for the site's.
"""

import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import requests

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def wait_until(question: Callable[[], T], seconds: float, pause: float = 0.2) -> T:
    """Ask until the answer is true. Fails when the time is up."""
    ends = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < ends, f"it did not happen within {seconds:.0f} s"
        time.sleep(pause)
    return answer


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards. SIGTERM too lets everything be tidied up."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="connected-accounts-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Sandbox:
    """The server. It ends the whole grant when a rotated refresh token comes again."""

    def __init__(self, folder: Path, access_token_seconds: int = 3600) -> None:
        self.database = str(folder / "sandbox.sqlite3")
        self.log = folder / "sandbox.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "example_project.sandbox", "--port", "0"),
                    *("--database", self.database),
                    *("--access-token-seconds", str(access_token_seconds)),
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def grants(self, count: int, path: Path, person: str = "ada") -> None:
        """Write a file with so many new grants of a person."""
        with path.open("wb") as file:
            subprocess.run(
                [sys.executable, "-m", "bench.grants", self.database, str(count), person],
                cwd=ROOT,
                stdout=file,
                check=True,
            )

    def state(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/sandbox/state", timeout=120)
        state: dict[str, Any] = answer.json()["badgr"]
        return state

    def refreshes(self) -> int:
        count: int = self.state()["token_requests"]["refresh_token"]
        return count

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Site:
    """One deployment: a database, a broker, and what its crew does."""

    def __init__(
        self,
        folder: Path,
        database: str,
        broker: str,
        sandbox: str,
        *,
        code: Path = ROOT,
        queue: str = "",
        **settings: Any,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.database = database
        self.code = code
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "DATABASE_URL": database,
            "CELERY_BROKER_URL": broker,
            "CELERY_TASK_DEFAULT_QUEUE": queue or f"bench-{secrets.token_hex(6)}",
            # Another version of the code is found first; what measures it is always this one.
            "PYTHONPATH": f"{code}:{ROOT}",
            "SANDBOX_URL": sandbox,
            "BENCH_FOLDER": str(folder),
            **{f"BENCH_{name}": str(value) for name, value in settings.items()},
        }
        self.workers: dict[int, str] = {}
        self._beat: subprocess.Popen[bytes] | None = None
        self.crew: subprocess.Popen[str] | None = None

    def open(self) -> None:
        with (self.folder / "crew.log").open("ab") as log:
            self.crew = subprocess.Popen(
                [sys.executable, "-m", "bench.crew"],
                cwd=self.code,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.crew.stdout is not None
        if self.crew.stdout.readline() != "ready\n":
            raise AssertionError((self.folder / "crew.log").read_text()[-2000:])

    def do(self, verb: str, *arguments: Any) -> Any:
        """Have the crew do something; its answer."""
        assert self.crew is not None
        assert self.crew.stdin is not None
        assert self.crew.stdout is not None
        self.crew.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.crew.stdin.flush()
        answer = json.loads(self.crew.stdout.readline())
        assert "answer" in answer, answer["error"]
        return answer["answer"]

    def worker(self, name: str, *options: str) -> int:
        pid: int = self.do("worker", name, *options)
        self.workers[pid] = name
        return pid

    def kill(self, pid: int) -> str:
        """SIGKILL one worker; the name it had."""
        os.kill(pid, signal.SIGKILL)
        self.do("wait", pid)
        return self.workers.pop(pid)

    def terminate(self, pid: int) -> int:
        """SIGTERM one worker, and wait for it; its exit status."""
        os.kill(pid, signal.SIGTERM)
        status: int = self.do("wait", pid)
        del self.workers[pid]
        return status

    def beat(self, seconds: float) -> None:
        """A real beat, which asks for work so often."""
        with (self.folder / "beat.log").open("ab") as log:
            self._beat = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "example_project.celery", "beat"),
                    f"--schedule={self.folder / 'celerybeat-schedule'}",
                    "--pidfile=",
                ],
                cwd=self.code,
                env={**self.environment, "DEMO_BEAT_SECONDS": str(seconds)},
                stdout=log,
                stderr=log,
            )

    def stop_beat(self) -> None:
        if self._beat is not None:
            self._beat.kill()
            self._beat.wait()
            self._beat = None

    def close(self) -> None:
        self.stop_beat()
        for pid in list(self.workers):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # a worker and its pool: a session of its own
        self.workers.clear()
        if self.crew is not None:
            if self.environment["CELERY_BROKER_URL"].startswith("amqp"):
                with suppress(AssertionError):  # a broker that is gone has no queue left
                    self.do("forget")
            self.crew.stdin.close()  # type: ignore[union-attr]
            self.crew.wait()
            self.crew.stdout.close()  # type: ignore[union-attr]
            self.crew = None

    def logs(self) -> str:
        return "\n".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))


@contextmanager
def stage(
    folder: Path,
    database: str,
    broker: str,
    accounts: int,
    *,
    access_token_seconds: int = 3600,
    **settings: Any,
) -> Iterator[tuple[Site, Sandbox]]:
    """A site with so many due accounts in a new database, and the sandbox that granted them."""
    folder.mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(folder, access_token_seconds)
    site = Site(folder / "site", database, broker, sandbox.url, **settings)
    try:
        site.open()
        site.do("command", "migrate", "--verbosity=0")
        sandbox.grants(accounts, folder / "grants.json")
        assert site.do("seed", str(folder / "grants.json")) == accounts
        yield site, sandbox
    finally:
        sandbox.stop()
        site.close()


def machine() -> str:
    """Where the figures come from."""
    names = ("Django", "celery", "psycopg", "PyMySQL", "redis")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def tell(text: str) -> None:
    print(text, flush=True)


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    heads = list(rows[0])
    tell(f"| {' | '.join(heads)} |")
    tell(f"|{' --- |' * len(heads)}")
    for row in rows:
        tell(f"| {' | '.join(str(row[head]) for head in heads)} |")
