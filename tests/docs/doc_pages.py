"""Reading the documentation's pages, their tables and examples, and the package's source."""

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import connected_accounts

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(connected_accounts.__file__).parent
DOCS = ROOT / "docs"
FOR_AUDITORS = sorted((DOCS / "auditors").glob("*.md"))  # read in the repository
PAGES = sorted({*DOCS.rglob("*.md")} - {*FOR_AUDITORS})  # of the site
TEXTS = [ROOT / "README.md", *PAGES, *FOR_AUDITORS]
FOLLOWED = DOCS / "quickstart.md"  # as a whole, with a project of its own
BADGE_CLIENTS = DOCS / "how-to/badge-clients.md"  # run by tests/sandbox, with the clients
READ_ON_GITHUB = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")]
IDS = [str(path.relative_to(ROOT)) for path in TEXTS]
UNITS = {
    "": 1.0,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "years": 365 * 86400.0,
    "KiB": 1024.0,
    "MiB": 1024.0 * 1024,
    "%": 0.01,
}
Row = dict[str, str]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"\n]*)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$",
    flags=re.DOTALL | re.MULTILINE,
)
NOT_RUN = "Not run by the tests: "


@dataclass(frozen=True)
class Block:
    """One fenced block. ``title`` is what stands above it on the page: the file that it is, or why
    no test runs it."""

    path: Path
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return not self.title.startswith(NOT_RUN)


def blocks(path: Path, *languages: str) -> list[Block]:
    """A page's blocks, in order; those of ``languages`` alone if any are named."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        if not languages or match["language"] in languages:
            line = text.count("\n", 0, match.start("text")) + 1
            words = textwrap.dedent(match["text"]) if match["indent"] else match["text"]
            found.append(Block(path, line, match["language"], match["title"] or "", words))
    return found


def without_code(text: str) -> str:
    return FENCE.sub("", text)


def section(name: str, heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    parts = re.split(r"^#+ (.+)$", without_code(page(name)), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert heading in found, f"{name} has no heading {heading!r}"
    return found[heading]


def tables(text: str) -> list[list[Row]]:
    """The tables in a text, each row a dict from column heading to cell."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        heads, _, *rows = lines
        found.append([dict(zip(heads, row, strict=True)) for row in rows])
    return found


def table(name: str, heading: str, number: int = 0) -> list[Row]:
    return tables(section(name, heading))[number]


def names(cell: str) -> list[str]:
    """What stands between backticks in a cell."""
    return re.findall(r"`([^`]*)`", cell)


def column(rows: list[Row], head: str) -> list[str]:
    return list(itertools.chain.from_iterable(names(row[head]) for row in rows))


def value(cell: str) -> Any:
    return ast.literal_eval(names(cell)[0])


def quantity(text: str) -> float:
    found = re.fullmatch(r"([\d.]+) ?(\D*)", text)
    assert found is not None, f"{text!r} is no quantity"
    return float(found[1]) * UNITS[found[2]]


def code_blocks(path: Path, language: str) -> list[str]:
    return [block.text for block in blocks(path, language)]


def sources(under: str = "") -> Iterator[tuple[Path, str]]:
    for path in sorted((PACKAGE / under).rglob("*.py")):
        if "migrations" not in path.parts and "testing" not in path.parts:
            yield path, path.read_text(encoding="utf-8")
