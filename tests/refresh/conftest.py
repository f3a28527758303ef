import threading

import pytest


@pytest.fixture
def no_thread_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started for what a drain's event loop does not ask, nor for a refresh that
    somebody waits for."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith(("connected-accounts-drain", "connected-accounts-ask")):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
