"""Time limits, signals and ends of greenlets amid the work: they wait until what a provider has
answered is stored, for a refresh token that was rotated exists nowhere else."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, TypeVar

from django.db import Error, connection

# SIGUSR1 is Celery's soft time limit, SIGALRM that of RQ, SIGABRT gunicorn's.
_NAMES: Final = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGABRT", "SIGALRM", "SIGUSR1")
ENDING: Final = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
T = TypeVar("T")


@contextmanager
def signals_held() -> Iterator[Callable[[], bool]]:
    """Hold back the signals that end work, and deliver each once behind the block; yields a
    function that says whether one came.

    Only those for which Python code has set a handler: of another's, in C, Python does not know,
    and could not set it back. Nothing in a thread or greenlet, which signals do not reach.
    """
    came: dict[int, None] = {}
    held = {}

    def note(number: int, frame: FrameType | None) -> None:
        came[number] = None

    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not signal.default_int_handler:
                held[number] = signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def to_the_end(
    work: Callable[[], T],
    when_interrupted: Callable[[], object] = lambda: None,
    *,
    faults: int = 0,
) -> T:
    """Run ``work``, and again whenever anything but an Exception is raised into it; raise that when
    it is done. ``work`` goes on where it was, or does no harm done twice.

    An Exception is raised at once, but for so many ``faults``: one of the code's own would be
    there again and again. A statement may have been cut off, so it goes on with a new connection.
    """
    inside = connection.in_atomic_block
    raised: BaseException | None = None
    while True:
        try:
            if raised is not None:
                if not inside:
                    _leave_connection()
                when_interrupted()
            result = work()
        except Exception as error:
            if not faults:
                raise
            faults -= 1
            raised = raised or error
        except BaseException as error:
            raised = error.with_traceback(None)  # its frames may hold tokens
        else:
            break
    if raised is not None:
        raise raised
    return result


def undone_if_interrupted(work: Callable[[], T], undo: Callable[[], object]) -> T:
    """Run ``work``, and ``undo`` behind it where anything but an Exception is raised into it."""
    inside = connection.in_atomic_block
    try:
        return work()
    except Exception:
        raise
    except BaseException:
        if not inside:
            _leave_connection()
        with suppress(Error):
            to_the_end(undo)
        raise


def _leave_connection() -> None:
    """Let the next statement open a new connection. Where the beginning or the end of a transaction
    was cut off, Django would write on inside it, and nothing of that would ever be committed."""
    connection.in_atomic_block = connection.closed_in_transaction = False
    with suppress(Error):
        connection.close()
