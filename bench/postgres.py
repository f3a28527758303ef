"""A PostgreSQL to measure on: DATABASE_URL's, this machine's, or one of our own for the time.

The measurements get a new database, which is dropped behind them.
"""

import glob
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

HERE = "postgres://postgres@127.0.0.1:5432/postgres"


@contextmanager
def database() -> Iterator[str]:
    """The URL of an empty database, wherever a server can be had."""
    for url in filter(None, (os.environ.get("DATABASE_URL"), HERE)):
        if can_connect(url):
            with new_database(url) as fresh:
                yield fresh
            return
    with private_server() as url, new_database(url) as fresh:
        yield fresh


def can_connect(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error:
        return False
    return True


@contextmanager
def new_database(url: str) -> Iterator[str]:
    name = f"bench_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def program(name: str) -> str:
    """A program of PostgreSQL's, from the path or where Debian keeps it."""
    found = shutil.which(name)
    kept = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not (found or kept):
        raise SystemExit(f"No PostgreSQL answers, and {name} was not found: install PostgreSQL.")
    return found or kept[-1]


@contextmanager
def private_server(*settings: str) -> Iterator[str]:
    """A server with PostgreSQL's own defaults but for ``settings``, each ``name=value``, in a
    scratch folder, on a free port."""
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # PostgreSQL refuses to run as root.
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(folder, "postgres")
    data, log = folder / "data", folder / "log"
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    options += "".join(f" -c {shlex.quote(setting)}" for setting in settings)
    control = [*other, program("pg_ctl"), "-D", str(data), "-w"]
    run([*other, program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"])
    try:
        run([*control, "-l", str(log), "-o", options, "start"])
        yield f"postgres://postgres@127.0.0.1:{port}/postgres"
    finally:
        with suppress(subprocess.CalledProcessError):
            run([*control, "-m", "fast", "stop"])
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)
