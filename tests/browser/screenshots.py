"""``python -m tests.browser.screenshots [folder]``: a picture of every page, for the documentation.

The example site is started with the sandbox, filled with accounts in every state, and looked at in
Chromium: wide, narrow and dark.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from example_project.processes import ROOT
from tests.browser.browsing import agree, chromium, run_there, running_site, sign_in, sign_in_there

FOLDER = ROOT / "docs" / "images"
# What staff look at is wider than what people do.
WIDE = {"width": 1440, "height": 900}
ACCOUNTS = "/admin/connected_accounts/connectedaccount/"
SETTINGS = """
ROOT_URLCONF = "tests.browser.showcase"
CONNECTED_ACCOUNTS["PROVIDERS"]["badgr"]["OPTIONAL_SCOPES"] = ["rw:backpack"]
"""
LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1000, "height": 700}},
    "mobile": {"viewport": {"width": 360, "height": 740}},
    "dark": {"viewport": {"width": 1000, "height": 700}, "color_scheme": "dark"},
}
FILL = """
from datetime import timedelta
from django.utils import timezone
from connected_accounts.models import (ConnectedAccount, Event, Kind, ProviderClient)
from connected_accounts.models import (ProviderState, Revocation)
import uuid
now = timezone.now()
rows = ConnectedAccount.objects
badgr, bitbadges = rows.get(provider="badgr"), rows.get(provider="bitbadges")
rows.filter(pk=badgr.pk).update(connected_at=now - timedelta(days=90), refreshed_at=now)
rows.filter(pk=bitbadges.pk).transition(status="reconnect_required", reason="revoked")
copied = dict(user=badgr.user, owner_key=badgr.owner_key, connected_at=now - timedelta(days=20),
              client_id="x", endpoint_fingerprint="x", refresh_at=now + timedelta(minutes=3))
rows.create(provider="bime", subject="acme:1", label="acme", failure_count=2,
            last_error="status_503", inputs={"account": "acme"}, scopes_wanted=["write"],
            scopes_requested=["write"], **copied)
Event.objects.filter(provider="badgr").delete()
for days, kind, detail in ((90, Kind.CONNECTED, ""), (41, Kind.REFRESH_FAILED, "status_503"),
                           (40, Kind.RECONNECT_REQUIRED, "revoked"), (39, Kind.REFUSED, "expired"),
                           (38, Kind.RECONNECTED, "")):
    Event.record(kind, badgr, at=now - timedelta(days=days), detail=detail)
for days in range(14):
    for kind, times in ((Kind.CONNECTED, 3 + days * 5 % 7), (Kind.DISCONNECTED, days % 3 == 1)):
        for _ in range(times):
            Event.record(kind, at=now - timedelta(days=days), provider="badgr", owner="x")
for days, times in ((3, 2), (4, 9), (5, 1)):
    for _ in range(times):
        Event.record(Kind.REFRESH_FAILED, at=now - timedelta(days=days), provider="bime", owner="x")
gone = dict(owner_key=badgr.owner_key, client_id="x", endpoint_fingerprint="x", created_at=now)
ProviderState.objects.update_or_create(provider="oidc",
    defaults=dict(paused_until=now + timedelta(hours=1), pause_reason="invalid_client"))
ProviderClient.objects.create(provider="bits", owner_key="site", client_id="entered-here",
    seal_id=uuid.uuid4(), created_at=now)
Revocation.objects.create(provider="oidc", subject="1", label="grace@example.org", attempts=2,
    next_attempt_at=now + timedelta(hours=9), seal_id=uuid.uuid4(), **gone)
Revocation.objects.create(provider="bits", subject="2", label="ada", outcome="revoked",
    finished_at=now, seal_id=uuid.uuid4(), **gone)
"""


@contextmanager
def filled_site(folder: Path, settings: str = "", more: str = "") -> Iterator[tuple[str, Any]]:
    """The site with accounts in every state, and the browser that made them. ``more`` is run there
    afterwards."""
    with running_site(folder, settings) as (port, family), chromium() as browser:
        site = f"http://127.0.0.1:{port}"
        page = browser.new_page()
        sign_in(page, site)
        for name in ("Badgr", "BitBadges"):
            page.get_by_role("button", name=f"Connect to {name}").click()
            agree(page, name)
        page.close()
        run_there(family, FILL + more)
        yield site, browser


def pages_of(page: Any, site: str) -> dict[str, str]:
    """Name and address of every page that a person sees."""
    page.goto(f"{site}/connections/")
    ways = {}
    for link in page.locator(".ca-card a, .ca-card form").all():
        address = link.get_attribute("href") or link.get_attribute("action") or ""
        ways.setdefault(address.rstrip("/").rsplit("/", 1)[-1], address)
    return {
        "connections": "/connections/",
        "connect": "/connections/badgr/connect/",
        "connect-bime": "/connections/bime/connect/",
        "reconnect": ways["reconnect"],
        "disconnect": ways["disconnect"],
        "history": ways["history"].replace("/2/", "/1/"),
        "missing-scopes": "/showcase/missing/",
        "done": "/connections/done/",
    }


def admin_pages() -> dict[str, str]:
    beside = ACCOUNTS.removesuffix("connectedaccount/")
    return {
        "admin": ACCOUNTS,
        "admin-account": f"{ACCOUNTS}1/change/",
        "admin-person": f"{ACCOUNTS}person/user:1/",
        "admin-events": f"{beside}event/?kind__exact=refresh_failed",
        "admin-revocations": f"{beside}revocation/",
        "admin-clients": f"{beside}providerclient/",
        "admin-states": f"{beside}providerstate/",
    }


def take(page: Any, site: str, pages: dict[str, str], to: Callable[[str], Path]) -> None:
    for name, address in pages.items():
        page.goto(site + address)
        page.screenshot(path=to(name), full_page=True)


def as_person(page: Any, site: str, to: Callable[[str], Path]) -> None:
    sign_in(page, site)
    take(page, site, pages_of(page, site), to)
    page.goto(f"{site}/connections/")
    page.locator("form[action$='/1/test/'] button").click()
    page.get_by_role("heading", name="The connection works").wait_for()
    page.screenshot(path=to("test"), full_page=True)
    page.goto(f"{site}/connections/oidc/connect/")
    page.get_by_role("button", name="Go on to OpenID").click()
    sign_in_there(page)
    page.get_by_role("button", name="Deny").click()
    page.get_by_role("link", name="Try again").wait_for()
    page.screenshot(path=to("failure"), full_page=True)


def as_staff(page: Any, site: str, to: Callable[[str], Path]) -> None:
    sign_in(page, site, "admin")
    pages = {
        "connections-empty": "/connections/",
        "admin-connect": f"{ACCOUNTS}connect/?provider=bits",
    }
    take(page, site, pages | admin_pages(), to)
    page.goto(site + ACCOUNTS)
    page.locator("input[name=_selected_action]").first.check()
    page.locator("select[name=action]").select_option("disconnect_and_revoke")
    page.locator("button[name=index]").click()
    page.locator("input[name=confirmed]").wait_for(state="attached")
    page.screenshot(path=to("admin-confirm"), full_page=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        filled_site(Path(scratch), SETTINGS) as (site, browser),
    ):
        for look, options in LOOKS.items():
            wide = options | ({"viewport": WIDE} if look != "mobile" else {})
            for walk, size in ((as_person, options), (as_staff, wide)):
                context = browser.new_context(**size)
                walk(
                    context.new_page(), site, lambda name, look=look: folder / f"{name}-{look}.png"
                )
                context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
