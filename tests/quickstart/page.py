"""What docs/quickstart.md tells its reader to do, in the order in which it stands there.

The page says how it is to be read: a block whose title is a file's name goes to the end of that
file, any other block in ``sh`` is typed, ``…`` is filled in. Blocks of other kinds are to be looked
at.
"""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.md"
BLANK = "…"
_BLOCK = re.compile(
    r"""^\#\#\ (?P<heading>[^\n]+)$ | ^```(?P<language>\w+)(?:\ title="(?P<title>[^"]+)")?\n"""
    r"(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """A block of the page, under the heading of its step."""

    step: str
    language: str
    title: str
    text: str

    @property
    def file(self) -> str:
        """The file that it goes to the end of; empty: none."""
        return self.title if "." in self.title else ""

    @property
    def is_typed(self) -> bool:
        return self.language == "sh" and not self.file

    @property
    def lines(self) -> list[str]:
        """Without those that are empty."""
        return [line for line in self.text.splitlines() if line.strip()]


def read(text: str | None = None) -> list[Block]:
    """Every block of the page, or of ``text``, with the heading it stands under."""
    found = []
    step = ""
    for match in _BLOCK.finditer(PAGE.read_text("utf-8") if text is None else text):
        if match["heading"]:
            step = match["heading"]
        else:
            block = Block(step, match["language"], match["title"] or "", match["text"])
            found.append(block)
    assert found, f"{PAGE.name} has no blocks"
    return found
