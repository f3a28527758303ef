"""The demo as people and machines start it: ``manage.py demo`` and ``manage.py demo --check``."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
# What the tests' own settings, or the machine's, must not bring into the demo.
FOREIGN = (
    "DJANGO_SETTINGS_MODULE",
    "BADGE_CONNECT_",
    "BADGR_",
    "BIME_",
    "BITBADGES_",
    "BITS_",
    "MCP_",
    "REDIRECT_BASE_URL",
    "ALLOWED_HOSTS",
)
CHECK_WITHIN = 300
STOP_WITHIN = 30


def demo(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", *arguments],
        cwd=ROOT,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(question: Callable[[], Any], seconds: float) -> Any:
    """Ask until the answer is true; the last answer is returned either way."""
    end = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


def stat(pid: str) -> tuple[str, int]:
    """State and parent of a process; ("", 0) if there is none."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return words[0], int(words[1])


def descendants(pid: int) -> list[int]:
    children = [int(p.name) for p in Path("/proc").glob("[0-9]*") if stat(p.name)[1] == pid]
    return [*children, *(each for child in children for each in descendants(child))]


def are_gone(pids: list[int]) -> bool:
    return all(stat(str(pid))[0] in ("", "Z", "X") for pid in pids)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


REVOKING = ("Badgr", "BitBadges", "OpenID", "MCP", "Badge Connect")
REMOVED_BY_HAND = ("Bits", "Bime", "Bime by token")


def test_the_check_connects_renews_uses_and_disconnects_every_provider() -> None:
    with demo("--check") as process:
        output, _ = process.communicate(timeout=CHECK_WITHIN)
    assert process.returncode == 0, output
    for service in REVOKING + REMOVED_BY_HAND:
        assert f"  {service}: connected" in output
        assert f"  {service}: called its API with the new token: 200" in output
        assert f"  {service}: disconnected" in output
        renewed = f"  {service}: token renewed by beat and worker" in output
        assert renewed is (service != "Bime by token")
    assert "  MCP: saw where the server leads, and went on" in output
    for service in REVOKING:
        assert f"{service}: its grant is dead at the sandbox: alive 0, revoked 1" in output
    for service in REMOVED_BY_HAND:
        assert f"{service}: the site says that it must be removed there" in output
    for service in ("Bits", "Badgr"):
        assert f"the site's own {service}: connected" in output
        assert f"the site's own {service}: token renewed by beat and worker" in output
        assert f"the site's own {service}: called its API with the new token: 200" in output
        assert f"the site's own {service}: disconnected in the admin" in output
    assert "All of it works" in output


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["Ctrl-C", "asked to end", "killed outright"],
)
def test_nothing_is_left_running_when_the_demo_ends(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "CELERY_BROKER_URL": "",
        "BROKER_FOLDER": f"{tmp_path}/broker",
    }
    arguments = [f"--folder={tmp_path}/logs", "--port=0", "--sandbox-port=0"]
    with demo(*arguments, **environment) as process:
        try:
            assert process.stdout is not None
            output = ""
            for line in process.stdout:
                output += line
                if "stops everything" in line:
                    break
            urls = re.findall(r"(?:Site|Sandbox) +(http://127\.0\.0\.1:\d+)", output)
            assert len(urls) == 2, output
            assert answers(f"{urls[0]}/accounts/login/")
            assert answers(f"{urls[1]}/sandbox/state")
            children = descendants(process.pid)
            assert len(children) >= 4, output
            process.send_signal(number)
            assert process.wait(STOP_WITHIN) == status
            assert wait_for(lambda: are_gone(children), STOP_WITHIN)
            assert not any(answers(url) for url in urls)
        finally:
            process.kill()
