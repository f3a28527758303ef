"""Starts a site with its server, and the sandbox that plays GitLab."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connected_accounts.testing.sandbox import Sandbox
from example_project.browser import Browser, Page
from example_project.processes import ROOT, Family
from example_project.stack import READY_WITHIN
from tests.quickstart.servers import free_port

PERSON = ("ada", "ada@site.example", "correct horse 42")
HOME = "{% load connected_accounts %}<title>Site</title>{% needs_you_banner %}"
DUE = """
from datetime import timedelta
from django.utils import timezone
from connected_accounts.models import ConnectedAccount
past = timezone.now() - timedelta(minutes=1)
ConnectedAccount.objects.update(refresh_at=past, expires_at=past)
"""
WSGI = ("waitress", "--listen=127.0.0.1:{port}", "tests.sites.servers:wsgi")
ASGI = ("uvicorn", "--port={port}", "--no-access-log", "tests.sites.servers:asgi")
READY = {"waitress": "Serving on ", "uvicorn": "Uvicorn running on "}


@dataclass
class Site:
    """``address`` is where people find it; ``person`` has signed in."""

    address: str
    family: Family
    sandbox: Sandbox
    folder: Path
    browser: Browser

    def manage(self, *command: str) -> str:
        """What a command of ``manage.py`` printed. Fails where it ends with an error."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *command],
            cwd=ROOT,
            env=self.family.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sign_in(self, name: str = PERSON[0]) -> None:
        page = self.browser.open(f"{self.address}/connections/")
        self.browser.send(page.form(control="password"), username=name, password=PERSON[2])

    def connect(self, pages: str = "/connections/") -> Page:
        """The page that the person comes back to."""
        page = self.browser.open(f"{self.address}{pages}")
        self.browser.send(page.form(action="/gitlab/connect/"))
        assert self.browser.page.url.startswith(self.sandbox.base), self.browser.page.url
        self.browser.send(self.browser.page.form(control="subject"), answer="allow")
        assert self.browser.page.url == f"{self.address}{pages}", self.browser.page.url
        return self.browser.page

    def disconnect(self, pages: str = "/connections/") -> Page:
        """The page afterwards. The grant is withdrawn by the next round."""
        page = self.browser.open(f"{self.address}{pages}")
        (link,) = [link for link in page.links if link.endswith("/disconnect/")]
        assert link.startswith(f"{self.address}{pages}"), link
        page = self.browser.open(link)
        self.browser.send(page.form(action="/disconnect/"))
        assert self.browser.page.url == f"{self.address}{pages}", self.browser.page.url
        return self.browser.page

    def due(self) -> None:
        """The tokens have run out."""
        self.manage("shell", "-c", DUE)

    def get(self, path: str) -> Any:
        return self.browser.session.get(f"{self.address}{path}", timeout=60)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes a site of a kind that ``settings`` knows, and a person in it."""
    families, sandboxes = [], []

    def start(kind: str, *, address: str = "", server: tuple[str, ...] = WSGI) -> Site:
        port = free_port()
        address = address or f"http://127.0.0.1:{port}"
        sandbox = Sandbox("gitlab").__enter__()
        sandboxes.append(sandbox)
        (tmp_path / "templates").mkdir()
        (tmp_path / "templates/home.html").write_text(HOME)
        named = ("DATABASE_URL", "CELERY_")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(named)},
            "SITE_IS": kind,
            "SITE": address,
            "FOLDER": str(tmp_path),
            "PROVIDERS": json.dumps({"gitlab": sandbox.entry()}),
            "DJANGO_SUPERUSER_PASSWORD": PERSON[2],
        }
        family = Family(tmp_path / "logs", environment)
        family.environment["DJANGO_SETTINGS_MODULE"] = "tests.sites.settings"
        families.append(family)
        site = Site(address, family, sandbox, tmp_path, Browser())
        site.manage("migrate", "--run-syncdb", "--verbosity=0")
        name = () if kind == "people" else ("--username", PERSON[0])
        site.manage("createsuperuser", "--noinput", *name, "--email", PERSON[1])
        child = family.start("server", *(part.format(port=port) for part in server))
        child.wait_for_line(READY[server[0]], READY_WITHIN)
        return site

    yield start
    for family in families:
        family.stop()
    for sandbox in sandboxes:
        sandbox.__exit__()
