"""The whole way in a real browser: what cookies, referrers and form origins really do there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import agree, chromium, running_site, sign_in, sign_in_there

pytestmark = pytest.mark.browser

STRICT = "SESSION_COOKIE_SAMESITE = 'Strict'"


@pytest.fixture
def page() -> Iterator[Any]:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(10_000)
        yield page


# The sandbox is on 127.0.0.1: at localhost it is another site for the browser's cookies.
@pytest.mark.parametrize(
    ("host", "strict"), [("127.0.0.1", False), ("localhost", False), ("localhost", True)]
)
def test_connect_and_disconnect(tmp_path: Path, page: Any, host: str, strict: bool) -> None:
    with running_site(tmp_path, STRICT if strict else "") as (port, _):
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
    with running_site(tmp_path) as (port, _):
        site = f"http://127.0.0.1:{port}"
        sign_in(page, site)
        page.get_by_role("button", name="Connect to Badgr").click()
        sign_in_there(page)
        page.get_by_role("button", name="Deny").click()
        page.get_by_role("link", name="Try again").click()
        page.get_by_role("button", name="Go on to Badgr").click()
        agree(page, "Badgr")
