"""Refreshing at will and crashes, with real processes on PostgreSQL and an authorization server
that ends the whole grant when a rotated refresh token comes twice. See test_workers too."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.site import Site, running_site, wait_for

pytestmark = pytest.mark.postgres

PROCESSES = 12
REFRESH = """
from connected_accounts.exceptions import ConnectedAccountsError
try:
    refresh(account)
except ConnectedAccountsError as error:
    print(type(error).__name__, error.code)
else:
    print("refreshed")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    with running_site(folder) as running:
        yield running


def go(processes: list[Any]) -> list[str]:
    """Release all processes together; return what each printed."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert {process.returncode for process in processes} == {0}
    return printed


def test_processes_that_refresh_at_will_never_spend_a_token_twice(site: Site) -> None:
    assert set(go([site.start(REFRESH) for _ in range(PROCESSES)])) == {"refreshed"}
    state = site.state()
    assert (state["reuse_detected"], state["alive_grants"]) == (0, 1)


def test_a_process_killed_while_it_waits_for_the_answer_leaves_no_account_stuck(
    tmp_path: Path, folder: Path
) -> None:
    """It may cost the grant, and then with a reason."""
    with running_site(tmp_path) as site:
        kill_while_waiting(site)


def kill_while_waiting(site: Site) -> None:
    look = "SELECT status, reason, lease_holder, attempt_started_at FROM "
    look += "connected_accounts_connectedaccount"
    site.sandbox.send_signal(signal.SIGSTOP)
    try:
        process = site.start(REFRESH)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        wait_for(lambda: site.sql(look)[0][3])
        process.kill()
        process.communicate()
    finally:
        site.sandbox.send_signal(signal.SIGCONT)
    assert site.sql(look)[0][2] is not None  # the dead process's lease
    site.sql("UPDATE connected_accounts_connectedaccount SET lease_until = now()")
    [printed] = go([site.start(REFRESH)])
    status, reason, holder, _ = site.sql(look)[0]
    assert holder is None
    assert (printed, status, reason) in {
        ("refreshed", "active", ""),
        ("ReauthorizationRequired rotation_lost", "reconnect_required", "rotation_lost"),
    }
