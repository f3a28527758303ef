"""The pages inside a site's own base, with Bootstrap where it is at hand: nothing of the site's is
touched, and the site's colours and widths are those of the pages."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.accessibility import find_axe, scrolls_sideways, violations
from tests.browser.conftest import Site, new_site

pytestmark = pytest.mark.browser

# Enough of Bootstrap to tell whose colours are shown; the whole of it by its folder's name.
LIKE_BOOTSTRAP = """
:root { --bs-primary: #6610f2; --bs-body-color: #212529; --bs-body-bg: #fff; }
body { margin: 0; background-color: var(--bs-body-bg); color: var(--bs-body-color); }
.container { max-width: 960px; margin: 0 auto; padding: 0 12px; }
"""
BASE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}Our school{% endblock %}</title>
<link rel="stylesheet" href="/static/school.css"></head>
<body><header class="container">Our school</header>
<main class="container">{% block content %}{% endblock %}</main>
<footer class="container" id="foot">Imprint</footer></body></html>"""
OURS = """
:root { --ca-accent: var(--bs-primary); --ca-on-accent: #fff; --ca-width: none; --ca-margin: 0;
        --ca-padding: 0; }
"""


@pytest.fixture(scope="module")
def school(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("school")
    templates, static = folder / "templates", folder / "static"
    (templates / "connected_accounts").mkdir(parents=True)
    static.mkdir()
    (templates / "school.html").write_text(BASE)
    (templates / "connected_accounts/base.html").write_text('{% extends "school.html" %}')
    given = os.environ.get("CONNECTED_ACCOUNTS_BOOTSTRAP")
    bootstrap = Path(given).read_text("utf-8") if given else LIKE_BOOTSTRAP
    (static / "school.css").write_text(bootstrap + OURS)
    settings = f"""
TEMPLATES[0]["DIRS"] = [{str(templates)!r}]
STATICFILES_DIRS = [{str(static)!r}]
"""
    with new_site(browser, folder, settings) as site:
        yield site


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_light_site_stays_as_it_is_in_every_browser(
    school: Site, scheme: str, width: int
) -> None:
    page = school.person(color_scheme=scheme, viewport={"width": width, "height": 800})
    style = "e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor]; }"
    assert page.locator("body").evaluate(style) == ["rgb(33, 37, 41)", "rgb(255, 255, 255)"]
    assert page.locator("#foot").evaluate(style)[0] == "rgb(33, 37, 41)"
    assert page.title() == "Connected accounts"
    text = page.locator(".ca-page").evaluate(style)[0]
    assert text == "rgb(27, 31, 36)"  # the light one, on the site's white
    button = page.locator(".ca-services button").first
    accent = page.evaluate(
        "() => { const t = document.createElement('i'); t.style.color = 'var(--bs-primary)';"
        " document.body.append(t); return getComputedStyle(t).color; }"
    )
    assert button.evaluate(style)[1] == accent
    wide = "e => e.getBoundingClientRect().width"
    inner = page.locator("main").evaluate(
        "e => { const s = getComputedStyle(e);"
        " return e.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight); }"
    )
    assert abs(page.locator(".ca-page").evaluate(wide) - inner) < 2
    assert not scrolls_sideways(page)
    assert violations(page, find_axe(), ".ca-page") == []
    page.context.close()
