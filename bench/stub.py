"""A provider that is never the slow one: answers from one asyncio loop, in a process of its own.

``python -m bench.stub --latency 0.1`` prints its port and serves until its standard input closes.

A refresh token is ``r.<account>.<round>.`` and padding; the answer to it holds the access and the
refresh token of the next round. So a row's token tells afterwards, by itself, whether exactly this
account was refreshed, and how often. A code ``c.<account>`` begins round 0; the access token tells
``/api/v1/user`` whose it is. ``/rounds`` tells the newest round of each account that was refreshed,
and how often a spent refresh token came; with ``--single-use`` that one is refused.
"""

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote_plus
from urllib.request import urlopen

ACCESS_LENGTH = 200
REFRESH_LENGTH = 100
TOKEN_PATH = "/login/oauth/access_token"  # as Gitea's, which the peers ship backends for
USER_PATH = "/api/v1/user"
LIFE = 36000


def token(kind: str, account: object, round_: int) -> str:
    """The token of one account in one round: ``kind`` is ``a`` or ``r``."""
    length = ACCESS_LENGTH if kind == "a" else REFRESH_LENGTH
    return f"{kind}.{account}.{round_}.".ljust(length, "x")


def grant(account: object, round_: int) -> dict[str, object]:
    return {
        "access_token": token("a", account, round_),
        "token_type": "Bearer",
        "expires_in": LIFE,
        "refresh_token": token("r", account, round_),
        "scope": "read write",
    }


def answer_to(target: str, head: str, body: str) -> dict[str, object]:
    if target.startswith(USER_PATH):
        account = head.partition("a.")[2].partition(".")[0]
        told = {"id": account, "login": f"u{account}", "name": None}
        return told | {"email": f"u{account}@provider.example"}
    form = dict(pair.partition("=")[::2] for pair in body.split("&"))
    if form.get("grant_type") == "refresh_token":
        _, account, round_, _ = unquote_plus(form["refresh_token"]).split(".", 3)
        kind = "DPoP" if "\r\ndpop:" in head.lower() else "Bearer"
        return grant(account, int(round_) + 1) | {"token_type": kind}
    return grant(unquote_plus(form["code"]).split(".")[1], 0)


class Line(asyncio.Protocol):
    """One connection: requests in, answers out, each after the latency."""

    latency = 0.0
    single_use = False
    served = 0
    rounds: ClassVar[dict[str, int]] = {}
    reused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while (end := self.seen.find(b"\r\n\r\n")) >= 0:
            head = self.seen[:end].decode("latin-1")
            length = 0
            at = head.lower().find("\r\ncontent-length:")
            if at >= 0:
                length = int(head[at + 17 :].partition("\r\n")[0])
            if len(self.seen) < end + 4 + length:
                return
            body = self.seen[end + 4 : end + 4 + length].decode("latin-1")
            self.seen = self.seen[end + 4 + length :]
            self.take(head, body)

    def take(self, head: str, body: str) -> None:
        target = head.split(" ", 2)[1]
        if target == "/served":
            return self.send({"served": Line.served})
        if target == "/rounds":
            return self.send({"rounds": Line.rounds, "reused": Line.reused})
        if target == "/forget":
            Line.rounds, Line.reused, Line.served = {}, 0, 0
            return self.send({})
        Line.served += 1
        answer = answer_to(target, head, body)
        status = "200 OK"
        if "grant_type=refresh_token" in body and not self.spend(str(answer["refresh_token"])):
            answer, status = {"error": "invalid_grant"}, "400 Bad Request"
        if not Line.latency:
            return self.send(answer, status)
        asyncio.get_running_loop().call_later(Line.latency, self.send, answer, status)
        return None

    def spend(self, next_token: str) -> bool:
        """Note that a refresh token came; False where it was spent and may not come again."""
        _, account, round_, _ = next_token.split(".", 3)
        spent = int(round_) <= Line.rounds.get(account, 0)
        Line.reused += spent
        Line.rounds[account] = max(int(round_), Line.rounds.get(account, 0))
        return not (spent and Line.single_use)

    def send(self, document: dict[str, object], status: str = "200 OK") -> None:
        content = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
        )
        self.transport.write(head.encode() + b"\r\n\r\n" + content)


async def serve(latency: float, *, single_use: bool = False, certificate: str = "") -> None:
    """Print the port, with a certificate that of TLS behind it, and serve."""
    Line.latency, Line.single_use = latency, single_use
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Line, "127.0.0.1", 0, backlog=1024)
    ports = [server.sockets[0].getsockname()[1]]
    if certificate:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(certificate)
        server = await loop.create_server(Line, "127.0.0.1", 0, backlog=1024, ssl=secure)
        ports.append(server.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@dataclass
class Running:
    """A stub that is there: where, its process, and how many requests it has answered."""

    url: str
    pid: int
    secure_url: str = ""

    def served(self) -> int:
        with urlopen(f"{self.url}/served", timeout=10) as told:
            return int(json.load(told)["served"])

    def rounds(self) -> tuple[dict[str, int], int]:
        """The newest round of each account, and how many spent tokens came."""
        with urlopen(f"{self.url}/rounds", timeout=10) as told:
            answer = json.load(told)
        return answer["rounds"], answer["reused"]

    def forget(self) -> None:
        """Begin anew, with no refresh token spent."""
        urlopen(f"{self.url}/forget", timeout=10).close()


@contextmanager
def running(latency: float = 0.0, *options: str) -> Iterator[Running]:
    """Start a stub in another process, and end it."""
    command = [sys.executable, "-m", "bench.stub", "--latency", str(latency), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        plain, *secure = map(int, process.stdout.readline().split())
        secure_url = f"https://127.0.0.1:{secure[0]}" if secure else ""
        yield Running(f"http://127.0.0.1:{plain}", process.pid, secure_url)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--single-use", action="store_true", help="refuse a spent refresh token")
    parser.add_argument("--certificate", default="", help="with its key: serve over TLS besides")
    told = parser.parse_args()
    asyncio.run(serve(told.latency, single_use=told.single_use, certificate=told.certificate))
