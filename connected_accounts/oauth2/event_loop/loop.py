"""The loop itself: one thread, which sends on every line, and reads what arrives on any.

Lines are opened in other threads, as nothing hurries the look-up of a name, by the same connections
as everywhere and with all that they check. Must not know what is asked or why.
"""

import socket
import ssl
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final, Self

from connected_accounts import conf
from connected_accounts.exceptions import ProviderError, ProviderUnavailable, UnexpectedResponse
from connected_accounts.oauth2 import transport, wire
from connected_accounts.oauth2.event_loop.exchange import Exchange
from connected_accounts.oauth2.event_loop.promise import Promise
from connected_accounts.oauth2.event_loop.response import Response, TooLarge
from connected_accounts.oauth2.transport import MAX_BODY, Answer

MAX_PART: Final = 64 * 1024  # bytes that are read at once
LOOK: Final = 0.05  # seconds between looks for what is late
MAX_OPENING: Final = 64  # lines that are being opened at once, each by a thread
MAX_KEPT: Final = 128  # lines open at once, unless more requests may be under way
NOTHING: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)  # at the moment


def is_possible() -> bool:
    """Whether threads and sockets are the system's own. Under gevent and eventlet a thread is a
    greenlet, and so cheap that there is nothing to gain."""
    for package, asked, names in (
        ("gevent.monkey", "is_module_patched", ("threading", "socket")),
        ("eventlet.patcher", "is_monkey_patched", ("thread", "socket")),
    ):
        if package in sys.modules and any(map(getattr(sys.modules[package], asked), names)):
            return False
    return True


@dataclass(eq=False, slots=True)
class _Line:
    """An open connection, of which the selector tells when there is something to read."""

    connection: Any
    key: tuple[str, bool]
    job: "_Job | None" = None
    idle_since: float = 0.0
    events: int = EVENT_READ

    @property
    def sock(self) -> Any:
        return self.connection.sock


@dataclass(eq=False, slots=True)
class _Job:
    exchange: Exchange
    future: "Future[Any] | Promise"
    ends_at: float = 0.0
    line: _Line | None = None
    unsent: bytes = field(default=b"", repr=False)
    sent: bool = False  # the provider may have acted
    heard_at: float = 0.0
    response: Response = field(default_factory=lambda: Response(MAX_BODY))


class EventLoop:
    """Has up to ``width`` requests under way at once, each under ``HTTP_DEADLINE`` as a whole and
    ``HTTP_TIMEOUT`` between two reads. Closed as a context manager once all are answered."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._threads = ThreadPoolExecutor(min(width, MAX_OPENING), "connected-accounts-connect")
        self._waiting: deque[_Job] = deque()
        self._opened: deque[tuple[_Job, Any]] = deque()
        self._under_way: set[_Job] = set()
        self._kept: deque[_Line] = deque()  # the one that was used last is the last
        self._looked_at = 0.0
        self._closing = self._signalled = self._over = False
        self._selector = DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="connected-accounts-io", daemon=True)

    def __enter__(self) -> Self:
        for end in (self._bell, self._ear):
            end.setblocking(False)
        self._selector.register(self._ear, EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing = True
        self.wake()
        self._thread.join()
        self._threads.shutdown()
        for _, found in self._opened:  # after their time was up
            if not isinstance(found, Exception):
                found.close()

    def submit(self, future: "Future[Any] | Promise", exchange: Exchange) -> None:
        """Begin after ``wake``, as soon as there is room; until then the future may be cancelled.
        Its result is the exchange."""
        self._waiting.append(_Job(exchange, future))

    def wake(self) -> None:
        """Let it see what was submitted."""
        if self._over:  # it ended by a fault of its own
            self._refuse_all()
        elif not self._signalled:
            self._signalled = True
            with suppress(OSError):
                self._bell.send(b"\0")

    def _run(self) -> None:
        try:
            while self._under_way or self._waiting or not self._closing:
                for key, events in self._selector.select(LOOK):
                    if key.data is None:
                        self._listen()
                    else:
                        self._serve(key.data, events)
                while self._opened:
                    self._take_line(*self._opened.popleft())
                while self._waiting and len(self._under_way) < self._width:
                    self._begin(self._waiting.popleft())
                self._look()
        finally:
            self._over = True
            for job in list(self._under_way):
                self._fail(job, OSError())
            self._refuse_all()
            for line in list(self._kept):
                self._close(line)
            self._selector.close()
            self._bell.close()
            self._ear.close()

    def _listen(self) -> None:
        with suppress(*NOTHING):
            self._ear.recv(MAX_PART)
        self._signalled = False

    def _begin(self, job: _Job) -> None:
        exchange, now = job.exchange, time.monotonic()
        if not job.future.set_running_or_notify_cancel():
            return
        if now > exchange.begin_before:
            job.future.set_result(exchange)
            return
        exchange.begun_at, job.ends_at = now, now + float(conf.get("HTTP_DEADLINE"))
        self._under_way.add(job)
        try:
            line = self._kept_line((exchange.origin, exchange.public))
            if line is not None:
                self._send(job, line)
            else:
                self._open_in_thread(job)
        except Exception as error:
            self._fail(job, error)

    def _kept_line(self, key: tuple[str, bool]) -> _Line | None:
        """One that another request has left behind, and that is still open."""
        for line in reversed(self._kept):
            if line.key == key:
                self._kept.remove(line)
                if _is_fit(line):
                    return line
                self._close(line)
                return self._kept_line(key)
        return None

    def _open_in_thread(self, job: _Job) -> None:
        try:
            self._threads.submit(self._open, job)
        except RuntimeError:
            raise ProviderUnavailable(wire.NO_THREAD, sent=False) from None

    def _open(self, job: _Job) -> None:
        """In a thread of its own: open a line for a job."""
        exchange, left = job.exchange, job.ends_at - time.monotonic()
        found: Any
        try:
            found = transport.connect(exchange.origin, public=exchange.public, seconds=left)
        except Exception as error:
            found = error
        self._opened.append((job, found))
        self.wake()

    def _take_line(self, job: _Job, found: Any) -> None:
        if isinstance(found, Exception):
            self._fail(job, found)
            return
        line = _Line(found, (job.exchange.origin, job.exchange.public))
        try:
            if job not in self._under_way or time.monotonic() >= job.ends_at:
                raise TimeoutError
            line.sock.setblocking(False)
            self._selector.register(line.sock, EVENT_READ, line)
            self._send(job, line)
        except Exception as error:
            if job.line is None:
                self._close(line)
            self._fail(job, error)

    def _send(self, job: _Job, line: _Line) -> None:
        job.line, line.job = line, job
        job.unsent, job.sent, job.heard_at = job.exchange.data, True, time.monotonic()
        self._write(job, line)

    def _write(self, job: _Job, line: _Line) -> None:
        with suppress(*NOTHING):
            job.unsent = job.unsent[line.sock.send(job.unsent) :]
        events = EVENT_READ | EVENT_WRITE if job.unsent else EVENT_READ
        if events != line.events:
            line.events = events
            self._selector.modify(line.sock, events, line)

    def _serve(self, line: _Line, events: int) -> None:
        job = line.job
        if job is None:
            if line in self._kept and not _is_fit(line):
                self._kept.remove(line)
                self._close(line)
            return
        try:
            if job.unsent:
                self._write(job, line)
            if events & EVENT_READ:
                self._read(job, line)
        except Exception as error:
            self._fail(job, error)

    def _read(self, job: _Job, line: _Line) -> None:
        arrived = MAX_PART
        while arrived == MAX_PART or getattr(line.sock, "pending", int)():
            try:
                part = line.sock.recv(MAX_PART)
            except NOTHING:
                return
            arrived, job.heard_at = len(part), time.monotonic()
            if job.response.feed(part) if part else job.response.end():
                found = job.response
                self._finish(job, Answer(found.status, found.headers, found.body))
                return

    def _fail(self, job: _Job, error: Exception) -> None:
        if isinstance(error, TooLarge):
            error = UnexpectedResponse("too_large", status=job.response.status)
        late = time.monotonic() >= job.ends_at
        meant = transport.failure(error, expired=late, sent=job.sent)
        self._finish(job, meant.with_traceback(None))  # whose frames hold the request

    def _finish(self, job: _Job, outcome: Answer | ProviderError) -> None:
        if job not in self._under_way:
            return
        self._under_way.discard(job)
        line, job.line = job.line, None
        if line is not None:
            line.job = None
            done = isinstance(outcome, Answer) and not job.unsent and job.response.may_follow
            open_lines = len(self._kept) + len(self._under_way)
            if done and open_lines < max(MAX_KEPT, self._width):
                line.idle_since = time.monotonic()
                self._kept.append(line)
            else:
                self._close(line)
        job.exchange.outcome = outcome
        job.future.set_result(job.exchange)

    def _close(self, line: _Line) -> None:
        with suppress(KeyError, ValueError, OSError):
            self._selector.unregister(line.sock)
        with suppress(OSError):
            line.connection.close()

    def _look(self) -> None:
        """Cut what is late, and close what nobody has used."""
        now = time.monotonic()
        if now - self._looked_at < LOOK:
            return
        self._looked_at, patience = now, float(conf.get("HTTP_TIMEOUT"))
        for job in list(self._under_way):
            silent = job.line is not None and now - job.heard_at > patience
            if silent or now >= job.ends_at:
                self._fail(job, TimeoutError())
        while self._kept and now - self._kept[0].idle_since > wire.MAX_IDLE:
            self._close(self._kept.popleft())

    def _refuse_all(self) -> None:
        with suppress(IndexError):
            while True:
                job = self._waiting.popleft()
                if job.future.set_running_or_notify_cancel():
                    job.exchange.begun_at = time.monotonic()
                    job.exchange.outcome = ProviderUnavailable(wire.NO_THREAD, sent=False)
                    job.future.set_result(job.exchange)


def _is_fit(line: _Line) -> bool:
    """Whether a kept line can take another request: it is open, nothing was said on it unasked, and
    it has not been idle for so long that the server may be about to close it."""
    try:
        line.sock.recv(1)
    except NOTHING:
        return time.monotonic() - line.idle_since < wire.MAX_IDLE
    except OSError:
        return False
    return False
