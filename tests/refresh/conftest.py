import threading

import pytest


@pytest.fixture
def no_thread_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain can start no thread for what its event loop does not ask."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("connected-accounts-drain"):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
