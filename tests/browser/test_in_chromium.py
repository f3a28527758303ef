"""The whole way in a real browser: what cookies, referrers and form origins really do there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from example_project.processes import Family
from example_project.stack import READY_WITHIN, Plan, bound, start_sandbox

pytestmark = pytest.mark.browser

STRICT = "from example_project.settings import *\nSESSION_COOKIE_SAMESITE = 'Strict'\n"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str:
    found = os.environ.get("CONNECTED_ACCOUNTS_BROWSER") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    if not found:
        pytest.skip("browser Chromium is not there")
    return found


@contextmanager
def running_site(folder: Path, *, strict: bool) -> Iterator[str]:
    """Sandbox and site; the site's port."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BADGR_")}
    environment |= {
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "BROKER_FOLDER": str(folder / "broker"),
    }
    environment.pop("CELERY_BROKER_URL", None)
    family = Family(folder, environment)
    if strict:
        (folder / "strict_settings.py").write_text(STRICT)
        family.environment["PYTHONPATH"] = str(folder)
    try:
        with bound(0) as listening:
            port = listening.getsockname()[1]
            plan = Plan(folder, access_token_seconds=600)
            family.environment["SANDBOX_URL"] = start_sandbox(family, plan, port)
            if strict:
                family.environment["DJANGO_SETTINGS_MODULE"] = "strict_settings"
            number = listening.fileno()
            site = family.start(
                "site", "example_project.serve", f"--fd={number}", pass_fds=[number]
            )
        site.wait_for_line("site ready on ", READY_WITHIN)
        yield str(port)
    finally:
        family.stop()


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    # The event loop that playwright keeps in this thread is not asynchronous code of ours.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=flags)
        page = browser.new_page()
        page.set_default_timeout(10_000)
        yield page
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def sign_in(page: Any, site: str) -> None:
    page.goto(f"{site}/accounts/login/?next=/connections/")
    page.locator("input[name=username]").fill("demo")
    page.locator("input[name=password]").fill("demo")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site}/connections/")


def sign_in_there(page: Any) -> None:
    if page.locator("input[name=password]").count():
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("ada")
        page.get_by_role("button", name="Sign in").click()


def agree(page: Any, name: str) -> None:
    sign_in_there(page)
    page.get_by_role("button", name="Allow").click()
    page.get_by_text(f"{name} is connected.").wait_for()


# The sandbox is on 127.0.0.1: at localhost it is another site for the browser's cookies.
@pytest.mark.parametrize(
    ("host", "strict"), [("127.0.0.1", False), ("localhost", False), ("localhost", True)]
)
def test_connect_and_disconnect(tmp_path: Path, page: Any, host: str, strict: bool) -> None:
    find_browser()
    with running_site(tmp_path, strict=strict) as port:
        site = f"http://{host}:{port}"
        sign_in(page, site)
        page.get_by_role("button", name="Connect to Badgr").click()
        agree(page, "Badgr")
        assert page.url == f"{site}/connections/"
        page.goto(f"{site}/connections/bitbadges/connect/")
        page.get_by_role("button", name="Go on to BitBadges").click()
        agree(page, "BitBadges")
        assert page.locator(".ca-card").count() == 2
        page.get_by_role("link", name="Disconnect Badgr").click()
        page.get_by_role("button", name="Disconnect").click()
        page.get_by_text("Badgr is disconnected.").wait_for()
        assert page.locator(".ca-card").count() == 1


def test_a_refusal_offers_to_try_again(tmp_path: Path, page: Any) -> None:
    with running_site(tmp_path, strict=False) as port:
        site = f"http://127.0.0.1:{port}"
        sign_in(page, site)
        page.get_by_role("button", name="Connect to Badgr").click()
        sign_in_there(page)
        page.get_by_role("button", name="Deny").click()
        page.get_by_role("link", name="Try again").click()
        page.get_by_role("button", name="Go on to Badgr").click()
        agree(page, "Badgr")
