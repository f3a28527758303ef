"""Builds the wheel, and follows docs/quickstart.md word for word, in an empty folder.

Besides what the page says: ``pip`` finds the wheel that was just built, the terminals' environment
names a Redis and the addresses of GitHub and Badgr (a sandbox, in a process of its own), and
another port than 8000 is written behind ``runserver``, as the page allows.
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

REFRESHED_WITHIN = 150.0  # seconds: tokens live for a minute, and beat looks each minute
AT_THE_PROVIDER = ("grace", "grace")
BLANKS = {
    f"{name}_{what}": value
    for name, client in (("GITHUB", "github-demo"), ("BADGR", "badgr-demo"))
    for what, value in (("CLIENT_ID", client), ("CLIENT_SECRET", f"{client}-secret"))
}


class Rehearsal:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.began = time.monotonic()
        self.site_folder = folder / "site"
        self.site_folder.mkdir()
        self.port = servers.free_port()
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
        elsewhere = servers.ELSEWHERE.format(sandbox=self.sandbox)
        (self.site_folder / "elsewhere.py").write_text(elsewhere, encoding="utf-8")
        self.reader = Reader(self.site_folder, plain, BLANKS, self.port, self.say)
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
            if block.title == "a third terminal":
                self.connect("GitHub", "github")
                self.connect("Badgr", "badgr")

    def look_after(self, block: Block) -> None:
        """Whether what the page says of a block is so."""
        reader = self.reader
        if "manage.py check" in block.text:
            terminal = reader.terminal("terminal")
            for module in ("elsewhere", "yoursite.settings"):
                shown = terminal.type(f"DJANGO_SETTINGS_MODULE={module} python manage.py check")
                assert "no issues" in shown, shown
        if "name_at_github(" in block.text and block.is_typed:
            assert reader.last.splitlines()[-1] == AT_THE_PROVIDER[0], reader.last
            self.say(f"get_session(account) called GitHub's API: “{AT_THE_PROVIDER[0]}”")

    def connect(self, name: str, alias: str) -> None:
        """As the page says it: open, sign in, press, agree; in a browser without a screen."""
        browser = self.stack.enter_context(Browsing()).browser
        page = browser.open(f"{self.site}/connections/")
        browser.send(page.form(control="password"), username=SITE_USER[0], password=SITE_USER[2])
        assert browser.page.url == f"{self.site}/connections/", browser.page.url
        assert f"Connect to {name}" in browser.page.text, browser.page.text
        browser.send(browser.page.form(action=f"/connections/{alias}/connect/"))
        assert browser.page.url.startswith(self.sandbox), browser.page.url
        login, password = AT_THE_PROVIDER
        browser.send(browser.page.form(control="password"), username=login, password=password)
        browser.send(browser.page.form(control="allow"), press="allow")
        assert browser.page.url == f"{self.site}/connections/", browser.page.url
        assert f"{name} is connected." in browser.page.text, browser.page.text
        self.say(f"browser: “{name} is connected.”")

    def wait_for_refresh(self) -> None:
        ends = time.monotonic() + REFRESHED_WITHIN
        while servers.refreshes(self.sandbox, "badgr") == 0:
            assert time.monotonic() < ends, self.reader.terminal("a third terminal").shown()
            time.sleep(0.5)
        self.say("worker and beat have renewed Badgr's token")

    def report(self, blocks: list[Block], seconds: float) -> None:
        reader = self.reader
        steps = [step for step in dict.fromkeys(block.step for block in blocks) if step]
        settings = reader.written["yoursite/settings.py"]
        github = max(len(block.lines) for block in blocks if "settings.py" in block.title)
        print(
            f"{len(steps)} steps: {reader.typed} commands typed, {reader.filled_in} blanks filled "
            f"in, {sum(reader.written.values())} lines in {len(reader.written)} files, of them "
            f"{settings} of settings ({github} describe GitHub). Connected and called in "
            f"{seconds:.0f} s, with what pip downloads."
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
        seconds = time.monotonic() - began
        rehearsal.wait_for_refresh()
        rehearsal.report(blocks, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
