"""A mark for each service, drawn by us: its letters in a shape. No one's artwork."""

from typing import Final, NamedTuple

from connected_accounts.database.functions import digest

SHAPES: Final = ("circle", "square", "hexagon", "shield", "drop", "octagon")


class Mark(NamedTuple):
    """``letters``: one or two. ``shape`` is one of SHAPES, the same for an alias at all times."""

    alias: str
    letters: str
    shape: str


def mark_of(alias: str, name: str) -> Mark:
    """The capitals of a name, else its first two letters."""
    capitals = "".join(letter for letter in name if letter.isupper())
    letters = capitals[:2] if len(capitals) > 1 else name.strip()[:2]
    return Mark(alias, letters or "?", SHAPES[int(digest(alias)[:8], 16) % len(SHAPES)])
