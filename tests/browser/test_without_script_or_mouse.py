"""What people have who have less: no mouse, no script, a language from right to left. And what the
optional script adds, with what is left where the browser does not let it."""

from typing import Any

import pytest

from tests.browser.browsing import sign_in_there
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


FOCUSED = """() => {
  const element = document.activeElement ?? document.body;
  const shown = element === document.body ? "" : element.innerText;
  return [shown, getComputedStyle(element).outlineStyle];
}"""


def reach(page: Any, name: str) -> None:
    """Press Tab until the control of that name has the focus, which must be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        text, outline = page.evaluate(FOCUSED)
        if " ".join(text.split()).startswith(name):
            assert outline != "none", f"{name} has no visible focus"
            return
    raise AssertionError(f"{name} cannot be reached by keyboard")


def enter(page: Any, name: str) -> None:
    reach(page, name)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def type_into(page: Any, label: str, text: str) -> None:
    field = page.get_by_label(label)
    for _ in range(80):
        if field.evaluate("e => e === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.type(text)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_all_of_it_by_keyboard_alone(site: Site, script: bool) -> None:
    page = site.person(java_script_enabled=script)
    enter(page, "Connect to Bime")
    type_into(page, "Bime account", "acme")
    enter(page, "Go on to Bime")
    type_into(page, "Name", "ada")
    type_into(page, "Password", "ada")
    enter(page, "Sign in")
    enter(page, "Allow")
    page.get_by_text("Bime is connected.").wait_for()
    enter(page, "History Bime")
    page.get_by_role("heading", name="History of Bime").wait_for()
    enter(page, "Your connections")
    enter(page, "Test this connection Bime")
    page.get_by_role("heading", name="The connection works").wait_for()
    enter(page, "Your connections")
    enter(page, "Reconnect Bime")
    enter(page, "Go on to Bime")
    enter(page, "Allow")
    page.get_by_text("Bime is connected again.").wait_for()
    enter(page, "Disconnect Bime")
    enter(page, "Disconnect")
    page.get_by_text("Bime is disconnected.").wait_for()
    page.context.close()


def test_right_to_left_turns_the_page_round(site: Site) -> None:
    page = site.person()
    # As a translation into such a language has it: our words have a direction of their own.
    page.locator(".ca-page[dir=ltr]").first.evaluate("page => page.dir = 'rtl'")
    row = page.locator(".ca-services li").first
    mark, name = row.locator("svg").bounding_box(), row.locator(".ca-name").bounding_box()
    assert mark["x"] > name["x"]
    page.context.close()


def test_the_sites_own_accent_colour_is_that_of_the_buttons(site: Site) -> None:
    page = site.person()
    ours = page.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--ca-accent')"
    )
    button = page.locator(".ca-button").first
    shown = "(e, ours) => { const t = document.createElement('i'); t.style.color = ours;"
    shown += " e.append(t); return [getComputedStyle(e).borderColor, getComputedStyle(t).color]; }"
    border, accent = button.evaluate(shown, ours)
    assert border == accent
    assert accent != "rgb(31, 95, 191)"  # the app's own
    page.context.close()


# --- A window of its own --------------------------------------------------------------------------


def with_popup(page: Any) -> Any:
    """The button as ``connect_button popup=True`` makes it, of a page that goes on elsewhere."""
    form = page.locator(".ca-services form").first
    form.evaluate("f => { f.dataset.caPopup = '/connections/done/'; }")
    form.evaluate(
        "f => { const n = document.createElement('input'); n.type = 'hidden'; n.name = 'next';"
        " n.value = '/connections/?after'; f.append(n); }"
    )
    return form.get_by_role("button")


def test_a_window_of_its_own_closes_and_the_page_goes_on(site: Site) -> None:
    page = site.person()
    button = with_popup(page)
    with page.expect_popup() as opened:
        button.click()
    popup = opened.value
    sign_in_there(popup)
    with popup.expect_event("close"):
        popup.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{site.address}/connections/?after")
    assert page.locator(".ca-card").count() == 1
    page.context.close()


def test_a_window_ends_in_the_tab_that_opened_it_and_in_no_other(site: Site) -> None:
    first = site.person()
    second = first.context.new_page()
    second.goto(f"{site.address}/connections/")
    second.evaluate("() => { document.body.dataset.draft = 'writing'; }")
    with second.expect_popup() as waiting:
        with_popup(second).click()
    waiting.value.locator("input[type=password]").wait_for()  # its login page has come
    with first.expect_popup() as opened:
        with_popup(first).click()
    sign_in_there(opened.value)
    with opened.value.expect_event("close"):
        opened.value.get_by_role("button", name="Allow").click()
    first.wait_for_url(f"{site.address}/connections/?after")
    assert second.locator("[data-draft]").count() == 1
    assert "after" not in second.url
    first.context.close()


@pytest.mark.parametrize("after", ["javascript:document.title='run'", "https://evil.example/"])
def test_the_script_goes_on_to_no_other_site_and_runs_nothing(site: Site, after: str) -> None:
    page = site.person()
    button = with_popup(page)
    page.locator("[name=next]").first.evaluate("(n, after) => { n.value = after; }", after)
    with page.expect_popup() as opened:
        button.click()
    sign_in_there(opened.value)
    with opened.value.expect_event("close"), page.expect_navigation():
        opened.value.get_by_role("button", name="Allow").click()
    page.locator(".ca-card").wait_for()
    assert page.url == f"{site.address}/connections/"
    assert page.title() != "run"
    page.context.close()


@pytest.mark.parametrize(
    "without", ["window.open = () => null", "delete window.BroadcastChannel"], ids=["window", "way"]
)
def test_where_no_window_can_be_had_the_whole_page_goes(site: Site, without: str) -> None:
    page = site.person()
    page.context.add_init_script(without)
    page.reload()
    with_popup(page).click()
    sign_in_there(page)
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{site.address}/connections/?after")
    assert len(page.context.pages) == 1
    assert page.locator(".ca-card").count() == 1
    page.context.close()


# Behind the script's own: counts what it lets through, and keeps it from leaving.
COUNT = """window.sent = 0;
window.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) window.sent += 1;
  event.preventDefault();
});"""


def test_a_button_is_not_pressed_twice_until_it_may_have_failed(site: Site) -> None:
    page = site.person()
    page.clock.install()
    page.reload()
    page.evaluate(COUNT)
    form = page.locator("form[action$='/badgr/connect/']").element_handle()
    busy = "f => f.querySelector('button').ariaBusy"
    form.evaluate("f => { f.requestSubmit(); f.requestSubmit(); }")
    assert (page.evaluate("sent"), form.evaluate(busy)) == (1, "true")
    page.clock.run_for(11_000)
    assert form.evaluate(busy) is None
    form.evaluate("f => f.requestSubmit()")
    assert page.evaluate("sent") == 2
    page.context.close()
