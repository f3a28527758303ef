"""A site with the sandbox for each module of tests, and a person of one's own for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from example_project.processes import Family
from tests.browser.browsing import chromium, run_there, running_site, sign_in

PEOPLE = 40
MAKE = f"""
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
people = get_user_model()
people.objects.bulk_create(
    people(username=name, password=make_password(name, hasher="md5"))
    for name in (f"person-{{number}}" for number in range({PEOPLE}))
)
"""
# Everything is done under the showcase's strict policy.
SETTINGS = """
MIDDLEWARE = ["tests.browser.showcase.observed", *MIDDLEWARE]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher",
                    "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
"""


@dataclass
class Site:
    """``address`` is that of 127.0.0.1, where the sandbox is, too; ``elsewhere`` is localhost: for
    the browser's cookies another site than the sandbox."""

    port: str
    family: Family
    browser: Any
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def sandbox(self) -> str:
        return self.family.environment["SANDBOX_URL"]

    def person(self, address: str = "", **options: Any) -> Any:
        """The connections page of somebody new, in a browser of their own."""
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(60_000)
        sign_in(page, address or self.address, f"person-{next(self.numbers)}")
        return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@contextmanager
def new_site(browser: Any, folder: Path, settings: str = "") -> Iterator[Site]:
    with running_site(folder, SETTINGS + settings) as (port, family):
        run_there(family, MAKE)
        yield Site(port, family, browser)


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with new_site(browser, tmp_path_factory.mktemp("site")) as found:
        yield found
