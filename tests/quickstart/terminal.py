"""A terminal that somebody types into: bash, in a folder, with an environment of its own."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pexpect

PROMPT = "ready-for-the-next-line> "
PATIENCE = 240.0  # seconds; pip may download
PLAIN = {
    "PS1": PROMPT,
    "TERM": "dumb",
    "NO_COLOR": "1",
    "DJANGO_COLORS": "nocolor",
    "VIRTUAL_ENV_DISABLE_PROMPT": "1",
}


class CommandFailed(Exception):
    """What was typed, and what the terminal showed then."""


class Terminal:
    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._running = False
        self._shell = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile"],
            cwd=str(folder),
            env={**environment, **PLAIN},
            encoding="utf-8",
            echo=False,
            timeout=PATIENCE,
            dimensions=(50, 1000),
        )
        self._shell.expect_exact(PROMPT)

    def type(self, line: str, answers: Sequence[tuple[str, str]] = ()) -> str:
        """What the command shows. ``answers``: what is typed when it asks, in this order.

        Raises CommandFailed where it ends with an error.
        """
        self.interrupt()
        self._shell.sendline(line)
        for question, answer in answers:
            self._wait_for(line, question)
            self._shell.sendline(answer)
        shown = self._wait_for(line, PROMPT)
        self._shell.sendline("echo status $?")
        if self._wait_for(line, PROMPT).split()[-1:] != ["0"]:
            raise CommandFailed(f"{line}\n{shown}")
        return shown.replace("\r\n", "\n").strip()

    def start(self, line: str, ready: str) -> None:
        """Type what goes on running, and wait until it shows ``ready``."""
        self.interrupt()
        self._shell.sendline(line)
        self._running = True
        self._wait_for(line, ready)

    def _wait_for(self, line: str, text: str, seconds: float = PATIENCE) -> str:
        try:
            self._shell.expect_exact(text, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            raise CommandFailed(f"{line}\n{self._shell.before}") from None
        return str(self._shell.before)

    def shown(self) -> str:
        """What has been shown since, by what goes on running."""
        try:
            while True:
                self._shell.expect(r"[^\n]*\n", timeout=0.1)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return str(self._shell.before)

    def wait_for(self, text: str, seconds: float) -> None:
        """Until what goes on running shows ``text``. Raises CommandFailed."""
        self._wait_for(f"waiting for {text!r}", text, seconds)

    def interrupt(self) -> None:
        """End what runs, as Ctrl-C does, or find that it has ended."""
        if self._running:
            self._running = False
            self._shell.sendintr()
            # The prompt may have been shown before: what is typed behind it is not.
            self._shell.sendline("echo ended=$((40 + 2))")
            self._wait_for("Ctrl-C", "ended=42")
            self._wait_for("Ctrl-C", PROMPT)

    def close(self) -> None:
        """End what runs, and the shell."""
        with suppress(CommandFailed):
            self.interrupt()
        self._shell.close(force=True)
