"""Every page, every form of a provider and every failure, in light and dark, wide and narrow, from
left to right and from right to left: accessible, within its width, and within a strict policy."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from connected_accounts import urls
from connected_accounts.use.connection_check import CheckOutcome
from tests.browser.accessibility import find_axe, scrolls_sideways, violations
from tests.browser.browsing import sign_in
from tests.browser.screenshots import filled_site
from tests.browser.showcase import FILL, SETTINGS
from tests.causes import CAUSES
from tests.docs.doc_pages import PACKAGE
from tests.security.census import ADMIN_ACTIONS, ADMIN_PAGES, CHANGE_NO_ROW

pytestmark = pytest.mark.browser

NARROW = {"width": 320, "height": 640}  # WCAG 2.2, 1.4.10
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1000, "height": 700}},
    "dark_and_narrow_in_german": {
        "viewport": NARROW,
        "color_scheme": "dark",
        "locale": "de-DE",
    },
    "narrow_from_right_to_left": {"viewport": NARROW, "locale": "ar"},
}
ALIASES = ("badgr", "bitbadges", "bits", "bime", "bime-token", "badges", "oidc", "mcp")
PAGES = [
    "/connections/",
    "/connections/done/",
    *(f"/connections/{alias}/connect/" for alias in ALIASES),
    "/connections/badgr/connect/?scope=r:issuer&next=/",
    "/connections/badgr/callback/?state=x&code=y",
    *(f"/connections/{pk}/{name}/" for pk in (1, 2, 3) for name in ("reconnect", "disconnect")),
    "/connections/1/history/",
    "/connections/3/history/",
    "/showcase/missing/",
    "/showcase/way/known/",
    "/showcase/way/entered/",
    "/showcase/more/",
    "/showcase/bounce/",
    "/showcase/too-many/",
    *(f"/showcase/failure/{cause}/" for cause in CAUSES),
    *(f"/showcase/test/{trial.value}/" for trial in CheckOutcome),
]
OF_ACCOUNTS = "connectedaccount."
ACCOUNTS = "/admin/connected_accounts/connectedaccount/"
ADMIN = "/admin/connected_accounts/"
# The rows of the census, with what the site was filled with; and pages that a question leads to.
ROWS = {"pk": 1, "revocation": 1, "event": 1, "state": 1, "client": 1, "site": 54, "deployment": 1}
ADMIN_ADDRESSES = [
    *(ADMIN + page.path.format(**ROWS) for page in ADMIN_PAGES.values()),
    *(f"{ACCOUNTS}connect/?provider={alias}" for alias in ALIASES),
    "/admin/auth/user/1/change/",  # with the inline
    f"{ACCOUNTS}person/user:1/",
    f"{ACCOUNTS}?q=ada&status__exact=active&expiring=day&owner=users",
]
# What is Django's own in the admin is not for us to mend.
DJANGOS = (
    "#changelist-filter",
    "#toolbar",
    "#user_form fieldset",
    ".delete-confirmation #content > ul",
)


@dataclass
class Seen:
    """What a walk found, by address, and what was seen on the way."""

    axe: str
    faults: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    views: set[str] = field(default_factory=set)
    templates: set[str] = field(default_factory=set)

    def note(self, response: Any) -> None:
        self.views.add(response.headers.get("x-view", ""))
        self.templates |= set(response.headers.get("x-templates", "").split(","))

    def hear(self, said: Any) -> None:
        # What axe-core itself tries has no address.
        if "Content Security Policy" in said.text and said.location["url"]:
            self.refused.append(f"{said.location['url']}: {said.text}")

    def look(self, page: Any, name: str, within: str = "html", but: Sequence[str] = ()) -> None:
        self.faults += [f"{name}: {line}" for line in violations(page, self.axe, within, but)]
        self.faults += [f"{name}: scrolls sideways"] * scrolls_sideways(page)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    with filled_site(tmp_path_factory.mktemp("site"), SETTINGS, FILL) as found:
        yield found


def signed_in(site: tuple[str, Any], look: str, name: str, seen: Seen) -> Any:
    address, browser = site
    context = browser.new_context(**LOOKS[look])
    context.on("response", seen.note)
    page = context.new_page()
    page.on("console", seen.hear)
    page.on("pageerror", lambda error: seen.refused.append(str(error)))
    # The page of a moment between stays for as long as it is looked at.
    context.route("**/showcase/onward/", lambda route: route.abort("aborted"))
    sign_in(page, address, name)
    return page


def ours(folder: str) -> set[str]:
    """All templates of ours in a folder, but for those of the mail."""
    root = PACKAGE / "templates"
    found = {str(path.relative_to(root)) for path in (root / folder).rglob("*.html")}
    return {name for name in found if "/mail/" not in name}


def test_what_is_wrong_with_a_page_is_found(site: tuple[str, Any]) -> None:
    seen = Seen(find_axe())
    page = signed_in(site, "narrow_from_right_to_left", "demo", seen)
    page.goto(f"{site[0]}/showcase/bad/")
    seen.look(page, "bad")
    page.context.close()
    found = {line.split(": ")[1] for line in seen.faults}
    assert {"image-alt", "scrolls sideways"} <= found
    assert "style-src" in " ".join(seen.refused)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_that_people_see(site: tuple[str, Any], look: str) -> None:
    seen = Seen(find_axe())
    page = signed_in(site, look, "demo", seen)
    for path in PAGES:
        page.goto(site[0] + path)
        seen.look(page, path)
    for path in ("mcp/client.json", "jwks/"):  # for programs
        page.goto(f"{site[0]}/connections/{path}")
    page.goto(f"{site[0]}/connections/")
    page.locator("form[action$='/1/test/'] button").click()
    page.locator(".ca-result").wait_for()
    seen.look(page, "test")
    page.goto(f"{site[0]}/connections/bits/connect/")
    page.locator("input[name=client_id]").fill("nobody")
    page.locator("input[name=client_secret]").fill("wrong")
    page.locator("form[action$='/bits/connect/'] button").click()
    page.locator(".ca-error").wait_for()
    seen.look(page, "not accepted")
    page.context.close()
    for name in ("many", "admin"):  # fifty accounts, and none
        page = signed_in(site, look, name, seen)
        seen.look(page, f"connections of {name}")
        page.context.close()
    assert not seen.faults, "\n".join(seen.faults)
    assert seen.refused == []
    routes = {f"connected_accounts:{pattern.name}" for pattern in urls.urlpatterns}
    assert routes - seen.views == set(), "not looked at"
    # The example site has a base of its own.
    unseen = ours("connected_accounts") - seen.templates - {"connected_accounts/base.html"}
    assert unseen == set(), "not looked at"


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_that_staff_see(site: tuple[str, Any], look: str) -> None:
    seen = Seen(find_axe())
    page = signed_in(site, look, "admin", seen)
    for path in ADMIN_ADDRESSES:
        status = page.goto(site[0] + path).status
        assert status == 200 or (status == 403 and re.search("/(add|delete)/$", path)), path
        if status == 200:
            seen.look(page, path, "#content", DJANGOS)
    asking = [name for name in ADMIN_ACTIONS if name not in CHANGE_NO_ROW]
    for action in (name.removeprefix(OF_ACCOUNTS) for name in asking if OF_ACCOUNTS in name):
        page.goto(site[0] + ACCOUNTS)
        page.locator("input[name=_selected_action]").first.check()
        page.locator("select[name=action]").select_option(action)
        page.locator("button[name=index]").click()
        page.locator("input[name=confirmed]").wait_for(state="attached")
        seen.look(page, action, "#content", DJANGOS)
    page.context.close()
    assert not seen.faults, "\n".join(seen.faults)
    assert seen.refused == []
    names = {f"admin:connected_accounts_{name}" for name in ADMIN_PAGES}
    assert names - seen.views == set(), "not looked at"
    assert ours("admin") - seen.templates == set(), "not looked at"
