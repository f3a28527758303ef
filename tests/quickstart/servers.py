"""The servers that the page takes for granted: providers, as the sandbox, and Redis."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from example_project.processes import Family
from example_project.stack import HOST, READY_WITHIN

# Where things are on this machine, and nothing else. The page's own settings stay as they are;
# Django reads these where the environment says so.
ELSEWHERE = '''"""The settings of the page; ports are others, and GitHub is on this machine."""

from yoursite.settings import *

CONNECTED_ACCOUNTS["REDIRECT_BASE_URL"] = {site!r}
gitlab = CONNECTED_ACCOUNTS["PROVIDERS"]["gitlab"]["OPTIONS"]
gitlab.update((name, url.replace(":9100/", ":{gitlab}/")) for name, url in gitlab.items())
if "github" in CONNECTED_ACCOUNTS["PROVIDERS"]:
    CONNECTED_ACCOUNTS["PROVIDERS"]["github"]["OPTIONS"] = {{
        "authorization_endpoint": "{sandbox}/github/login/oauth/authorize",
        "token_endpoint": "{sandbox}/github/login/oauth/access_token",
        "userinfo_endpoint": "{sandbox}/github/api/user",
        "api_base_url": "{sandbox}/github/api",
        "revocation_endpoint": "",
    }}
'''


def free_port() -> int:
    with closing(socket.create_server((HOST, 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def sandbox(folder: Path, environment: dict[str, str], site: str) -> Iterator[str]:
    """The address of the providers, in a process of their own; ``site`` is registered there."""
    family = Family(folder / "logs", environment)
    try:
        child = family.start(
            "sandbox",
            "example_project.sandbox",
            "--port=0",
            f"--database={folder / 'sandbox.sqlite3'}",
            f"--redirect-base={site}",
        )
        yield child.wait_for_line("sandbox ready on ", READY_WITHIN)
    finally:
        family.stop()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The address of a Redis of our own; where only the service is there, a database of its."""
    program = shutil.which("redis-server")
    if program is None:
        yield f"redis://{HOST}:6379/9"
        return
    port = free_port()
    command = [program, "--port", str(port), "--bind", HOST, "--save", "", "--dir", str(folder)]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "redis.log").open("wb"))
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(server.wait, 20)
        stack.callback(server.terminate)
        ends = time.monotonic() + READY_WITHIN
        while socket.socket().connect_ex((HOST, port)):
            assert server.poll() is None, f"{program} ended"
            assert time.monotonic() < ends, f"{program} did not start"
            time.sleep(0.05)
        yield f"redis://{HOST}:{port}/0"
