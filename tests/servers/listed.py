"""The real servers of ``servers.toml``: where each is installed, how it starts, what it has.

``applications.toml`` has those that stand inside an application."""

import json
import os
import re
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INSTALLED = Path(os.environ.get("CONNECTED_ACCOUNTS_SERVERS", ROOT / ".servers"))
SITE = "http://127.0.0.1:8000"
CALLBACK = f"{SITE}/connections/stock/callback/"
READY = re.compile(r"^ready(?: on \S+| (\{.*\}))?$", re.MULTILINE)
WITHIN = 180.0  # seconds until a server answers; a slow machine is no failure
NODE = "node@24.21.0"  # several of the npm servers need it

PERSON = {"name": "ada", "mail": "ada@example.org", "password": "ada-s-Long-password-1"}
# What the servers know: the site's client, and clients whose id and secret try HTTP Basic.
MAIN = {"id": "site", "secret": "a-plain-secret-of-40-letters-and-numbers"}
BASIC = {"method": "client_secret_basic"}
ODD = {
    "`: % + space` in the secret": {"id": "odd", "secret": "a: b+c%41~*'()/=", **BASIC},
    "`:` in the id": {"id": "odd:id", "secret": "another-plain-secret-of-40-letters", **BASIC},
    "`- . _ ~`": {"id": "5a40-9f1c.2b7e_c1", "secret": "Zk-3_x.Q~9aBcDeFgHiJkLmNoPq", **BASIC},
}
GUARD = {"id": "guard", "secret": "an-api-asks-with-this-secret-of-40-letters"}


@dataclass(frozen=True)
class Listed:
    """One server of the list. Addresses are paths; an empty one is a thing that it has not."""

    name: str
    file: str  # in stock/
    pip: tuple[str, ...] = ()  # the first is the software that the row is about
    npm: tuple[str, ...] = ()
    npm_flags: tuple[str, ...] = ()
    python: str = ""
    authorize: str = "/authorize"
    token: str = "/token"
    revoke: str = ""
    api: str = "/me"  # GET, with a bearer
    introspect: str = ""  # POST as GUARD, where the server ships no way to guard an API
    scope: str = "openid read write"
    fewer: str = "openid read"  # scopes of these that a refresh may name alone
    method: str = "client_secret_post"
    allow: dict[str, str] = field(default_factory=lambda: {"allow": "yes"})
    deny: dict[str, str] = field(default_factory=lambda: {"deny": "yes"})
    params: dict[str, str] = field(default_factory=dict)  # of the authorization request
    options: dict[str, Any] = field(default_factory=dict)  # what a site has to set
    scopes: tuple[str, ...] | None = None  # SCOPES of the site; None: not set
    issuer: str | None = None  # path of it, where the server describes itself
    lost_answer: str = ""  # the reason that a lost answer ends with; empty: it is healed
    asks_nobody: bool = False  # there is no page on which to say no
    silent_refusal: bool = False  # a person who says no stays at the server
    revocation_ends_nothing: bool = False  # it is answered with 200, and the tokens live on
    ends_by_time_alone: bool = False  # no revocation, and what is spent is taken for a while
    code_before_client: bool = False  # looks at the code, then at who asks
    odd_secret_refused: bool = False  # in every way that the app has
    remembers_consent: bool = False  # whatever prompt says: asks nobody again
    throttled: dict[str, Any] = field(default_factory=dict)  # started so to see its limit
    pause: float = 0.0  # seconds between two tokens, without which it fails
    note: str = ""
    variant: str = ""  # set otherwise than as shipped, in a few words
    of: str = ""  # the entry that a variant shares all else with
    start: dict[str, Any] = field(default_factory=dict)  # told to the server when it is started

    @property
    def software(self) -> tuple[str, str]:
        """Name and version."""
        name, _, version = (self.pip or self.npm)[0].replace("==", "@").rpartition("@")
        return re.sub(r"\[.*\]", "", name), version

    @property
    def ends_by_revocation(self) -> bool:
        return bool(self.revoke) and not self.revocation_ends_nothing

    @property
    def folder(self) -> Path:
        return INSTALLED / (self.of or self.name)

    @property
    def command(self) -> list[str]:
        if self.pip:
            return [str(self.folder / "bin/python"), str(HERE / "stock" / self.file)]
        node = INSTALLED / "node/node_modules/node/bin/node"
        return [str(node), str(self.folder / self.file)]


def listed(file: str = "servers.toml") -> dict[str, Listed]:
    entries = tomllib.loads((HERE / file).read_text())
    whole = {name: {**entries.get(one.get("of", ""), {}), **one} for name, one in entries.items()}
    return {name: Listed(name=name, **_tuples(entry)) for name, entry in whole.items()}


def applications() -> dict[str, Listed]:
    return listed("applications.toml")


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}


@dataclass
class Running:
    """A server in a process of its own."""

    entry: Listed
    url: str
    clients: dict[str, dict[str, str]]
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> dict[str, str]:
        return self.clients["main"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(entry: Listed, folder: Path, **extra: Any) -> Iterator[Running]:
    """Start the server, and stop it at the end. Raises RuntimeError with its log when it does not
    come up."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    clients = {"main": {**MAIN, "method": entry.method}, **ODD}
    told = {
        "port": port,
        "url": url,
        "redirect_uri": CALLBACK,
        "folder": str(folder),
        "clients": list(clients.values()),
        "guard": GUARD,
        "scope": entry.scope,
        "person": PERSON,
        **entry.start,
        **extra,
    }
    log = folder / f"{entry.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*entry.command, json.dumps(told)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NODE_NO_WARNINGS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ready = wait_until_ready(process, log, url)
        own = json.loads(ready[1] or "{}")  # the clients of a server that makes them up itself
        yield Running(entry, url, own or clients, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def wait_until_ready(process: subprocess.Popen[bytes], log: Path, url: str) -> re.Match[str]:
    ends = time.monotonic() + WITHIN
    while time.monotonic() < ends and process.poll() is None:
        found = READY.search(log.read_text(errors="replace"))
        if found:
            try:
                requests.get(url, timeout=10, allow_redirects=False)
            except requests.ConnectionError:
                pass
            else:
                return found
        time.sleep(0.1)
    raise RuntimeError(f"It did not start:\n{log.read_text(errors='replace')[-3000:]}")
