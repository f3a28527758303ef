"""An MCP server of the tests, and a person who connects it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.mcp.guarded import Guarded, serve_guarded
from tests.mcp.person import Person

BACKEND = "connected_accounts.providers.mcp.MCP"


@pytest.fixture(autouse=True)
def _nothing_kept(nothing_discovered: None) -> None:
    pass


@pytest.fixture
def start_guarded() -> Iterator[Callable[[], Guarded]]:
    running = []

    def start() -> Guarded:
        guarded, httpd = serve_guarded()
        running.append(httpd)
        return guarded

    yield start
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture
def guarded(start_guarded: Callable[[], Guarded]) -> Guarded:
    return start_guarded()


@pytest.fixture
def configure(settings: Any, guarded: Guarded) -> Callable[..., None]:
    """Settings with the alias ``mcp``, which lists the server of the test and ``others``."""

    def change(*others: str, base: str | None = None, **options: Any) -> None:
        entry = options.pop("entry", {})
        options = {"servers": [guarded.url, *others], **options}
        site = {"REDIRECT_BASE_URL": base or "http://testserver"}
        settings.CONNECTED_ACCOUNTS = site | {
            "PROVIDERS": {"mcp": {"BACKEND": BACKEND, "OPTIONS": options, **entry}}
        }

    change()
    return change


@pytest.fixture
def person(db: None, ada: Any, guarded: Guarded, configure: Any) -> Person:
    return Person(ada, "mcp", decide=guarded.allow)
