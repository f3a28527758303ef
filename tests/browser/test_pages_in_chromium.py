"""Every page in a real browser: accessible, in keeping with a strict policy, and of use without a
script, a mouse or a wide screen."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import agree, running_site, sign_in, sign_in_there
from tests.browser.screenshots import LOOKS, admin_pages, filled_site, pages_of

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What a strict site sends: a form may lead on to the sandbox, which stands in for the providers.
POLICY = """
MIDDLEWARE = ["strict.policy", *MIDDLEWARE]
"""
STRICT = """
from django.conf import settings

def policy(get_response):
    def answer(request):
        response = get_response(request)
        if not request.path.startswith("/admin/"):
            response["Content-Security-Policy"] = (
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
                "base-uri 'none'; frame-ancestors 'none'; "
                "form-action 'self' " + settings.SANDBOX_URL
            )
        return response
    return answer
"""


def find_axe() -> str:
    named = os.environ.get("CONNECTED_ACCOUNTS_AXE")
    path = Path(named) if named else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("browser axe-core is not there: npm install --no-save axe-core@4")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    folder = tmp_path_factory.mktemp("site")
    with filled_site(folder, POLICY, {"strict.py": STRICT}) as found:
        yield found


def violations(page: Any, axe: str) -> list[str]:
    # Through the debugger, which a Content-Security-Policy does not stop.
    page.evaluate(axe)
    run = f"axe.run(document, {{runOnly: {json.dumps(RULES)}}})"
    return [
        f"{found['id']}: {node['html'][:120]}"
        for found in page.evaluate(run)["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_and_the_policy_reports_nothing(site: tuple[str, Any], look: str) -> None:
    axe, (address, browser) = find_axe(), site
    context = browser.new_context(**LOOKS[look])
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    sign_in(page, address)
    found = {}
    for name, path in pages_of(page, address).items():
        page.goto(address + path)
        found[name] = violations(page, axe)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(wide), f"{name} scrolls sideways"
    page.goto(f"{address}/connections/")
    page.get_by_role("button", name=re.compile("Test this connection Badgr")).first.click()
    page.get_by_role("heading", name="The connection works").wait_for()
    found["test"] = violations(page, axe)
    context.close()
    assert {name: lines for name, lines in found.items() if lines} == {}
    # The page of a failure is one, and its status is no fault.
    assert [line for line in told if "status of 400" not in line] == []


def test_the_admins_own_parts_are_accessible(site: tuple[str, Any]) -> None:
    axe, (address, browser) = find_axe(), site
    for look in ("desktop", "dark"):
        context = browser.new_context(**LOOKS[look])
        page = context.new_page()
        sign_in(page, address, "admin")
        for path in admin_pages(address).values():
            page.goto(address + path)
            lines = violations(page, axe)
            ours = [line for line in lines if re.search("ca-|timeline|/test/", line)]
            assert ours == [], path
        context.close()


def test_everything_works_without_javascript_and_by_keyboard_alone(site: tuple[str, Any]) -> None:
    address, browser = site
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, address)
    for name in ("Reconnect BitBadges", "Go on to BitBadges"):
        reach(page, name)
        page.keyboard.press("Enter")
        page.wait_for_load_state()
    sign_in_there(page)
    reach(page, "Allow")
    page.keyboard.press("Enter")
    page.get_by_text("BitBadges is connected again.").wait_for()
    reach(page, "History Badgr")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="History of Badgr").wait_for()
    context.close()


def reach(page: Any, name: str) -> None:
    """Press Tab until the control of that name has the focus, which must be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and " ".join(focused.inner_text().split()).startswith(name):
            outline = focused.evaluate("e => getComputedStyle(e).outlineStyle")
            assert outline != "none", f"{name} has no visible focus"
            return
    raise AssertionError(f"{name} cannot be reached by keyboard")


def test_right_to_left_turns_the_page_round(site: tuple[str, Any]) -> None:
    address, browser = site
    page = browser.new_page()
    sign_in(page, address)
    page.evaluate("document.documentElement.dir = 'rtl'")
    head = page.locator(".ca-card .ca-head").first
    mark, name = head.locator("svg").bounding_box(), head.locator("h2").bounding_box()
    assert mark["x"] > name["x"]
    page.close()


def test_back_after_the_callback_and_two_tabs_at_once(tmp_path: Path, site: Any) -> None:
    _, browser = site
    with running_site(tmp_path) as (port, _family):
        address = f"http://127.0.0.1:{port}"
        context = browser.new_context()
        first, second = context.new_page(), context.new_page()
        sign_in(first, address)
        second.goto(f"{address}/connections/")
        for page in (first, second):
            page.get_by_role("button", name="Connect to Badgr").click()
            sign_in_there(page)
            page.get_by_role("button", name="Allow").wait_for()
        for page in (first, second):
            page.get_by_role("button", name="Allow").click()
            page.wait_for_url(f"{address}/connections/")
        assert second.locator(".ca-card").count() == 1
        second.go_back()
        second.goto(f"{address}/connections/")
        assert second.locator(".ca-card").count() == 1
        # The session is lost in mid-flow: the person has to sign in again.
        second.get_by_role("button", name="Another account at Badgr").click()
        second.get_by_role("button", name="Allow").wait_for()
        kept = [c for c in context.cookies() if c["name"] != "sessionid"]
        context.clear_cookies()
        context.add_cookies(kept)
        second.get_by_role("button", name="Allow").click()
        second.wait_for_url(re.compile("/accounts/login/"))
        context.close()


def test_a_window_of_its_own_closes_and_the_page_goes_on(site: tuple[str, Any]) -> None:
    address, browser = site
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, address)
    form = page.locator(".ca-services form").first
    form.evaluate("f => { f.dataset.caPopup = '/connections/done/'; }")
    form.evaluate(
        "f => { const n = document.createElement('input'); n.type = 'hidden'; n.name = 'next';"
        " n.value = '/connections/?after'; f.append(n); }"
    )
    with page.expect_popup() as opened:
        form.get_by_role("button").click()
    popup = opened.value
    sign_in_there(popup)
    popup.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{address}/connections/?after")
    context.close()


def test_reconnecting_as_another_account_changes_nothing(site: tuple[str, Any]) -> None:
    address, browser = site
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, address)
    page.get_by_role("link", name="Reconnect Badgr").click()
    page.get_by_role("button", name="Go on to Badgr").click()
    sign_in_there(page, "grace")
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("heading", name="That was another account").wait_for()
    page.get_by_role("link", name="Connect the other account").click()
    page.get_by_role("button", name="Go on to Badgr").click()
    agree(page, "Badgr", "grace")
    context.close()


def test_each_service_is_connected_and_one_that_is_down_is_left_at_once(
    tmp_path: Path, site: tuple[str, Any]
) -> None:
    """By redirect, by redirect after a question, by what is entered; then without the sandbox."""
    _, browser = site
    with running_site(tmp_path) as (port, family):
        address = f"http://127.0.0.1:{port}"
        context = browser.new_context(**LOOKS["mobile"])
        page = context.new_page()
        page.set_default_timeout(20_000)
        sign_in(page, address)
        for name, entered in (
            ("BitBadges", {}),
            ("OpenID", {}),
            ("Bime", {"Bime account": "acme"}),
            ("Badge Connect", {}),
        ):
            page.get_by_role("button", name=f"Connect to {name}", exact=True).click()
            if name in ("Bime", "Badge Connect"):
                for label, value in entered.items():
                    page.get_by_label(label).fill(value)
                page.get_by_role("button", name=f"Go on to {name}").click()
            agree(page, name)
        page.get_by_role("button", name="Connect to Bits").click()
        page.get_by_label("Client id").fill("ada-bits")
        page.get_by_label("Client secret").fill("ada-bits-secret")
        page.get_by_role("button", name="Connect", exact=True).click()
        page.get_by_text("Bits is connected.").wait_for()
        assert page.locator(".ca-card").count() == 5
        sandbox = next(child for child in family.children if child.name == "sandbox")
        sandbox.process.kill()
        sandbox.process.wait()
        page.get_by_role("button", name=re.compile("Test this connection OpenID")).click()
        page.get_by_text("There is nothing for you to do").wait_for()
        page.goto(f"{address}/connections/")
        page.get_by_role("link", name="Disconnect OpenID").click()
        page.get_by_role("button", name="Disconnect").click()
        page.get_by_text("OpenID is disconnected.").wait_for()
        page.get_by_text("The permission is being withdrawn at the service.").wait_for()
        assert page.locator(".ca-card").count() == 4
        context.close()
