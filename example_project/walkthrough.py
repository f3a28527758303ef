"""The demo as one person lives it, over HTTP: sign in, connect, be kept connected, disconnect."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from example_project.browser import BadPage, Browser
from example_project.processes import ChildFailed
from example_project.stack import Stack
from example_project.walked import CODE, Service, services

POLL: Final = 0.25
REFRESH_WITHIN: Final = 90.0  # seconds; a token is refreshed 30 s after it was given, or later
REVOKE_WITHIN: Final = 60.0
SITE_LOGIN: Final = ("demo", "demo")
SANDBOX_LOGIN: Final = ("ada", "ada")


class StepFailed(Exception):
    """Which step did not work, and why."""


@dataclass
class Walkthrough:
    """``still_running`` raises ChildFailed when one of the servers has ended."""

    say: Callable[[str], None]
    still_running: Callable[[], None]
    started: float
    browser: Browser = field(default_factory=Browser)
    site: str = ""
    sandbox: str = ""

    def run(self, stack: Stack) -> None:
        self.site, self.sandbox = stack.site, stack.sandbox
        walked = services(self.sandbox, stack.mcp)
        self.sign_in()
        for service in walked:
            self.connect(service)
        for service in walked:
            if service.renewed_by:
                self.wait_for_renewal_of(service)
        for service in walked:
            self.call_api(service)
        for service in walked:
            self.disconnect(service)
        for service in walked:
            if service.revokes:
                self.wait_for_revocation(service)
            else:
                self.read_that_it_must_be_removed(service)

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """One step. What is put into the list is told behind the title."""
        details: list[str] = []
        try:
            yield details
        except (BadPage, ChildFailed, requests.RequestException) as error:
            raise StepFailed(f"{title}: {error}") from error
        self.tell(": ".join([title, *details]))

    def tell(self, text: str) -> None:
        self.say(f"{time.monotonic() - self.started:6.1f} s  {text}")

    def sign_in(self) -> None:
        with self.step("signed in to the site") as details:
            name, password = SITE_LOGIN
            self.browser.open(f"{self.site}/accounts/login/?next=/")
            form = self.browser.page.form(control="password")
            self.browser.send(form, username=name, password=password)
            self.expect(f"Hello {name}")
            details.append(name)

    def connect(self, service: Service) -> None:
        if service.renewed_by == "":
            self.make_personal_token(service)
        with self.step(f"{service.name}: pressed Connect"):
            before = self.browser.open(f"{self.site}/").links_to(f"{self.site}/accounts/")
            action = f"/connections/{service.alias}/connect/"
            self.browser.send(self.browser.page.form(action=action))
        if service.fields:
            with self.step(f"{service.name}: entered {', '.join(service.fields)}"):
                asked = self.browser.page.form(action=action, control=next(iter(service.fields)))
                self.browser.send(asked, **service.fields)
        way = self.browser.page.form(action=action, control="issuer")
        if way is not None:
            with self.step(f"{service.name}: saw where the server leads, and went on"):
                self.browser.send(way)
        if service.way == CODE:
            self.agree(service)
        with self.step(f"{service.name}: connected") as details:
            self.expect_at(self.site)
            self.expect(f"{service.name} is connected.")
            new = self.browser.page.links_to(f"{self.site}/accounts/") - before
            if len(new) != 1:
                raise BadPage(f"{len(new)} new accounts on the home page")
            service.account = new.pop()
            service.connected_at = time.monotonic()
            details.append(f"“{service.name} is connected.”")

    def agree(self, service: Service) -> None:
        with self.step(f"{service.name}: agreed at the sandbox") as details:
            self.expect_at(self.sandbox)
            login = self.browser.page.form(control="password")
            if login is not None:
                name, password = SANDBOX_LOGIN
                self.browser.send(login, username=name, password=password)
                details.append(f"after signing in as {name}")
            self.browser.send(self.browser.page.form(control="allow"), press="allow")

    def make_personal_token(self, service: Service) -> None:
        """As a person does, on the service's own page; it is shown there once."""
        with self.step(f"{service.name}: made a personal token there"):
            account = service.fields["account"]
            self.browser.open(f"{self.sandbox}/bime/{account}/oauth/applications")
            self.browser.send(self.browser.page.form(control="make"), press="make")
            token = self.browser.page.text_of("personal-token")
            if not token:
                raise BadPage("the page shows no token")
            service.fields["personal_token"] = token

    def wait_for_renewal_of(self, service: Service) -> None:
        """Until beat and the worker have done it, by the word of the sandbox and of the site."""

        def refreshed() -> bool:
            if not self.state(service)["token_requests"][service.renewed_by]:
                return False
            shown = self.browser.open(f"{self.site}/").text_of(f"refreshed-{service.pk}")
            return shown.endswith("UTC")

        with self.step(f"{service.name}: token renewed by beat and worker") as details:
            self.wait_until(refreshed, REFRESH_WITHIN, "the token was not renewed")
            times = self.state(service)["token_requests"][service.renewed_by]
            waited = time.monotonic() - service.connected_at
            details.append(f"{times} at the sandbox, seen {waited:.0f} s after connecting")

    def call_api(self, service: Service) -> None:
        with self.step(f"{service.name}: called its API with the new token") as details:
            page = self.browser.open(service.account)
            if page.text_of("status") != "200":
                raise BadPage(f"the API was not reached: {page.text[:300]}")
            self.expect(service.shown)
            details.append(f"200, “{service.shown}…”")

    def disconnect(self, service: Service) -> None:
        with self.step(f"{service.name}: disconnected") as details:
            self.browser.open(f"{self.site}/")
            address = f"{self.site}/connections/{service.pk}/disconnect/"
            if not self.browser.page.links_to(address):
                raise BadPage("the home page has no link to disconnect")
            self.browser.open(address)
            form = self.browser.page.form(action=f"/connections/{service.pk}/disconnect/")
            self.browser.send(form)
            self.expect(f"{service.name} is disconnected.")
            if service.account in self.browser.open(f"{self.site}/").links:
                raise BadPage("the account is still on the home page")
            details.append(f"“{service.name} is disconnected.”")

    def wait_for_revocation(self, service: Service) -> None:
        with self.step(f"{service.name}: its grant is dead at the sandbox") as details:
            self.wait_until(
                lambda: self.state(service)["alive_grants"] == 0,
                REVOKE_WITHIN,
                "the grant is still alive",
            )
            state = self.state(service)
            if state["revocations"] < 1:
                raise BadPage("it was not revoked")
            details.append(f"alive {state['alive_grants']}, revoked {state['revocations']}")

    def read_that_it_must_be_removed(self, service: Service) -> None:
        def said() -> bool:
            lines = self.browser.open(f"{self.site}/connections/").text
            about = lines.partition("Recently disconnected")[2].partition(service.name)[2]
            return "offers no way to withdraw" in about[:300]

        with self.step(f"{service.name}: the site says that it must be removed there"):
            self.wait_until(said, REVOKE_WITHIN, "the page does not say so")

    def look_back(self) -> None:
        """No token was used twice, and no request was refused on the way."""
        with self.step("no refused and no repeated use of a token at the sandbox"):
            for alias, state in self.states().items():
                if state["failed_token_requests"] or state["reuse_detected"]:
                    raise BadPage(f"{alias}: {state}")

    def states(self) -> dict[str, Any]:
        answer = self.browser.session.get(f"{self.sandbox}/sandbox/state", timeout=60)
        answer.raise_for_status()
        states: dict[str, Any] = answer.json()
        return states

    def state(self, service: Service) -> dict[str, Any]:
        state: dict[str, Any] = self.states()[service.sandbox or service.alias]
        return state

    def expect(self, text: str) -> None:
        page = self.browser.page
        if text not in page.text:
            raise BadPage(f"{page.url.partition('?')[0]} does not say “{text}”: {page.text[:300]}")

    def expect_at(self, base: str) -> None:
        page = self.browser.page
        if not page.url.startswith(f"{base}/"):
            raise BadPage(f"ended at {page.url.partition('?')[0]}: {page.text[:300]}")

    def wait_until(self, question: Callable[[], bool], seconds: float, otherwise: str) -> None:
        ends = time.monotonic() + seconds
        while not question():
            self.still_running()
            if time.monotonic() > ends:
                raise BadPage(f"{otherwise} within {seconds:.0f} s")
            time.sleep(POLL)
