"""On every page of the documentation the links, names and examples hold."""

import importlib
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from connected_accounts import conf, tasks
from connected_accounts.providers import registry
from tests.docs.doc_pages import (
    DOCS,
    FOR_AUDITORS,
    IDS,
    PACKAGE,
    PAGES,
    READ_ON_GITHUB,
    ROOT,
    TEXTS,
    code_blocks,
    column,
    page,
    tables,
    without_code,
)


def slug(heading: str) -> str:
    """The anchor of a heading, as the documentation's builder makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_internal_links_lead_somewhere(path: Path) -> None:
    text = without_code(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.is_file(), f"{target} is no file"
        if DOCS in path.parents:
            assert DOCS in other.parents, f"{target} is not part of the site"
            assert path in FOR_AUDITORS or other not in FOR_AUDITORS, f"{target} is not on the site"
        if anchor:
            headings = re.findall(
                r"^#+ (.+)$", without_code(other.read_text("utf-8")), re.MULTILINE
            )
            assert anchor in map(slug, headings), f"{target}: no such heading"


def test_the_navigation_has_every_page_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"[\w/-]+\.md", navigation)) == sorted(
        str(path.relative_to(DOCS)) for path in PAGES
    )


def test_the_first_page_leads_to_every_other() -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)", page("index.md")))
    assert linked == {str(path.relative_to(DOCS)) for path in PAGES} - {"index.md"}


def test_every_picture_is_there_in_each_look_and_its_page_is_shown() -> None:
    taken = {path.stem for path in (DOCS / "images").glob("*.png")}
    shown = set(re.findall(r"images/([\w-]+)\.png", "".join(p.read_text("utf-8") for p in TEXTS)))
    pages = {name.rpartition("-")[0] for name in taken}
    assert taken == {f"{name}-{look}" for name in pages for look in ("desktop", "mobile", "dark")}
    assert {name.rpartition("-")[0] for name in shown} == pages


@pytest.mark.parametrize("path", [*TEXTS, *READ_ON_GITHUB], ids=lambda path: path.name)
def test_every_file_of_the_repository_that_is_named_is_there(path: Path) -> None:
    kept = [child for child in ROOT.iterdir() if not (child / "pyvenv.cfg").exists()]
    folders = "|".join(re.escape(child.name) for child in kept if child.is_dir())
    named = re.findall(rf"`((?:{folders})/[^`\s]*)`", path.read_text("utf-8"))
    for name in named:
        name = name.replace("<alias>", "badgr")
        name = name.partition("::")[0]  # a test of a file
        places = (ROOT, PACKAGE / "templates", PACKAGE / "static", ROOT / "tests")
        assert any((place / name).exists() for place in places), name


def exists(path: str) -> bool:
    """Whether a dotted path is a module, or what is in one."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_every_dotted_path_exists(path: Path) -> None:
    checks = set(column(tables(page("reference/checks.md"))[0], "Id"))
    others = checks | {task.name for task in vars(tasks).values() if hasattr(task, "apply_async")}
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"(?<![\w./-])connected_accounts(?:\.\w+)+", text)):
        assert name in others or name.endswith(".css") or exists(name), f"{name} does not exist"


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_every_check_that_is_named_exists(path: Path) -> None:
    known = {name[-4:] for name in column(tables(page("reference/checks.md"))[0], "Id")}
    assert set(re.findall(r"`([EW]\d{3})`", path.read_text("utf-8"))) <= known


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_examples_in_python_are_python(path: Path) -> None:
    for block in code_blocks(path, "python"):
        # Lines out of a dict, or out of a list.
        lines = block if re.match(r"[a-z@#]|[A-Z_]+(\[.+\])? [+=]", block) else f"{{{block}}}"
        compile(lines, str(path), "exec")


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_what_an_example_imports_is_there(path: Path) -> None:
    for block in code_blocks(path, "python"):
        for line in re.findall(r"^from connected_accounts.* import .*$", block, re.MULTILINE):
            exec(line, {})


@pytest.mark.parametrize("path", TEXTS, ids=IDS)
def test_example_settings_pass_the_checks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in code_blocks(path, "python"):
        if "CONNECTED_ACCOUNTS = {" not in block or "yoursite." in block:
            continue
        for name in re.findall(r'environ\["(\w+)"\]', block):
            monkeypatch.setenv(name, "value")
        made: dict[str, Any] = {"INSTALLED_APPS": []}
        exec("import os\n" + block, made)
        with override_settings(CONNECTED_ACCOUNTS=made["CONNECTED_ACCOUNTS"]):
            assert [*conf.problems(), *registry.problems()] == []


# README and titles.


def test_the_readme_names_both_commands_before_anything_else() -> None:
    first = code_blocks(ROOT / "README.md", "sh")[0]
    assert first.split("\n")[:2] == ["make demo", "make test"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    used = set(
        itertools.chain.from_iterable(
            re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", path.read_text("utf-8"), re.MULTILINE)
            for path in TEXTS
        )
    )
    assert {name for pair in used for name in pair if name} <= set(targets)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 100


def test_the_demos_page_shows_a_check_that_passed() -> None:
    (transcript,) = code_blocks(DOCS / "how-to/demo.md", "text")
    assert "All of it works" in transcript


def test_every_page_begins_with_its_one_title() -> None:
    for path in PAGES:
        text = without_code(path.read_text("utf-8"))
        assert text.startswith("# "), path
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, path


def test_the_pages_for_users_are_short_enough_to_read() -> None:
    """By ``wc -w``; without the two pages that are made from data."""
    made = {DOCS / "reference/catalogue.md", DOCS / "reference/real-servers.md"}
    words = {path: len(path.read_text("utf-8").split()) for path in PAGES if path not in made}
    assert sum(words.values()) <= 27_000, "say it shorter, or once: docs/auditors/ has the rest"
