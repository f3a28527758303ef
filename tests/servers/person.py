"""A person with a browser of their own, who signs in at a server and says yes or no."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from tests.servers.listed import CALLBACK, PERSON, Listed

ACCOUNT = {
    "username": PERSON["name"],
    "login": PERSON["name"],
    "email": PERSON["mail"],
    "password": PERSON["password"],
}
SIGN_IN = {"username", "login", "password"}
STEPS = 12


class Form:
    """One form as it stands in a page."""

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.fields: dict[str, str] = {}
        self.boxes: dict[str, list[str]] = {}
        self.buttons: set[tuple[str, str]] = set()


class Page(HTMLParser):
    """The forms of a page and the addresses that it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._open: Form | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        name, kind = values.get("name", ""), values.get("type", "")
        if tag == "form":
            self._open = Form(values.get("action", ""), values.get("method", "get").lower())
            self.forms.append(self._open)
        elif tag == "a":
            self.links.append(values.get("href", ""))
        elif self._open is None or not name or tag not in ("input", "button"):
            return
        elif tag == "button" or kind in ("submit", "button"):
            self._open.buttons.add((name, values.get("value", "")))
        elif kind == "checkbox":
            self._open.boxes.setdefault(name, []).append(values.get("value", "on"))
        else:
            self._open.fields[name] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class Person:
    """Ada. Where she says no at a page that has but links, ``deny`` names part of the link."""

    def __init__(self, entry: Listed) -> None:
        self.entry = entry
        self.browser = requests.Session()

    def close(self) -> None:
        self.browser.close()

    def walk(self, url: str, *, agree: bool = True) -> dict[str, str]:
        """From the authorization URL to the callback; its parameters. Raises AssertionError with
        what she sees instead."""
        answer = self._get(url)
        for _ in range(STEPS):
            location = answer.headers.get("Location")
            if location and answer.is_redirect:
                target = urljoin(answer.url, location)
                if target.startswith(CALLBACK):
                    return dict(_single(parse_qs(urlsplit(target).query)))
                answer = self._get(target)
            else:
                answer = self._press(answer, agree)
        raise AssertionError(f"Still no callback: {answer.url}")

    def _get(self, url: str) -> requests.Response:
        return self._send("GET", url)

    def _send(self, method: str, url: str, **sent: Any) -> requests.Response:
        for cookie in self.browser.cookies:
            # A browser sends these to a loopback address without TLS too.
            cookie.secure = False
        return self.browser.request(method, url, allow_redirects=False, timeout=20, **sent)

    def _press(self, answer: requests.Response, agree: bool) -> requests.Response:
        page = Page(answer.text)
        wanted = self.entry.allow if agree else self.entry.deny
        if not agree and "link" in wanted and not any(SIGN_IN & set(f.fields) for f in page.forms):
            return self._get(
                urljoin(answer.url, next(a for a in page.links if wanted["link"] in a))
            )
        forms = [form for form in page.forms if form.method == "post"]
        if not forms:
            raise Stopped(answer)
        form = next((f for f in forms if SIGN_IN & set(f.fields)), None)
        if form is not None:
            filled = {name: ACCOUNT.get(name, value) for name, value in form.fields.items()}
            data: dict[str, object] = {**filled, **dict(form.buttons)}
        else:
            form = next((f for f in forms if set(wanted.items()) <= f.buttons), forms[0])
            data = {**form.fields, **form.boxes, **wanted}
        target = urljoin(answer.url, form.action)
        headers = {
            "Referer": answer.url,
            "Origin": "{0.scheme}://{0.netloc}".format(urlsplit(target)),
        }
        return self._send("POST", target, data=data, headers=headers)


class Stopped(AssertionError):
    """The way ends at a page of the server, and the site never hears of it."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__(f"{answer.status_code} {answer.url}: {answer.text[:600]}")
        self.answer = answer


def _single(found: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for name, values in found.items():
        assert len(values) == 1, found
        yield name, values[0]
