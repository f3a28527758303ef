"""Builds the wheel, and follows docs/quickstart.md word for word, in an empty folder.

Besides what the page says: ``pip`` finds the wheel that was just built, the terminals' environment
names a Redis and the address of GitHub (a sandbox, in a process of its own), and other ports are
written behind ``runserver``, as the page allows, and ``sandbox``.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from example_project.browser import Browser
from tests.quickstart import servers
from tests.quickstart.page import Block, read
from tests.quickstart.reader import SITE_USER, Reader, plain_environment
from tests.wheel.build import build

RENEWED_WITHIN = 150.0  # seconds: tokens live for a minute
SUBJECT = "ada"  # what the sandbox proposes
AT_GITHUB = ("grace", "grace")
BLANKS = {"GITHUB_CLIENT_ID": "github-demo", "GITHUB_CLIENT_SECRET": "github-demo-secret"}
RENEWED = "1 refreshed, 0 failed"


class Rehearsal:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.began = time.monotonic()
        self.site_folder = folder / "site"
        self.site_folder.mkdir()
        self.port, self.gitlab = servers.free_port(), servers.free_port()
        self.site = f"http://localhost:{self.port}"

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def prepare(self) -> None:
        """What the page takes for granted: a package index that has the wheel, Redis, providers."""
        wheel = build("wheel", self.folder)
        constraint = self.folder / "constraint.txt"
        constraint.write_text(f"django-connected-accounts @ {wheel.as_uri()}\n")
        plain = plain_environment()
        self.sandbox = self.stack.enter_context(servers.sandbox(self.folder, plain, self.site))
        plain["CELERY_BROKER_URL"] = self.stack.enter_context(servers.redis(self.folder))
        plain["PIP_CONSTRAINT"] = str(constraint)
        plain["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        plain["DJANGO_SETTINGS_MODULE"] = "elsewhere"
        elsewhere = servers.ELSEWHERE.format(
            sandbox=self.sandbox, gitlab=self.gitlab, site=self.site
        )
        (self.site_folder / "elsewhere.py").write_text(elsewhere, encoding="utf-8")
        behind = {"runserver": str(self.port), "manage.py sandbox": f"--port {self.gitlab}"}
        self.reader = Reader(self.site_folder, plain, BLANKS, behind, self.say)
        self.stack.callback(self.reader.close)
        self.say(f"{wheel.name} is built, Redis and the providers are running: {self.sandbox}")

    def follow(self, blocks: list[Block]) -> None:
        step = ""
        for block in blocks:
            if block.step != step:
                step = block.step
                self.say(f"— {step}")
            self.reader.follow(block)
            self.look_after(block)

    def look_after(self, block: Block) -> None:
        """Do what the page tells to do elsewhere, and see whether what it says of a block is so."""
        reader = self.reader
        if "manage.py check" in block.text:
            terminal = reader.terminal("terminal")
            for module in ("elsewhere", "yoursite.settings"):
                shown = terminal.type(f"DJANGO_SETTINGS_MODULE={module} python manage.py check")
                assert "no issues" in shown, shown
        if "--every 10" in block.text:
            self.connect_gitlab("/connections/gitlab/connect/")
            self.say("browser: “GitLab is connected.”")
            self.wait_for_renewal(RENEWED)
        if "connections_status" in block.text:
            row = next(line for line in reader.last.splitlines() if line.startswith("gitlab"))
            assert row.split()[1] == "1", reader.last
            self.withdraw()
        if "name_at_gitlab(" in block.text and block.is_typed:
            assert reader.last.splitlines()[-1] == SUBJECT, reader.last
            self.say(f"get_session(account) called GitLab's API: {reader.last.splitlines()[-1]}")
        if block.step.startswith("7") and "refresh_connections" in block.text:
            self.connect_github()
        if " worker " in block.text:
            self.wait_for_worker()

    def wait_for_renewal(self, words: str) -> None:
        self.reader.terminal("a fourth terminal").wait_for(words, RENEWED_WITHIN)
        self.say(f"a fourth terminal: “{words}”")

    def withdraw(self) -> None:
        """At the service, as the page says: then there are a mail, a banner, and a way back."""
        browser = self.stack.enter_context(Browsing()).browser
        page = browser.open(f"http://127.0.0.1:{self.gitlab}/")
        browser.send(page.form(control="answer"), press="answer")
        self.wait_for_renewal(f"To: {SITE_USER[1]}")
        home = self.signed_in(f"{self.site}/").page
        assert "1 connection needs your attention" in home.text, home.text
        (link,) = [link for link in home.links if link.endswith("/reconnect/")]
        self.connect_gitlab(link.removeprefix(self.site), link)
        self.say("browser: the banner led to “GitLab is connected again.”")

    def signed_in(self, address: str) -> Browser:
        """A browser of the user's at an address of the site."""
        browser = self.stack.enter_context(Browsing()).browser
        page = browser.open(f"{self.site}/connections/")
        browser.send(page.form(control="password"), username=SITE_USER[0], password=SITE_USER[2])
        browser.open(address)
        return browser

    def connect_gitlab(self, action: str, address: str = "") -> None:
        browser = self.signed_in(address or f"{self.site}/connections/")
        browser.send(browser.page.form(action=action))
        browser.send(browser.page.form(control="subject"), answer="allow")
        assert browser.page.url == f"{self.site}/connections/", browser.page.url
        assert "GitLab is connected" in browser.page.text, browser.page.text

    def connect_github(self) -> None:
        browser = self.signed_in(f"{self.site}/connections/")
        assert "Connect to GitHub" in browser.page.text, browser.page.text
        browser.send(browser.page.form(action="/connections/github/connect/"))
        assert browser.page.url.startswith(self.sandbox), browser.page.url
        login, password = AT_GITHUB
        browser.send(browser.page.form(control="password"), username=login, password=password)
        browser.send(browser.page.form(control="allow"), press="allow")
        assert "GitHub is connected." in browser.page.text, browser.page.text
        self.say("browser: “GitHub is connected.”")

    def wait_for_worker(self) -> None:
        """Beat and the worker renew what ``refresh_connections`` did before."""
        terminal = self.reader.terminal("a third terminal")
        terminal.shown()
        terminal.wait_for("token: POST /oauth/token 200", RENEWED_WITHIN)
        self.say("worker and beat have renewed GitLab's token")

    def report(self, blocks: list[Block], seconds: float) -> None:
        reader = self.reader
        steps = [step for step in dict.fromkeys(block.step for block in blocks) if step]
        settings = reader.written["yoursite/settings.py"]
        print(
            f"{len(steps)} steps: {reader.typed} commands typed, {reader.filled_in} blanks filled "
            f"in, {sum(reader.written.values())} lines in {len(reader.written)} files, of them "
            f"{settings} of settings. All of it took {seconds:.0f} s, with what pip downloads."
        )


class Browsing:
    """A browser that is closed in the end."""

    def __init__(self) -> None:
        self.browser = Browser()

    def __enter__(self) -> "Browsing":
        return self

    def __exit__(self, *error: object) -> None:
        self.browser.session.close()


def main() -> int:
    blocks = read()
    with tempfile.TemporaryDirectory(prefix="quickstart-") as place, ExitStack() as stack:
        rehearsal = Rehearsal(Path(place), stack)
        rehearsal.prepare()
        began = time.monotonic()
        rehearsal.follow(blocks)
        rehearsal.report(blocks, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
