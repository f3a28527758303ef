"""Child processes: started with a log file each, watched, and stopped together."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE: Final = 10.0  # seconds from SIGTERM to SIGKILL
POLL: Final = 0.1


class ChildFailed(Exception):
    """A child process ended, or did not get ready."""


class Child:
    """A Python module in a process of its own, which ends when we do (see attended.py)."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "example_project.attended", *command],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is for us; we stop the children, in order.
                start_new_session=True,
                pass_fds=pass_fds,
            )

    def check(self) -> None:
        """Raise ChildFailed if the process has ended."""
        status = self.process.poll()
        if status is not None:
            raise ChildFailed(f"{self.name} ended with status {status}")

    def wait_for_line(self, text: str, seconds: float) -> str:
        """The rest of the first line of the log that has ``text`` in it, behind that text."""
        ends = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            for line in self.log.read_text(errors="replace").splitlines(keepends=True):
                if text in line and line.endswith("\n"):
                    return line.partition(text)[2].strip()
            if ended:
                self.check()
            if time.monotonic() > ends:
                raise ChildFailed(f"{self.name} did not get ready within {seconds:.0f} s")
            time.sleep(POLL)

    def tail(self, lines: int = 25) -> str:
        """The end of the log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


class Family:
    """The children, in the order in which they were started."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = {
            **environment,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "PYTHONUNBUFFERED": "1",
        }
        self.children: list[Child] = []

    def start(self, name: str, *command: str, pass_fds: Sequence[int] = ()) -> Child:
        child = Child(
            name,
            command,
            environment=self.environment,
            folder=self.folder,
            pass_fds=pass_fds,
        )
        self.children.append(child)
        return child

    def check(self) -> None:
        """Raise ChildFailed if any of them has ended."""
        for child in self.children:
            child.check()

    def stop(self) -> None:
        """Ask all to end, the youngest first; end those that do not. Returns when all are gone."""
        running = self.children[::-1]
        for child in running:
            child.process.terminate()
        ends = time.monotonic() + PATIENCE
        for child in running:
            try:
                child.process.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()
        self.children.clear()

    def logs(self) -> str:
        """The end of the logs, for a report of a failure: of those that have ended, else of all."""
        ended = [child for child in self.children if child.process.poll() is not None]
        told = ended or self.children
        return "\n".join(f"--- {child.name}\n{child.tail()}" for child in told)
