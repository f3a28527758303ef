"""Database and broker servers of our own, each on a port and in a folder of its own, to be stopped
and started at will; and databases of our own on servers that are there."""

import glob
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

POSTGRES = os.environ.get("DATABASE_URL", "")
if not POSTGRES.startswith("postgres"):
    POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
MARIADB = os.environ.get("MARIADB_URL") or "mysql://root@127.0.0.1:3306/mysql"
RABBITMQ = os.environ.get("RABBITMQ_URL") or "amqp://guest:guest@127.0.0.1:5672//"
READY_WITHIN = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """A server process. ``stop`` is sudden: what it did not write down is gone."""

    url = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self.prepare()
        self.start()

    def prepare(self) -> None:
        pass

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ends = time.monotonic() + READY_WITHIN
        while not self.is_ready():
            assert time.monotonic() < ends, f"{type(self).__name__} did not start"
            time.sleep(0.1)

    def is_ready(self) -> bool:
        return answers(self.port)

    def stop(self) -> None:
        """SIGKILL to all of its processes, and to no others: they have a session of their own."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        ends = time.monotonic() + READY_WITHIN
        while answers(self.port):
            assert time.monotonic() < ends, f"{type(self).__name__} did not stop"
            time.sleep(0.05)

    def restart(self) -> None:
        self.stop()
        self.start()


class Redis(Server):
    """Keeps nothing over a restart: each message that waits is lost."""

    def command(self) -> Sequence[str]:
        options = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
        return (program("redis-server"), "--port", str(self.port), *options)

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"redis://127.0.0.1:{self.port}/0"


class RabbitMQ(Server):
    def prepare(self) -> None:
        self.node = f"bench-{secrets.token_hex(4)}@localhost"
        self.distribution = free_port()
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text("loopback_users = none\n")

    def command(self) -> Sequence[str]:
        found = glob.glob("/usr/lib/rabbitmq/bin/rabbitmq-server")
        return (found[0] if found else program("rabbitmq-server"),)

    def environment(self) -> dict[str, str]:
        here = str(self.folder)
        return {
            **os.environ,
            "HOME": here,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/enabled_plugins",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq",
        }

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"


class PostgreSQL(Server):
    """Killed, it recovers from its log when it starts: what was committed is there."""

    def prepare(self) -> None:
        self.as_owner: tuple[str, ...] = ()
        if os.geteuid() == 0:  # which the server refuses to run as
            self.as_owner = ("runuser", "-u", "postgres", "--")
            for parent in (self.folder, *self.folder.parents):
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
            shutil.chown(self.folder, "postgres")
        initdb = (program("initdb"), "-D", f"{self.folder}/data", "-U", "postgres", "-A", "trust")
        subprocess.run(
            (*self.as_owner, *initdb, "--no-sync"), check=True, capture_output=True, cwd=self.folder
        )

    def command(self) -> Sequence[str]:
        options = ("-h", "127.0.0.1", "-k", "", "-c", "max_connections=200")
        server = (program("postgres"), "-D", f"{self.folder}/data", "-p", str(self.port))
        return (*self.as_owner, *server, *options)

    def is_ready(self) -> bool:
        import psycopg

        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False

    def stop(self) -> None:
        # runuser gives the server a session of its own, out of the reach of killpg. Of the server's
        # processes the first one is killed; the others end when they see that it is gone.
        pid = self.folder / "data" / "postmaster.pid"
        if pid.exists():  # else it is stopped already
            os.kill(int(pid.read_text().splitlines()[0]), signal.SIGKILL)
        super().stop()
        ends = time.monotonic() + READY_WITHIN
        while time.monotonic() < ends:
            if not _lives_in(self.folder / "data"):
                pid.unlink(missing_ok=True)
                return
            time.sleep(0.05)
        raise AssertionError("a process of PostgreSQL did not end")

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"


class MariaDB(Server):
    """Killed, it recovers from its log when it starts, as PostgreSQL does."""

    def prepare(self) -> None:
        self.as_root = ["--user=root"] if os.geteuid() == 0 else []
        data = (f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal")
        install = (program("mariadb-install-db"), "--no-defaults", *data, *self.as_root)
        subprocess.run(install, check=True, capture_output=True, cwd=self.folder)
        self.folder.joinpath("init").write_text("CREATE DATABASE IF NOT EXISTS site;\n")

    def command(self) -> Sequence[str]:
        here = (f"--datadir={self.folder}/data", f"--socket={self.folder}/socket")
        reached = ("--bind-address=127.0.0.1", f"--port={self.port}")
        first = (program("mariadbd"), "--no-defaults", *self.as_root)
        return (*first, *here, *reached, f"--init-file={self.folder}/init")

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"mysql://root@127.0.0.1:{self.port}/site"


def _lives_in(folder: Path) -> bool:
    """Whether a process has ``folder`` as its working directory, as PostgreSQL's have."""
    for link in glob.glob("/proc/[0-9]*/cwd"):
        with suppress(OSError):
            if os.readlink(link) == str(folder):
                return True
    return False


def program(name: str) -> str:
    found = shutil.which(name) or next(
        iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None
    )
    assert found, f"{name} was not found"
    return found


@contextmanager
def own_database(kind: str, folder: Path, server: str = "") -> Iterator[str]:
    """The URL of an empty database (postgresql, mariadb or sqlite), which is dropped at the end."""
    name = f"connected_accounts_{secrets.token_hex(6)}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.sqlite3"
        return
    server = server or (POSTGRES if kind == "postgresql" else MARIADB)
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    quote = '"' if kind == "postgresql" else "`"
    _execute(server, f"CREATE DATABASE {quote}{name}{quote}")
    try:
        yield url
    finally:
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        _execute(server, f"DROP DATABASE {quote}{name}{quote}{force}")


def _execute(server: str, statement: str) -> None:
    if server.startswith("postgres"):
        import psycopg

        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
        return
    import pymysql

    parts = urlsplit(server)
    with (
        pymysql.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
