"""A person with a browser: at the site's own pages, and at an authorization server."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import requests
from django.test import Client


class Refused(Exception):
    """A page that is not the way on: its status, and what it says."""

    def __init__(self, response: Any) -> None:
        text = re.sub(r"<[^>]*>|\\s+", " ", response.content.decode())
        self.status, self.text = response.status_code, " ".join(text.split())
        super().__init__(f"{self.status} {self.text}")


def allow(url: str) -> str:
    """The way through an authorization server that asks nobody: where it sends the browser."""
    return requests.get(url, allow_redirects=False, timeout=30).headers["Location"]


class Person:
    """A signed-in person at ``alias`` of the site. ``decide`` goes through the pages of an
    authorization server and returns the callback's URL."""

    def __init__(
        self,
        user: Any,
        alias: str,
        *,
        site: str = "http://testserver",
        decide: Callable[[str], str] = allow,
    ) -> None:
        self.user, self.site, self.decide = user, site, decide
        self.connect_page = f"/connections/{alias}/connect/"
        self.browser = Client(headers={"host": urlsplit(site).netloc})
        self.browser.force_login(user)

    def connect(self, server: str, **entered: str) -> Any:
        """Name the server, see where it leads, go there, and come back; the account. Raises
        Refused."""
        return self._go(self.connect_page, server=server, **entered)

    def give_more(self, address: str) -> Any:
        """Follow the way to more permissions; the account. Raises Refused."""
        return self._go(urlsplit(address).path, **self._shown(self._get(address)))

    def see_way(self, path: str = "", **data: Any) -> Any:
        """The page that says where a named server leads. Raises Refused."""
        page = self.browser.post(path or self.connect_page, data, secure=self._is_secure)
        if page.status_code != 200 or b'name="issuer"' not in page.content:
            raise Refused(page)
        return page

    def _go(self, path: str, **data: Any) -> Any:
        from connected_accounts.models import ConnectedAccount

        shown = self._shown(self.see_way(path, **data))
        left = self.browser.post(path, {**shown, **data}, secure=self._is_secure)
        if left.status_code != 303:
            raise Refused(left)
        back = self.decide(left["Location"])
        done = self._get(back.removeprefix(self.site))
        if done.status_code != 303:
            raise Refused(done)
        return ConnectedAccount.objects.for_user(self.user).latest("connected_at")

    @property
    def _is_secure(self) -> bool:
        return self.site.startswith("https:")

    def _get(self, path: str) -> Any:
        return self.browser.get(path, secure=self._is_secure)

    def _shown(self, page: Any) -> dict[str, list[str]]:
        """The hidden fields of a page's form."""
        reader = _Hidden()
        reader.feed(page.content.decode())
        return reader.fields


class _Hidden(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        name = of.get("name") or ""
        if tag == "input" and of.get("type") == "hidden" and "csrf" not in name:
            self.fields.setdefault(name, []).append(of.get("value") or "")
