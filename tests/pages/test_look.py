"""A site's own look: one block, its base and its colour; and a strict Content-Security-Policy."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.translation import override

from connected_accounts.models import ConnectedAccount
from tests.docs.doc_pages import PACKAGE

pytestmark = pytest.mark.django_db

CSS = (PACKAGE / "static/connected_accounts/connected_accounts.css").read_text("utf-8")
TEMPLATES = sorted((PACKAGE / "templates").rglob("*.html"))


@pytest.fixture
def host(settings: Any, tmp_path: Path) -> Callable[[str, str], None]:
    """Templates of a site: ``host("base.html", "…")``."""
    changed = copy.deepcopy(settings.TEMPLATES)
    changed[0]["DIRS"] = [tmp_path]
    settings.TEMPLATES = changed

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_a_site_overrides_one_block_and_the_accent_colour(
    host: Callable[[str, str], None], client_of_ada: Client
) -> None:
    host(
        "connected_accounts/list.html",
        '{% extends "connected_accounts/list.html" %}{% block introduction %}Ours.{% endblock %}'
        '{% block css %}{{ block.super }}<link rel="stylesheet" href="/ours.css">{% endblock %}',
    )
    text = client_of_ada.get("/connections/").content.decode()
    assert "Ours." in text
    assert "Services that this site may use" not in text
    assert "Nothing is connected yet." in text
    # Ours comes after the app's sheet, whose colours are custom properties: the later one wins.
    assert text.index("ours.css") > text.index("connected_accounts.css")


def test_one_line_puts_the_pages_into_the_sites_own_base(
    host: Callable[[str, str], None], account: ConnectedAccount, client_of_ada: Client
) -> None:
    host(
        "site.html",
        "<title>{% block title %}Ours{% endblock %}</title><p>Our header</p>"
        "{% block content %}{% endblock %}",
    )
    host("connected_accounts/base.html", '{% extends "site.html" %}')
    paths = ["", "badgr/connect/", "done/"]
    paths += [f"{account.pk}/{page}/" for page in ("reconnect", "disconnect", "history")]
    for path in paths:
        text = client_of_ada.get(f"/connections/{path}").content.decode()
        assert "Our header" in text
        _, _, inside = text.partition('<div class="ca-page"')
        assert "<h1" in inside, path
        assert text.index("connected_accounts.css") < text.index('<div class="ca-page"')
        assert "<title>Ours<" not in text


@pytest.mark.parametrize("shown_by_base", [True, False])
def test_a_message_is_shown_once_by_the_base_or_by_the_page(
    host: Callable[[str, str], None],
    account: ConnectedAccount,
    client_of_ada: Client,
    shown_by_base: bool,
) -> None:
    theirs = "{% for message in messages %}<b>{{ message }}</b>{% endfor %}" * shown_by_base
    host("connected_accounts/base.html", theirs + "{% block content %}{% endblock %}")
    client_of_ada.get("/connections/")  # what connecting said
    client_of_ada.post(f"/connections/{account.pk}/disconnect/")
    text = client_of_ada.get("/connections/").content.decode()
    assert text.count("Badgr is disconnected.") == 1


def test_every_colour_is_a_custom_property() -> None:
    given = re.findall(r"var\(--ca-[a-z-]+, (?:light-dark\([^)]*\)|#[0-9a-f]+)\)", CSS)
    rest = re.sub("|".join(map(re.escape, given)), "", CSS).replace("light-dark(#000, #fff)", "")
    assert re.findall(r"#[0-9a-fA-F]{3,6}\b", rest) == []
    names = [re.search(r"--ca-[a-z-]+", one)[0] for one in given]  # type: ignore[index]
    assert names == sorted(set(names), key=names.index) * 2  # a light set, and a light and dark one


def test_the_sheet_touches_nothing_outside_its_own_elements() -> None:
    selectors = re.findall(r"^(?! )([^@{}\n/]+)\{", CSS, re.MULTILINE)
    assert [one for one in selectors if ".ca-" not in one] == []
    for one in selectors:
        for part in re.sub(r"\([^)]*\)", "", one).split(","):
            assert part.strip().startswith((".ca-", ":where", ":is")), one


@pytest.mark.parametrize(
    ("language", "words", "direction"),
    [("de", "de", "ltr"), ("en", "en", "ltr"), ("ar", "en", "ltr"), ("he", "en", "ltr")],
)
def test_language_and_direction_are_those_of_the_words(
    client_of_ada: Client,
    host: Callable[[str, str], None],
    language: str,
    words: str,
    direction: str,
) -> None:
    """Arabic has no catalogue of ours: its words are English, and not turned round."""
    host("connected_accounts/base.html", "{% block content %}{% endblock %}")
    with override(language):
        text = client_of_ada.get("/connections/").content.decode()
    assert f'<div class="ca-page" lang="{words}" dir="{direction}">' in text


def test_the_sheet_names_no_side_of_the_page() -> None:
    """Left and right change places in a right-to-left language."""
    assert re.findall(r"[a-z-]*(?:left|right)[a-z-]*\s*:", CSS) == []


def test_nothing_moves_for_those_who_asked_for_less_motion() -> None:
    still, _, moving = CSS.partition("@media (prefers-reduced-motion: no-preference) {")
    moving, _, rest = moving.partition("\n}")
    assert "transition" in moving
    assert re.findall(r"transition|animation|scroll-behavior", still + rest) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_a_script_or_a_style_in_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=\"|javascript:", text) == []
    assert re.findall(r"<script(?! src=)", text) == []
