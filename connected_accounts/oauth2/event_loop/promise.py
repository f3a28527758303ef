"""A result to come, for very many requests at once."""

import threading
from collections.abc import Callable
from typing import Any, Final

_TURN: Final = threading.Lock()


class Promise:
    """The result that a request will have; ``tell`` is called with this once it is there.

    What a loop needs of ``concurrent.futures.Future``, by the same names. One of those is twelve
    objects, which the garbage collector walks for each of a hundred requests, again and again.
    """

    __slots__ = ("_free", "_result", "_tell")

    def __init__(self, tell: "Callable[[Promise], None]") -> None:
        self._tell, self._free, self._result = tell, True, None

    def cancel(self) -> bool:
        """Whether it had not begun, and will not now."""
        with _TURN:
            free, self._free = self._free, False
        return free

    set_running_or_notify_cancel = cancel  # whoever comes first has it

    def set_result(self, result: Any) -> None:
        self._free, self._result = False, result
        self._tell(self)

    def done(self) -> bool:
        return self._result is not None

    def result(self) -> Any:
        return self._result
