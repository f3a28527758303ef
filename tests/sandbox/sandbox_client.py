"""The sandbox as a real process, and people with browsers who walk it over real HTTP."""

import base64
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
SITE = "http://127.0.0.1:8000"
DEADLINE = 180  # seconds; a slow machine is no failure
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode()[:-1]
S256 = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


def wait_for(question: Callable[[], Any]) -> Any:
    """Ask until the answer is true; the last answer is returned either way."""
    end = time.monotonic() + DEADLINE
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


class FirstForm(HTMLParser):
    """The fields of the first form of a page, as a browser would send them back."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.choices: list[str] = []
        self.open: bool | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        name = values.get("name")
        if tag == "form" and self.open is None:
            self.open = True
        if tag != "input" or not self.open or name is None:
            return
        if values.get("type") == "checkbox":
            self.choices.append(values.get("value") or "")
        else:
            self.fields[name] = values.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open = False


@dataclass
class Server:
    """A server in a process of its own, and what a client asks of it."""

    process: subprocess.Popen[bytes]
    url: str

    @classmethod
    def run(cls, directory: Path, module: str, *arguments: str) -> Self:
        log = directory / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--port", "0", *arguments],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        ready = re.compile(r"ready on (http://\S+)\n")
        found = wait_for(lambda: ready.search(log.read_text()) or process.poll() is not None)
        if not isinstance(found, re.Match):
            process.kill()
            process.wait(timeout=10)
            pytest.fail(f"{module} did not start:\n{log.read_text()}")
        return cls(process, found[1])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def get(self, path: str, token: str = "", **options: Any) -> requests.Response:
        if token:
            options["headers"] = {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, timeout=10, **options)

    def post(self, path: str, data: dict[str, str], **options: Any) -> requests.Response:
        return requests.post(self.url + path, data=data, timeout=10, **options)


@dataclass
class Sandbox(Server):
    @classmethod
    def start(cls, directory: Path, *arguments: str) -> Self:
        database = str(directory / "sandbox.sqlite3")
        return cls.run(directory, "example_project.sandbox", "--database", database, *arguments)

    def state(self, dialect: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.get("/sandbox/state").json()
        return answer[dialect]


class Person:
    """Somebody at the provider, with a browser."""

    def __init__(self, server: Server, name: str = "ada") -> None:
        self.server = server
        self.name = name
        self.browser = requests.Session()

    def open(self, path: str, **query: str) -> requests.Response:
        """A page, after signing in if it asks for that."""
        page = self.browser.get(self.server.url + path, params=query, timeout=5)
        if "/login/" in page.url:
            form = FirstForm(page.text).fields
            login = form | {"username": self.name, "password": self.name}
            page = self.browser.post(page.url, data=login, timeout=5)
        return page

    def answer(self, page: requests.Response, **fields: Any) -> requests.Response:
        data = FirstForm(page.text).fields | fields
        return self.browser.post(page.url, data=data, allow_redirects=False, timeout=5)

    def allow(self, path: str, **query: str) -> dict[str, str]:
        """Sign in, say yes, and give the parameters that reach the callback."""
        with self.browser:
            page = self.open(path, **query)
            return callback_parameters(self.answer(page, allow="true"))


def callback_parameters(response: requests.Response) -> dict[str, str]:
    location = response.headers["Location"]
    assert location.startswith(SITE), location
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
