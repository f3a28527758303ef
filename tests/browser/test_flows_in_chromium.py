"""Connecting, reconnecting and disconnecting in a real browser: what cookies, referrers, origins of
forms and the history of a tab really do there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from example_project.settings import CONNECTED_ACCOUNTS
from tests.browser.browsing import agree, sign_in, sign_in_there
from tests.browser.conftest import Site, new_site

pytestmark = pytest.mark.browser


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def cards(page: Any) -> int:
    count: int = page.locator(".ca-card").count()
    return count


def by_redirect(name: str, **fields: str) -> Callable[[Site, Any], None]:
    """Press the button, say what is asked before, sign in at the service and agree."""

    def way(site: Site, page: Any) -> None:
        begin(page, name, **fields)
        agree(page, name)

    return way


def begin(page: Any, name: str, **fields: str) -> None:
    press(page, f"Connect to {name}")
    for field, value in fields.items():
        page.locator(f"input[name={field}]").fill(value)
    if page.get_by_role("button", name=f"Go on to {name}").count():
        press(page, f"Go on to {name}")
    sign_in_there(page)
    page.get_by_role("button", name="Allow").wait_for()


def by_credentials(site: Site, page: Any) -> None:
    press(page, "Connect to Bits")
    page.get_by_label("Client id").fill("ada-bits")
    page.get_by_label("Client secret").fill("ada-bits-secret")
    press(page, "Connect")
    page.get_by_text("Bits is connected.").wait_for()


def by_token(site: Site, page: Any) -> None:
    there = page.context.new_page()
    there.goto(f"{site.sandbox}/bime/globex/oauth/applications")
    sign_in_there(there) if there.locator("input[name=password]").count() else None
    there.locator("button[name=make]").click()
    token = there.locator("#personal-token").inner_text()
    there.close()
    press(page, "Connect to Bime by token")
    page.locator("input[name=account]").fill("globex")
    page.locator("input[name=personal_token]").fill(token)
    press(page, "Connect")
    page.get_by_text("Bime by token is connected.").wait_for()


def by_named_server(site: Site, page: Any) -> None:
    press(page, "Connect to MCP")
    page.locator("input[name=server]").fill(site.family.environment["MCP_SERVERS"])
    press(page, "Go on to MCP")
    page.get_by_role("button", name="Go on to ").click()  # which names who guards it
    sign_in_there(page)
    press(page, "Allow")
    page.get_by_text("is connected.").wait_for()


WAYS = {
    "badgr": by_redirect("Badgr"),
    "bitbadges": by_redirect("BitBadges"),
    "bits": by_credentials,
    "bime": by_redirect("Bime", account="acme"),
    "bime-token": by_token,
    "badges": by_redirect("Badge Connect"),
    "oidc": by_redirect("OpenID"),
    "mcp": by_named_server,
}
REFUSED_AT = {
    "Badgr": {},
    "BitBadges": {},
    "Bime": {"account": "acme"},
    "Badge Connect": {},
    "OpenID": {},
}


def test_each_provider_of_the_example_has_a_way() -> None:
    assert sorted(WAYS) == sorted(CONNECTED_ACCOUNTS["PROVIDERS"])  # type: ignore[arg-type]


@pytest.mark.parametrize("alias", WAYS)
def test_a_provider_is_connected_and_disconnected(site: Site, alias: str) -> None:
    page = site.person()
    WAYS[alias](site, page)
    assert (page.url, cards(page)) == (f"{site.address}/connections/", 1)
    page.locator(".ca-card").get_by_role("link", name=re.compile("^Disconnect")).click()
    press(page, "Disconnect")
    page.get_by_text("is disconnected.").wait_for()
    assert cards(page) == 0
    page.get_by_text(re.compile("Recently disconnected")).wait_for()
    page.context.close()


@pytest.mark.parametrize("name", REFUSED_AT)
def test_a_refusal_at_the_provider_is_a_calm_page_that_offers_to_try_again(
    site: Site, name: str
) -> None:
    page = site.person()
    begin(page, name, **REFUSED_AT[name])
    press(page, "Deny")
    page.get_by_role("heading", name="You did not connect it").wait_for()
    assert page.locator("form[action*=reconnect]").count() == 0
    page.get_by_role("link", name="Try again").click()
    page.get_by_role("button", name=f"Go on to {name}").wait_for()
    page.goto(f"{site.address}/connections/")
    assert cards(page) == 0
    page.context.close()


def test_back_after_the_callback_connects_nothing_twice(site: Site) -> None:
    page = site.person()
    visited: list[str] = []
    page.on("request", lambda request: visited.append(request.url))
    by_redirect("Badgr")(site, page)
    callback = next(url for url in visited if "/callback/" in url)
    page.go_back()  # to the service's page, whose button is still there
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("heading", name="This was finished already").wait_for()
    page.goto(callback)
    page.get_by_role("heading", name="This was finished already").wait_for()
    page.get_by_role("link", name="Your connections").click()
    page.wait_for_url(f"{site.address}/connections/")
    assert cards(page) == 1
    page.context.close()


def test_two_tabs_at_once_are_two_flows_and_one_account(site: Site) -> None:
    first = site.person()
    second = first.context.new_page()
    second.goto(f"{site.address}/connections/")
    begin(first, "Badgr")
    begin(second, "Badgr")
    for page, words in ((second, "Badgr is connected."), (first, "Badgr is connected again.")):
        press(page, "Allow")
        page.get_by_text(words, exact=True).wait_for()
    assert cards(first) == 1
    first.context.close()


def test_who_is_signed_out_in_mid_flow_signs_in_again_and_is_connected(site: Site) -> None:
    page = site.person()
    context, name = page.context, page.get_by_role("button", name="Sign out").inner_text()
    begin(page, "Badgr")
    kept = [cookie for cookie in context.cookies() if cookie["name"] != "sessionid"]
    context.clear_cookies()
    context.add_cookies(kept)
    press(page, "Allow")
    page.wait_for_url(re.compile("/accounts/login/"))
    person = name.removeprefix("Sign out ").strip()
    page.locator("input[name=username]").fill(person)
    page.locator("input[name=password]").fill(person)
    press(page, "Sign in")
    page.get_by_text("Badgr is connected.").wait_for()
    assert cards(page) == 1
    context.close()


def test_reconnecting_as_the_same_account_renews_it(site: Site) -> None:
    page = site.person()
    by_redirect("Badgr")(site, page)
    page.get_by_role("link", name="Reconnect Badgr").click()
    press(page, "Go on to Badgr")
    page.get_by_role("button", name="Allow").click()
    page.get_by_text("Badgr is connected again.").wait_for()
    assert cards(page) == 1
    page.context.close()


def test_reconnecting_as_another_account_changes_nothing_and_offers_to_connect_that(
    site: Site,
) -> None:
    page = site.person()
    by_redirect("Badgr")(site, page)
    page.context.clear_cookies(name=re.compile("^sandbox"))  # signed out at the service
    page.get_by_role("link", name="Reconnect Badgr").click()
    press(page, "Go on to Badgr")
    sign_in_there(page, "grace")
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("heading", name="That was another account").wait_for()
    page.get_by_role("link", name="Connect the other account").click()
    press(page, "Go on to Badgr")
    agree(page, "Badgr", "grace")
    assert cards(page) == 2
    page.context.close()


# At localhost the sandbox is another site for the browser's cookies: a strict session cookie stays
# away from its redirect.
@pytest.mark.parametrize("strict", [False, True], ids=["lax", "strict"])
def test_the_session_cookie_may_be_strict_with_or_without_a_script(
    browser: Any, tmp_path: Path, strict: bool
) -> None:
    settings = f"SESSION_COOKIE_SAMESITE = {'Strict' if strict else 'Lax'!r}"
    with new_site(browser, tmp_path, settings) as site:
        for script in (True, False):
            page = site.person(site.elsewhere, java_script_enabled=script)
            kept = {cookie["name"]: cookie["sameSite"] for cookie in page.context.cookies()}
            assert kept["sessionid"] == ("Strict" if strict else "Lax")
            by_redirect("Badgr")(site, page)
            assert (page.url, cards(page)) == (f"{site.elsewhere}/connections/", 1)
            page.context.close()


def test_staff_are_asked_first_and_told_what_was_done(site: Site) -> None:
    person = site.person()
    by_redirect("Badgr")(site, person)
    person.context.close()
    page = site.browser.new_context().new_page()
    sign_in(page, site.address, "admin")
    accounts = f"{site.address}/admin/connected_accounts/connectedaccount/"
    page.goto(f"{accounts}?provider=badgr")
    page.locator("#result_list tbody th a").first.click()
    page.get_by_role("link", name="Test this connection").click()
    press(page, "Test this connection")
    page.locator(".messagelist", has_text="The connection works").wait_for()
    for action, words in (
        ("Refresh now", "1 account is being refreshed"),
        ("Disconnect and revoke", "1 account is disconnected"),
    ):
        page.goto(f"{accounts}?provider=badgr")
        before = page.locator("#result_list tbody tr").count()
        page.locator("input[name=_selected_action]").first.check()
        page.locator("select[name=action]").select_option(label=action)
        page.locator("button[name=index]").click()
        page.get_by_role("heading", name=action).wait_for()
        press(page, action)
        page.locator(".messagelist", has_text=words).wait_for()
    assert page.locator("#result_list tbody tr").count() == before - 1
    page.context.close()


def test_a_service_that_is_down_is_left_at_once(browser: Any, tmp_path: Path) -> None:
    with new_site(browser, tmp_path) as site:
        page = site.person()
        by_redirect("OpenID")(site, page)
        sandbox = next(child for child in site.family.children if child.name == "sandbox")
        sandbox.process.kill()
        sandbox.process.wait()
        page.get_by_role("button", name=re.compile("Test this connection OpenID")).click()
        page.get_by_text("There is nothing for you to do").wait_for()
        page.goto(f"{site.address}/connections/")
        page.get_by_role("link", name="Disconnect OpenID").click()
        press(page, "Disconnect")
        page.get_by_text("OpenID is disconnected.").wait_for()
        page.get_by_text("The permission is being withdrawn at the service.").wait_for()
        assert cards(page) == 0
        page.context.close()
