"""The example site in processes of its own, against the sandbox and a real database."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import requests

from tests.services import service

ROOT = Path(__file__).resolve().parents[1]
DEADLINE = 180.0  # seconds; a slow machine is no failure
T = TypeVar("T")

CONNECT = """
import django; django.setup()
from urllib.parse import parse_qsl, urlsplit
from django.contrib.auth.models import User
from connected_accounts.oauth2.state import new_secret
from connected_accounts.services import complete_authorization, start_authorization
from example_project.browser import Browser
user = User.objects.create_user("visitor")
secret = new_secret()
url = start_authorization(
    user=user, provider="badgr", browser_secret=secret,
    redirect_uri="http://127.0.0.1:8000/connections/badgr/callback/",
)
browser = Browser()
browser.session.max_redirects = 5
browser.open(url)
browser.send(browser.page.form(control="password"), username="ada", password="ada")
form = browser.page.form(control="allow")
answer = browser.session.post(form.action, data=form.fields | {"allow": "true"},
                              allow_redirects=False)
params = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
done = complete_authorization(
    user=user, provider="badgr", browser_secret=secret, params=params
)
print(done.account.pk)
"""

PREPARE = """
import sys, django; django.setup()
from connected_accounts.models import (ConnectedAccount)
from connected_accounts.services import get_access_token, refresh
account = ConnectedAccount.objects.get()
print("ready", flush=True)
sys.stdin.readline()
"""


def wait_for(question: Callable[[], T]) -> T:
    """Ask until the answer is true. Fails when the deadline has passed."""
    ends = time.monotonic() + DEADLINE
    while not (answer := question()):
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)
    return answer


class Site:
    """Processes of one site: its database and its sandbox."""

    def __init__(self, database_url: str, sandbox: subprocess.Popen[str], sandbox_url: str) -> None:
        self.database_url = database_url
        self.sandbox = sandbox
        self.sandbox_url = sandbox_url
        self.environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "SANDBOX_URL": sandbox_url,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
        }

    def start(self, code: str) -> subprocess.Popen[str]:
        """A process that runs ``code`` after the first line it is sent."""
        process = subprocess.Popen(
            [sys.executable, "-c", PREPARE + code],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return process

    def run(self, *command: str) -> str:
        """A process run to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def state(self) -> dict[str, Any]:
        answer = requests.get(f"{self.sandbox_url}/sandbox/state", timeout=30)
        state: dict[str, Any] = answer.json()["badgr"]
        return state


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A site with one account of ada's at Badgr, on a PostgreSQL database of its own;
    skips without one."""
    server = service("postgresql")
    name = f"connected_accounts_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    sandbox = subprocess.Popen(
        [
            sys.executable,
            *("-m", "example_project.sandbox", "--port", "0"),
            *("--database", str(folder / "sandbox.sqlite3"), "--access-token-seconds", "3600"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert sandbox.stdout is not None
        address = sandbox.stdout.readline().split()[-1]
        site = Site(urlsplit(server)._replace(path=f"/{name}").geturl(), sandbox, address)
        site.run("manage.py", "migrate", "-v0")
        site.run("-c", CONNECT)
        yield site
    finally:
        sandbox.kill()
        sandbox.wait()
        sandbox.stdout.close()  # type: ignore[union-attr]
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]
