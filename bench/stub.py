"""A provider that is never the slow one: answers from one asyncio loop, in a process of its own.

``python -m bench.stub --latency 0.1`` prints its port and serves until its standard input closes.

A refresh token is ``r.<account>.<round>.`` and padding; the answer to it holds the access and the
refresh token of the next round. So a row's token tells afterwards, by itself, whether exactly this
account was refreshed, and how often. A code ``c.<account>`` begins round 0; the access token tells
``/api/v1/user`` whose it is.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        return grant(account, int(round_) + 1)
    return grant(unquote_plus(form["code"]).split(".")[1], 0)


class Line(asyncio.Protocol):
    """One connection: requests in, answers out, each after the latency."""

    latency = 0.0
    served = 0

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
        Line.served += 1
        answer = answer_to(target, head, body)
        if not Line.latency:
            return self.send(answer)
        asyncio.get_running_loop().call_later(Line.latency, self.send, answer)
        return None

    def send(self, document: dict[str, object]) -> None:
        content = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
        )
        self.transport.write(head.encode() + b"\r\n\r\n" + content)


async def serve(latency: float) -> None:
    Line.latency = latency
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Line, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@dataclass
class Running:
    """A stub that is there: where, its process, and how many requests it has answered."""

    url: str
    pid: int

    def served(self) -> int:
        with urlopen(f"{self.url}/served", timeout=10) as told:
            return int(json.load(told)["served"])


@contextmanager
def running(latency: float = 0.0) -> Iterator[Running]:
    """Start a stub in another process, and end it."""
    command = [sys.executable, "-m", "bench.stub", "--latency", str(latency)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    asyncio.run(serve(parser.parse_args().latency))
