"""Sandbox, MCP server, site, worker and beat, together: what ``manage.py demo`` starts."""

import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from example_project.processes import Family

HOST: Final = "127.0.0.1"
READY_WITHIN: Final = 90.0  # seconds; a small, busy machine needs some


@dataclass(frozen=True)
class Plan:
    """Where the stack is to live. A port of 0, or one that is taken: any that is free."""

    folder: Path  # for what the stack writes
    access_token_seconds: int
    site_port: int = 0
    sandbox_port: int = 0
    mcp_port: int = 0


@dataclass(frozen=True)
class Stack:
    """Where the stack lives."""

    site: str
    sandbox: str
    mcp: str


def start(family: Family, plan: Plan) -> Stack:
    """Start all five, and return when each is ready. Raises ChildFailed."""
    with closing(listen(plan.site_port)) as listening:
        port = listening.getsockname()[1]
        sandbox = start_sandbox(family, plan, port)
        family.environment["SANDBOX_URL"] = sandbox
        mcp = start_mcp_server(family, plan, sandbox)
        family.environment["MCP_SERVERS"] = mcp
        site = family.start(
            "site",
            "example_project.serve",
            f"--fd={listening.fileno()}",
            pass_fds=[listening.fileno()],
        )
    # The others need the tables that the site makes.
    address = site.wait_for_line("site ready on ", READY_WITHIN)
    start_celery(family, plan, f"demo-{port}@localhost")
    return Stack(address, sandbox, mcp)


def start_sandbox(family: Family, plan: Plan, site_port: int) -> str:
    with closing(listen(plan.sandbox_port)) as probe:
        port = probe.getsockname()[1]
    sandbox = family.start(
        "sandbox",
        "example_project.sandbox",
        f"--port={port}",
        f"--database={plan.folder / 'sandbox.sqlite3'}",
        f"--redirect-base=http://{HOST}:{site_port}",
        f"--redirect-base=http://localhost:{site_port}",
        f"--access-token-seconds={plan.access_token_seconds}",
    )
    return sandbox.wait_for_line("sandbox ready on ", READY_WITHIN)


def start_mcp_server(family: Family, plan: Plan, sandbox: str) -> str:
    with closing(listen(plan.mcp_port)) as probe:
        port = probe.getsockname()[1]
    server = family.start(
        "mcp",
        "example_project.sandbox.mcp_server",
        f"--port={port}",
        f"--guard={sandbox}/mcp",
        f"--database={plan.folder / 'sandbox.sqlite3'}",
    )
    return server.wait_for_line("mcp ready on ", READY_WITHIN)


def start_celery(family: Family, plan: Plan, name: str) -> None:
    app = ("celery", "-A", "example_project.celery")
    worker = family.start(
        "worker",
        *app,
        "worker",
        "--loglevel=INFO",
        "--pool=threads",  # one process to start and stop
        "--concurrency=4",
        f"--hostname={name}",
        # Nothing to say to other workers.
        "--without-gossip",
        "--without-heartbeat",
        "--without-mingle",
    )
    schedule = plan.folder / "celerybeat-schedule"
    beat = family.start("beat", *app, "beat", "--loglevel=INFO", f"--schedule={schedule}")
    worker.wait_for_line(f"{name} ready.", READY_WITHIN)
    beat.wait_for_line("beat: Starting", READY_WITHIN)


def listen(port: int) -> socket.socket:
    """A socket that listens on ``port``, or on any free one if that is taken."""
    try:
        return bound(port)
    except OSError:
        return bound(0)


def bound(port: int) -> socket.socket:
    listening = socket.socket()
    try:
        # A port that only has closing connections of an earlier run is free.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(64)
    except OSError:
        listening.close()
        raise
    return listening
