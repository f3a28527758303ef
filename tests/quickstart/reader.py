"""Somebody who follows the page: writes its files, types its commands, fills in its blanks."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.quickstart.page import BLANK, Block
from tests.quickstart.terminal import Terminal

SITE_USER = ("ada", "ada@site.example", "correct horse 42")
ASKED = {
    "createsuperuser": (
        ("Username", SITE_USER[0]),
        ("Email address:", SITE_USER[1]),
        ("Password:", SITE_USER[2]),
        ("Password (again):", SITE_USER[2]),
    )
}
# What goes on running: how it is known, and what it shows when it is there.
RUNS_ON = {
    "runserver": "Quit the server with CONTROL-C",
    "manage.py sandbox": "until Ctrl-C. In PROVIDERS:",
    "refresh_connections --loop": "until Ctrl-C.",
    " worker ": "key=celery",
}


@dataclass
class Reader:
    """``blanks``: what stands in ``.env`` behind each name that the page leaves to be filled in.
    ``environment``: what the terminals begin with. ``behind``: what is written behind a command,
    such as another port where the page's is taken."""

    folder: Path
    environment: Mapping[str, str]
    blanks: Mapping[str, str]
    behind: Mapping[str, str]
    say: Callable[[str], None]
    terminals: dict[str, Terminal] = field(default_factory=dict)
    typed: int = 0
    written: dict[str, int] = field(default_factory=dict)  # lines, by file
    filled_in: int = 0
    last: str = ""  # what the last command showed

    def follow(self, block: Block) -> None:
        if block.file:
            self.write(block)
        elif block.is_typed:
            for line in block.lines:
                self.type(line, block.title or "terminal")

    def write(self, block: Block) -> None:
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text("utf-8") if path.exists() else ""
        text = self.fill_in(block) if block.file == ".env" else block.text
        path.write_text(f"{before}\n{text}" if before else text, encoding="utf-8")
        self.written[block.file] = self.written.get(block.file, 0) + len(block.lines)
        self.say(f"{block.file}: {len(block.lines)} lines")

    def fill_in(self, block: Block) -> str:
        lines = []
        for line in block.lines:
            name, _, value = line.partition("=")
            if value == BLANK:
                value = self.blanks[name]
                self.filled_in += 1
            lines.append(f"{name}={value}\n")
        return "".join(lines)

    def type(self, line: str, name: str) -> None:
        terminal = self.terminal(name)
        self.typed += 1
        self.say(f"{name}: {line}")
        for command, ready in RUNS_ON.items():
            if command in line:
                return terminal.start(f"{line} {self.behind.get(command, '')}".strip(), ready)
        answers = next((a for command, a in ASKED.items() if command in line), ())
        self.last = terminal.type(line, answers)
        return None

    def terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            self.terminals[name] = Terminal(name, self.folder, self.environment)
        return self.terminals[name]

    def close(self) -> None:
        for terminal in reversed(list(self.terminals.values())):
            terminal.close()


def plain_environment() -> dict[str, str]:
    """Ours, without what would lead the reader's commands to this source tree."""
    ours = ("PYTHON", "DJANGO_", "DATABASE_URL", "CELERY_", "VIRTUAL_ENV", "COV", "COVERAGE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"}
