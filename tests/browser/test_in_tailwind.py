"""The pages in a site made with Tailwind: its own command builds the style sheet from the lines of
the documentation, and its reset is in force."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.accessibility import find_axe, scrolls_sideways, violations
from tests.browser.browsing import agree
from tests.browser.conftest import Site, new_site
from tests.docs.doc_pages import DOCS, blocks

pytestmark = pytest.mark.browser

BASE = """<!doctype html><html lang="en" class="scheme-light-dark"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}Our school{% endblock %}</title>
<link rel="stylesheet" href="/static/school.css"></head>
<body class="bg-white text-slate-800 dark:bg-slate-900 dark:text-slate-100">
<header class="mx-auto max-w-3xl p-4 text-xl font-semibold">Our school</header>
<main class="px-4">{% block content %}{% endblock %}</main>
<footer class="mx-auto max-w-3xl p-4 text-sm" id="foot">Imprint</footer></body></html>"""


def build(folder: Path) -> str:
    """What Tailwind makes of the site's templates and the lines of the documentation."""
    given = os.environ.get("CONNECTED_ACCOUNTS_TAILWIND", "")
    node = shutil.which("node")
    if node is None or not given:
        pytest.skip("service: CONNECTED_ACCOUNTS_TAILWIND names no node_modules with Tailwind")
    page = blocks(DOCS / "how-to/bootstrap-and-tailwind.md", "css")
    (ours,) = [block.text for block in page if "--color-indigo" in block.text]
    (folder / "node_modules").symlink_to(given)
    (folder / "site.css").write_text(f'@import "tailwindcss";\n@source "./templates";\n{ours}')
    command = [node, f"{given}/@tailwindcss/cli/dist/index.mjs", "-i", "site.css", "-o", "out.css"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return (folder / "out.css").read_text()


@pytest.fixture(scope="module")
def school(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("school")
    templates, static = folder / "templates", folder / "static"
    (templates / "connected_accounts").mkdir(parents=True)
    static.mkdir()
    (templates / "school.html").write_text(BASE)
    (templates / "connected_accounts/base.html").write_text('{% extends "school.html" %}')
    (static / "school.css").write_text(build(folder))
    settings = f"""
TEMPLATES[0]["DIRS"] = [{str(templates)!r}]
STATICFILES_DIRS = [{str(static)!r}]
"""
    with new_site(browser, folder, settings) as site:
        yield site


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_look_like_the_site_in_light_and_dark(
    school: Site, scheme: str, width: int
) -> None:
    page = school.person(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.locator("form[action$='/connections/badgr/connect/'] button").click()
    agree(page, "Badgr")
    button = page.locator(".ca-services button").first
    look = "(e, what) => getComputedStyle(e)[what]"
    heading = page.locator(".ca-page h1").evaluate(look, "fontSize")
    assert float(heading.removesuffix("px")) > 20, "the reset makes it 16"
    assert page.locator(".ca-page").evaluate(look, "fontFamily") == page.locator("body").evaluate(
        look, "fontFamily"
    )
    assert button.evaluate(look, "borderRadius") == "6px"  # --radius-md
    assert page.locator(".ca-page").evaluate("e => e.offsetWidth") <= 768  # --container-3xl
    text = page.locator(".ca-page").evaluate(look, "color")
    assert text == {"light": "rgb(27, 31, 36)", "dark": "rgb(230, 237, 243)"}[scheme]
    assert page.locator(".ca-scopes ul").first.evaluate(look, "listStyleType") == "disc"
    assert not scrolls_sideways(page)
    assert violations(page, find_axe(), ".ca-page") == []
    page.context.close()
