"""Text that must not be seen: Secret (in memory) and Sealed (as stored, encrypted)."""

from hmac import compare_digest
from typing import Any, Self

MASK = "***"


class Secret(str):
    """A text whose ``str``, ``repr``, ``format``, JSON and iteration show ``***``.

    It is a ``str`` whose own characters are the mask, so that whatever prints, serializes or copies
    it by accident gets the mask. ``reveal()`` is the only way to the text. Copies are the same
    object; a pickled Secret comes back empty, and revealing that raises ValueError.
    """

    __slots__ = ("_text",)
    _text: str | None

    def __new__(cls, text: str | None) -> Self:
        self = super().__new__(cls, MASK)
        self._text = text
        return self

    def reveal(self) -> str:
        """Return the hidden text. Raises ValueError for a Secret that went through pickle."""
        if self._text is None:
            raise ValueError("This secret was copied by pickle, which leaves its text behind.")
        return self._text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {MASK}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (None,)

    # By the hidden text: the visible characters are the same for all. Never equal to plain text.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret) or self._text is None or other._text is None:
            return self is other
        return compare_digest(self._text.encode(), other._text.encode())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class Sealed(Secret):
    """The ciphertext of a sealed value, as a column holds it. ``reveal()`` gives the ciphertext."""

    __slots__ = ()
