"""The example site with the sandbox, and a person in front of a real browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from example_project.processes import ROOT, Family
from example_project.stack import READY_WITHIN, Plan, bound, start_mcp_server, start_sandbox

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


def find_browser() -> str:
    """The program's path. An empty CONNECTED_ACCOUNTS_BROWSER: there is to be none."""
    found = os.environ.get("CONNECTED_ACCOUNTS_BROWSER")
    if found is None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("browser Chromium is not there")
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    executable = find_browser()
    # The event loop that playwright keeps in this thread is not asynchronous code of ours.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def running_site(folder: Path, settings: str = "") -> Iterator[tuple[str, Family]]:
    """Sandbox and site; the site's port, and the processes. ``settings`` come after the
    example's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BADGR_")}
    environment |= {
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "BROKER_FOLDER": str(folder / "broker"),
    }
    environment.pop("CELERY_BROKER_URL", None)
    family = Family(folder, environment)
    if settings:
        text = f"from example_project.settings import *\n{settings}\n"
        (folder / "site_settings.py").write_text(text)
        family.environment["PYTHONPATH"] = str(folder)
    try:
        with bound(0) as listening:
            port = listening.getsockname()[1]
            plan = Plan(folder, access_token_seconds=600)
            sandbox = family.environment["SANDBOX_URL"] = start_sandbox(family, plan, port)
            family.environment["MCP_SERVERS"] = start_mcp_server(family, plan, sandbox)
            if settings:
                family.environment["DJANGO_SETTINGS_MODULE"] = "site_settings"
            number = listening.fileno()
            site = family.start(
                "site", "example_project.serve", f"--fd={number}", pass_fds=[number]
            )
        site.wait_for_line("site ready on ", READY_WITHIN)
        yield str(port), family
    finally:
        family.stop()


def run_there(family: Family, code: str) -> None:
    """Run Python in a process of the site's own."""
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", code],
        cwd=ROOT,
        env={**os.environ, **family.environment},
        check=True,
    )


def sign_in(page: Any, site: str, name: str = "demo") -> None:
    page.goto(f"{site}/accounts/login/?next=/connections/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site}/connections/")


def sign_in_there(page: Any, name: str = "ada") -> None:
    page.locator("input[name=password], button[name=allow]").first.wait_for()
    if page.locator("input[name=password]").count():
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(name)
        page.get_by_role("button", name="Sign in").click()


def agree(page: Any, service: str, name: str = "ada") -> None:
    sign_in_there(page, name)
    page.get_by_role("button", name="Allow").click()
    page.get_by_text(f"{service} is connected.").wait_for()
