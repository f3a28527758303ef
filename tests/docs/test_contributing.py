"""CONTRIBUTING.md: its map names what there is, and the test that it shows is quick to run."""

import re

import pytest

from tests.docs.doc_pages import PACKAGE, ROOT, tables

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAP, CHANGES, GLOSSARY = tables(TEXT)[:3]


def paths(text: str) -> list[str]:
    """The paths in a text: those with a slash, or the name of a module at the package's door."""
    named = re.findall(r"`([\w./-]+)`", text)
    folder = "connected_accounts/"
    found = [name for name in named if "/" in name or name.endswith(".py")]
    known = ("connected_accounts/", "tests/", "example_project/", "bench/", "docs/", ".ci/")
    return [name if name.startswith(known) else folder + name for name in found]


MAPPED = [path for row in MAP for path in paths(row["Wing, top first"])]
NAMED = [*MAPPED, *(path for row in CHANGES for cell in row.values() for path in paths(cell))]


@pytest.mark.parametrize("path", dict.fromkeys(NAMED))
def test_every_path_of_the_map_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_map_has_every_wing_and_every_door() -> None:
    inside = [path for path in PACKAGE.iterdir() if not path.name.startswith(("__", "."))]
    there = {f"connected_accounts/{path.name}{'/' * path.is_dir()}" for path in inside}
    wired = {
        "apps.py",
        "callback_urls.py",
        "catalogue/",
        "locale/",
        "migrations/",
        "py.typed",
        "static/",
    }
    wired |= {"templates/", "testing/", "urls.py"}
    assert set(MAPPED) == there - {f"connected_accounts/{name}" for name in wired}


def test_ten_changes_each_name_one_file_to_open() -> None:
    assert len(CHANGES) == 10
    for row in CHANGES:
        assert len(paths(row["Open"])) == len(paths(row["Its test"])) == 1


def test_the_glossary_has_fourteen_words() -> None:
    words = [row["Word"] for row in GLOSSARY]
    assert len(set(words)) == len(words) == 14


def test_the_one_test_that_it_runs_exists() -> None:
    match = re.search(r"-m pytest (\S+) -k (\w+)$", TEXT, re.MULTILINE)
    assert match is not None
    assert match[2] in (ROOT / match[1]).read_text("utf-8")


def test_the_commit_rule_asks_for_statements_alone() -> None:
    assert "imperative" not in TEXT
