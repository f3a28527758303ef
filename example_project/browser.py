"""A person's browser without a screen: follows links, fills in forms, keeps cookies."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)


class BadPage(Exception):
    """A page that a person could not go on from."""


@dataclass
class Form:
    """What a form would send, and the buttons that it could be sent with."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """The forms, links and texts of a page."""

    def __init__(self, url: str, source: str) -> None:
        super().__init__()
        self.url = url
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.words_by_id: dict[str, list[str]] = {}
        self._open: list[tuple[str, str]] = []
        self._in_form = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append((tag, values.get("id", "")))
        if tag == "a" and "href" in values:
            self.links.append(urljoin(self.url, values["href"]))
        elif tag == "form":
            self._in_form = True
            action = urljoin(self.url, values.get("action", ""))
            self.forms.append(Form(action, values.get("method", "get").lower()))
        elif self._in_form and "name" in values:
            self._add_control(tag, values)

    def _add_control(self, tag: str, values: dict[str, str]) -> None:
        form, name, value = self.forms[-1], values["name"], values.get("value", "")
        kind = values.get("type", "text" if tag == "input" else "submit").lower()
        if tag == "button" or kind == "submit":
            form.buttons[name] = value
        elif tag == "input" and (kind not in ("checkbox", "radio") or "checked" in values):
            form.fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        # Some end tags may be left out: what is open inside ends too.
        while any(name == tag for name, _ in self._open) and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if any(name in ("script", "style") for name, _ in self._open):
            return
        self.words += data.split()
        for _, identifier in self._open:
            if identifier:
                self.words_by_id.setdefault(identifier, []).extend(data.split())

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def text_of(self, identifier: str) -> str:
        """The text of the element with that id; empty where there is none."""
        return " ".join(self.words_by_id.get(identifier, []))

    def form(self, *, action: str = "", control: str = "") -> Form | None:
        """The first form whose address ends with ``action`` and that has ``control``."""
        for form in self.forms:
            if form.action.endswith(action) and control in {"", *form.fields, *form.buttons}:
                return form
        return None

    def links_to(self, start: str) -> set[str]:
        """The links whose address begins with ``start``."""
        return {link for link in self.links if link.startswith(start)}


class Browser:
    """One person's browser. ``page`` is what it shows."""

    def __init__(self) -> None:
        self.session = requests.Session()
        # Straight to the demo's own servers, whatever proxy the environment names.
        self.session.trust_env = False
        self.page = Page("about:blank", "")

    def open(self, url: str) -> Page:
        return self._show(self.session.get(url, timeout=60))

    def send(self, form: Form | None, *, press: str = "", **fields: str) -> Page:
        """Fill in ``fields``, press the button of that name, and follow where that leads."""
        if form is None:
            raise BadPage(f"{self.page.url} has not the form that was looked for: {self._words()}")
        data = form.fields | fields
        if press:
            data[press] = form.buttons[press]
        if form.method == "post":
            return self._show(self.session.post(form.action, data=data, timeout=60))
        return self._show(self.session.get(form.action, params=data, timeout=60))

    def _show(self, response: requests.Response) -> Page:
        self.page = Page(response.url, response.text)
        if response.status_code >= 400:
            where = response.url.partition("?")[0]  # what follows may be a code
            raise BadPage(f"{where} answered {response.status_code}: {self._words()}")
        return self.page

    def _words(self) -> str:
        return self.page.text[:300]
