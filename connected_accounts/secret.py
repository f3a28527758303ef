"""Text that must not be seen: Secret (in memory), SecretFields (several, by name), Sealed (as
stored, encrypted), and what the frames of an exception hold."""

from collections.abc import Callable, Iterator, KeysView, Mapping
from functools import wraps
from hmac import compare_digest
from traceback import clear_frames
from typing import Any, ParamSpec, Self, TypeVar

MASK = "***"
P = ParamSpec("P")
R = TypeVar("R")


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


class SecretFields:
    """Values by name that must not be seen, such as a token answer or the parameters of a callback.

    Read by ``[]``, ``get`` and ``in``, and copied by ``dict()``. No Mapping on purpose: whatever
    writes down local variables looks into those, and writes ``***`` for this.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __bool__(self) -> bool:
        return bool(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretFields) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {MASK}>"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), ({},)

    def keys(self) -> KeysView[str]:
        return self._fields.keys()

    def get(self, name: str, default: Any = None) -> Any:
        return self._fields.get(name, default)

    def getlist(self, name: str) -> list[Any]:
        """All values of a name, where it may stand several times, as in a query."""
        if hasattr(self._fields, "getlist"):
            values: list[Any] = self._fields.getlist(name)
            return values
        return [self._fields[name]] if name in self._fields else []


def revealed(text: str) -> str:
    """The text of a Secret; of any other text, itself."""
    return text.reveal() if isinstance(text, Secret) else text


def hidden(fields: "Mapping[str, Any] | SecretFields") -> SecretFields:
    """The same values, where nobody sees them."""
    return fields if isinstance(fields, SecretFields) else SecretFields(fields)


def forget_locals(error: BaseException) -> None:
    """Empty the frames that an exception came through, and those of what led to it.

    Error pages, mails and trackers print local variables, and know by name at most which of them
    are secret. Files, lines and messages stay. Frames that still run are not touched.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        clear_frames(one.__traceback__)
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]


def clears_traceback_locals(function: Callable[P, R]) -> Callable[P, R]:
    """Let no exception leave the function with local variables in its frames."""

    @wraps(function)
    def forgetting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            args, kwargs = (), {}  # type: ignore[assignment]  # these are locals too
            forget_locals(error)
            raise

    return forgetting
