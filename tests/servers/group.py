"""A command whose processes, and theirs, end with us."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 10  # seconds from SIGTERM to SIGKILL


def end_on_sigterm() -> None:
    """Let SIGTERM run what is to be done at the end, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def run_as_group(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> int:
    """Run it in a process group of its own, all of which is ended when the command has ended, or
    when this is interrupted. Return its exit status."""
    process = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True)
    try:
        return process.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(PATIENCE)
