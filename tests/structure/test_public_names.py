"""What a site may import: the names of the modules on the compatibility page."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.doc_pages import DOCS, PACKAGE, ROOT, TEXTS, names, page, section, table

ROWS = table("reference/compatibility.md", "What is public")
MODULES = ["connected_accounts"] + [
    f"{names(row['Package'])[0]}.{name}" for row in ROWS for name in names(row["Modules"])
]
PUBLIC: dict[str, list[str]] = {name: importlib.import_module(name).__all__ for name in MODULES}
REFERENCE = "\n".join(
    path.read_text("utf-8")
    for path in sorted((DOCS / "reference").glob("*.md"))
    if path.name != "compatibility.md"
)


def modules_with_all() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if re.search(r"^__all__ = ", path.read_text("utf-8"), re.MULTILINE):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.add(".".join(part for part in parts if part != "__init__"))
    return found


# They have an __all__ for what others of the package take from them.
INNER = {"connected_accounts.testing.conformance.contract"}


def test_every_module_with_an_all_is_public_or_known_to_be_inner() -> None:
    assert sorted(modules_with_all() - INNER) == sorted(MODULES)


@pytest.mark.parametrize("module", PUBLIC)
def test_a_star_import_gives_exactly_the_public_names(module: str) -> None:
    given: dict[str, Any] = {}
    exec(f"from {module} import *", given)
    assert sorted(set(given) - {"__builtins__"}) == sorted(PUBLIC[module])  # none twice


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, found in PUBLIC.items() for name in found]
)
def test_a_public_name_is_in_the_reference(module: str, name: str) -> None:
    own = name == "__version__"  # whose place is the page itself
    text = section("reference/compatibility.md", "Versions") if own else REFERENCE
    shown = rf"`(?:[\w.]+\.)?{name}(?:\(.*?\))?`|^## {name}$"
    assert re.search(shown, text, re.MULTILINE), f"{module}.{name}"


def test_every_object_in_the_public_modules_says_what_it_is() -> None:
    silent = []
    for module, found in PUBLIC.items():
        for name in found:
            thing = getattr(importlib.import_module(module), name)
            written = getattr(thing, "__module__", "") or ""
            if callable(thing) and written.startswith("connected_accounts") and not thing.__doc__:
                silent.append(f"{module}.{name}")
    assert silent == []


def imports(text: str) -> set[tuple[str, str]]:
    """Module and name of each import from the package in a text."""
    found = set()
    pattern = r"^\s*from (connected_accounts[\w.]*) import (\([^)]*\)|.+)$"
    for module, listed in re.findall(pattern, text, re.MULTILINE):
        for name in re.findall(r"\w+", re.sub(r"#.*| as \w+", "", listed)):
            found.add((module, name))
    return found


SITES = sorted((ROOT / "example_project").rglob("*.py"))


@pytest.mark.parametrize("path", [*TEXTS, *SITES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_examples_import_is_public(path: Path) -> None:
    used = imports(path.read_text("utf-8"))
    hidden = {(module, name) for module, name in used if name not in PUBLIC.get(module, [])}
    # A submodule is taken from its package.
    assert {pair for pair in hidden if ".".join(pair) not in PUBLIC} == set()


def test_dotted_names_of_classes_in_the_how_to_pages_are_public() -> None:
    for path in (DOCS / "how-to").glob("*.md"):
        for dotted in re.findall(r"\bconnected_accounts(?:\.\w+)+\.[A-Z]\w+", path.read_text()):
            module, _, name = dotted.rpartition(".")
            assert name in PUBLIC.get(module, []), f"{path.name}: {dotted}"


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert "py.typed" in page("reference/compatibility.md")


def test_the_typed_site_uses_every_public_name() -> None:
    """It is what mypy and pyright see: ``python -m tests.typed_host``."""
    site = ROOT / "tests/typed_host/typed_site"
    used = set().union(*(imports(path.read_text("utf-8")) for path in site.glob("*.py")))
    apart = {
        ("connected_accounts", "__version__"): "connected_accounts.__version__",
        ("connected_accounts.urls", "app_name"): "connections.app_name",
        ("connected_accounts.urls", "urlpatterns"): "connections.urlpatterns",
    }
    text = "".join(path.read_text("utf-8") for path in site.glob("*.py"))
    used |= {pair for pair, words in apart.items() if words in text}
    assert {(module, name) for module, found in PUBLIC.items() for name in found} <= used
