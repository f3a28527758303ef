"""The front end of the documentation, word for word, in a real browser: fetch, CSRF, cookies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsing import chromium, running_site, sign_in, sign_in_there
from tests.docs.doc_pages import DOCS, code_blocks

pytestmark = pytest.mark.browser

CALL, CONNECT, DISCONNECT, WRONG = code_blocks(DOCS / "how-to/json-api.md", "js")


@pytest.fixture
def page() -> Iterator[Any]:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(10_000)
        yield page


@pytest.mark.parametrize(
    "settings", ["", "CSRF_USE_SESSIONS = True\nSESSION_COOKIE_SAMESITE = 'Strict'"]
)
def test_a_person_connects_and_disconnects_without_our_pages(
    tmp_path: Path, page: Any, settings: str
) -> None:
    def run(*blocks: str) -> Any:
        return page.evaluate(f"async () => {{ {' '.join([CALL, CONNECT, *blocks])} }}")

    with running_site(tmp_path, settings) as (port, _):
        site = f"http://127.0.0.1:{port}"
        sign_in(page, site)
        page.goto(f"{site}/teams/?from=here")
        assert run("return [accounts.length, providers[0].alias];") == [0, "badgr"]

        run("setTimeout(() => connect('badgr'));")
        page.wait_for_url("**/badgr/**")
        sign_in_there(page)
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url(f"{site}/teams/?from=here")

        told = run("return accounts.map((a) => [a.service, a.state]);")
        assert told == [["Badgr", "connected"]]
        ended = run(
            "const account = accounts[0], show = () => {};", DISCONNECT, "return revocation;"
        )
        assert (ended["outcome"], ended["by_hand"]) == ("pending", False)
        assert run("return accounts.length;") == 0

        known = "const field = { value: 'no name' }, all = [], mark = (...it) => all.push(it);"
        marked = run(known, WRONG, "return all;")
        assert [pointer for pointer, _ in marked] == ["/inputs/account"]
