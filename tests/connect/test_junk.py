"""Odd queries at the callback: a page that says so, and the flow stays open. ``make fuzz`` sends a
hundred thousand more (``tests/security/test_fuzz.py``)."""

from collections import Counter
from typing import Any

import pytest

from connected_accounts.testing import FakeProvider
from tests.journeys import query_of, start
from tests.junk import Flow, Input, send
from tests.people import Browser

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unlimited")]


@pytest.fixture
def browser(ada: Any) -> Browser:
    return Browser(ada)


@pytest.fixture
def flow(browser: Browser) -> Flow:
    state = query_of(start(browser))["state"]
    session = browser.cookies["sessionid"].value
    return Flow(session, state, browser.cookies["connected_accounts_token"].value)


@pytest.mark.parametrize(
    "query",
    [
        "code=a&code=b&state={state}",
        "code=a&state={state}&state={state}",
        "code=a&state={state}&iss=a&iss=a",
        "error=a&error=b&state={state}",
        "code=a&error=access_denied&state={state}",
        "code=a&error_description=b&error_description=c&state={state}",
        "code=%00&state={state}",
        "code=%0d%0a&state={state}",
        "code=%7f&state={state}",
        "code=%ed%a0%80&state={state}",
        "code=%ff&state={state}%ff",
        "code=a&state={state}%00",
        "code=" + "a" * 4097 + "&state={state}",
        "code=a&state=" + "a" * 8192,
        "x=" + "a" * 8192 + "&state=a",
        "&".join(f"a{n}=b" for n in range(1100)) + "&state={state}&code=a",
        "code=a&state=null",
        "code=a&state=undefined",
        "state[]={state}&code[]=a",
        "code=a;state={state}",
    ],
)
def test_an_odd_query_is_a_400_page_and_leaves_the_flow_open(
    browser: Browser, flow: Flow, badgr: FakeProvider, query: str
) -> None:
    seen: Counter[int] = Counter()
    cookies = f"sessionid={flow.session}; connected_accounts_token={flow.cookie}"
    assert send(browser, Input(query.format(state=flow.state), cookies), seen) == 400
    assert badgr.requests == []
    params = badgr.authorize(start(browser), subject="ada")
    assert (
        send(browser, Input(f"code={params['code']}&state={params['state']}", cookies), seen) == 303
    )


def test_a_query_with_too_many_parameters_has_our_headers_too(browser: Browser, flow: Flow) -> None:
    query = "&".join(f"a{n}=b" for n in range(1100)) + f"&state={flow.state}&code=a"
    browser.raise_request_exception = False
    response = browser.get(f"/connections/badgr/callback/?{query}")
    assert response.status_code == 400
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store, private"
